"""The whole pipeline on the shipped sample, which one process runs for all.

Two processes share the work (`--numprocesses 2 --dist loadfile`): one of them runs the pipeline, then each takes one file of
tests at a time. So only the tests of one file use the store of the pipeline itself; the others copy it.
"""

from __future__ import annotations

import fcntl
import json

import pandas as pd
import pytest

from tests.job.project import Pipeline, Project


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Pipeline:
    """Run the pipeline from the sample to a release, command by command: one test process runs it, the other waits."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "pipeline"
    project, quick_project, output = Project(folder / "full"), Project(folder / "quick"), folder / "output.json"
    project.folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            (project.folder / "stargaze.toml").write_text("[screening]\nmax_rows = 1200\n")
            outputs = {
                "fetch": project.run_json("fetch"),
                "select-features": project.run_json("select-features"),
                "screen": project.run_json("screen"),
                "tune": project.run_json("tune", "--trials", "3"),
                "deploy": project.run_json("deploy"),
            }
            project.copy(quick_project.folder)
            board = pd.read_csv(quick_project.store / "leaderboard.csv")
            board = board[board["family"].isin(["dummy", "ridge", "elastic-net"])]
            board.to_csv(quick_project.store / "leaderboard.csv", index=False)
            output.write_text(json.dumps(outputs))
    return Pipeline(project, json.loads(output.read_text()), quick_project)


@pytest.fixture(scope="session")
def quick_project(job: Pipeline) -> Project:
    """A project that is only copied, whose tuning takes seconds."""
    return job.quick_project
