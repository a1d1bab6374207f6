"""Two equal runs, in other folders and at other times, give the same bundle."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import SAMPLE
from tests.job.project import Project

pytestmark = pytest.mark.job
STAGES = (
    ("fetch", "--from", "records.parquet"),
    ("select-features",),
    ("screen", "--families", "dummy,ridge,lightgbm,extra-trees", "--max-rows", "400"),
    ("tune", "--trials", "3"),
)


def test_equal_runs_give_the_same_digest(tmp_path: Path) -> None:
    """The second one runs its families and trials one after the other."""
    digests, feature_sets = [], []
    for number in (1, 2):
        project = Project(tmp_path / f"project {number}")
        project.folder.mkdir()
        pd.read_parquet(SAMPLE).iloc[::18].to_parquet(project.folder / "records.parquet")
        for stage in STAGES:
            alone = ("--max-concurrent", "1") if number == 2 and stage[0] in ("screen", "tune") else ()
            project.run(*stage, *alone)
        digests.append((project.store / "bundles" / "latest").read_text())
        feature_sets.append((project.store / "features.json").read_bytes())
        time.sleep(1.1)  # times are recorded to the second

    assert feature_sets[0] == feature_sets[1]
    assert digests[0] == digests[1]
    description = (project.store / "bundles" / digests[0].strip() / "bundle.json").read_text()
    assert str(tmp_path) not in description
