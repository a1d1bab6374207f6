"""The whole pipeline on the Electron sample, and a small project with a release, whose tuning takes seconds.

Two processes share the work (`--numprocesses 2 --dist loadfile`), one file of tests at a time. Only test_pipeline.py uses the
whole pipeline; meanwhile the other process runs the tests of the small project, which all of them copy.
"""

from __future__ import annotations

import fcntl

import pandas as pd
import pytest

from tests.conftest import SAMPLE
from tests.job.project import Pipeline, Project

PART = 5
"""The small project has one of so many repositories of the sample."""


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Run the pipeline from the Electron sample to a release, command by command."""
    project = Project(tmp_path_factory.mktemp("pipeline"))
    (project.folder / "stargaze.toml").write_text("[screening]\nmax_rows = 1200\n")
    output = {
        "fetch": project.run_json("fetch", "--sample", "electron"),
        "select-features": project.run_json("select-features"),
        "screen": project.run_json("screen"),
        "tune": project.run_json("tune", "--trials", "3"),
        "deploy": project.run_json("deploy"),
    }
    return Pipeline(project, output)


@pytest.fixture(scope="session")
def quick_project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project that is only copied: a release of LightGBM models, and a leaderboard of families that are fitted in a moment.

    One test process creates it, the other waits.
    """
    base = tmp_path_factory.getbasetemp()
    project = Project((base if worker_id == "master" else base.parent) / "quick")
    project.folder.mkdir(exist_ok=True)
    finished = project.folder / "finished"
    with (project.folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            pd.read_parquet(SAMPLE).iloc[::PART].to_parquet(project.folder / "records.parquet")
            (project.folder / "stargaze.toml").write_text('[fetch]\nfiles = ["records.parquet"]\n')
            project.run("fetch")
            project.run("select-features")
            project.run("screen", "--families", "dummy,ridge,elastic-net,lightgbm")
            project.run("tune", "--trials", "1")
            project.run("deploy")
            board = pd.read_csv(project.store / "leaderboard.csv")
            board[board["family"] != "lightgbm"].to_csv(project.store / "leaderboard.csv", index=False)
            finished.touch()
    return project
