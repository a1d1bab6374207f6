"""A growth bundle of the same store: it is released, served and rolled back with the star bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.histories import histories
from tests.job.project import Project

pytestmark = pytest.mark.job


def test_a_growth_bundle_is_tuned_forecasts_and_is_released_with_the_star_bundle(
    quick_project: Project, tmp_path: Path
) -> None:
    project = quick_project.copy(tmp_path)
    histories(120).to_parquet(tmp_path / "history.parquet")
    growth = {
        "STARGAZE_TUNING_TARGET": "growth",
        "STARGAZE_GROWTH_HISTORY_FILE": "history.parquet",
        "STARGAZE_GROWTH_TRAIN_UNTIL": "2024-02-01",
        "STARGAZE_GROWTH_HORIZONS": "30,90",
    }

    tuned = Path(json.loads(project.run("tune", "--json", **growth).stdout)["bundle"]).name
    rows = json.loads(project.run("forecast", "owner0/name0", "--json", **growth).stdout)
    project.run("deploy")
    deployed = project.released
    releases = project.run_json("releases")
    project.run("rollback")
    restored = project.released
    kept = project.run("deploy")

    assert [row["days"] for row in rows] == [30, 90]
    assert all(0 <= row["low"] <= row["forecast"] <= row["high"] for row in rows)
    assert deployed == f"{quick_project.released}-{tuned}"
    assert [release["growth_digest"] for release in releases] == [tuned, None]
    assert (project.store / "serving" / "bundles" / deployed / "growth" / "manifest.json").is_file()
    assert restored == project.released == quick_project.released
    assert f"growth bundle {tuned[:12]} was rolled back at" in kept.stderr
