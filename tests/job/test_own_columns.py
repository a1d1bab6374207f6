"""Own columns through all stages, as a user types them: one follows the stars, the other has another value in each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import SAMPLE
from tests.job.project import Project

pytestmark = pytest.mark.job
ROWS = 900
CONFIG = """[fetch]
extra = ["press score", "desk"]
exclude = ["subscribers"]
[fetch.extra_kinds]
"press score" = "number"
[fetch.extra_policies]
desk = "static"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with a CSV of repositories, which has two own columns, and a config that names them."""
    frame = pd.read_parquet(SAMPLE).sort_values("stars", ascending=False, kind="stable").head(6 * ROWS).iloc[::6]
    random = np.random.default_rng(3)
    score = np.log10(1.0 + frame["stars"].to_numpy(dtype="float64")) + random.normal(0.0, 0.25, len(frame))
    names = ["full_name", "stars", "created_at", "fetched_at", "language", "owner_type", "description_length"]
    table = frame[[*names, "contributors", "open_issues", "size_kb", "forks", "subscribers"]].copy()
    table["press score"] = np.round(10 * score, 1)
    table["desk"] = [f"desk {row}" for row in range(len(frame))]
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "stargaze.toml").write_text(CONFIG)
    return Project(tmp_path)


def factors_of(prediction: dict[str, Any]) -> dict[str, str]:
    """Return the value of each factor by its label."""
    return {item["label"]: item["value"] for item in prediction["explanation"]["factors"]}


def test_a_user_trains_with_own_columns(project: Project) -> None:
    fetched = project.run_json("fetch", "--from", "table.csv")
    assert [item["kind"] for item in fetched["own_columns"]] == ["number", "category"]

    project.run("select-features")
    listed = {row["feature"]: row for row in project.run_json("features")}
    assert isinstance(listed["press score"]["all"], float)
    assert listed["desk"]["all"] == "constant"

    project.run("screen", "--families", "lightgbm,dummy")
    project.run("tune", "--trials", "2")
    name = str(pd.read_csv(project.folder / "table.csv")["full_name"].iloc[-1])
    (prediction,) = project.run_json("predict", name)["predictions"]
    stored = pd.read_csv(project.folder / "table.csv").set_index("full_name")["press score"]
    assert float(factors_of(prediction)["press score"]) == pytest.approx(stored[name], abs=0.06)

    report = project.run("report")
    page = (project.store / "report.html").read_text()
    assert "press score" in page, report.stdout
    assert "desk" in page
