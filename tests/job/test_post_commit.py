"""A commit is trained by the post-commit hook."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.job.project import Project, wait

pytestmark = pytest.mark.job


def test_a_commit_is_trained_in_the_background_and_not_released_if_it_is_worse(
    quick_project: Project, tmp_path: Path
) -> None:
    project = quick_project.copy(tmp_path)
    files = f'[fetch]\nfiles = ["{quick_project.folder}/records.parquet"]\n'
    quick = '[screening]\nfamilies = ["dummy", "ridge", "elastic-net"]\n'
    (project.folder / "stargaze.toml").write_text(f"{files}{quick}[tuning]\ntrials = 4\n")
    git = ("git", "-c", "user.name=a tester", "-c", "user.email=tester@stargaze.invalid")
    subprocess.run([*git, "init", "--quiet"], cwd=project.folder, check=True)
    project.run("hook", "install")

    commit = [*git, "commit", "--quiet", "--allow-empty", "--message", "more trials"]
    subprocess.run(commit, cwd=project.folder, env=project.environment(), check=True)
    wait(lambda: (project.store / "commit.json").is_file() and not project.processes())

    outcome = project.run_json("hook", "status")
    assert not outcome["running"]
    assert (outcome["succeeded"], "predicts worse than" in outcome["message"]) == (False, True), outcome
    assert project.released == quick_project.released
    assert (project.store / "bundles" / "latest").read_text().strip() != project.released
