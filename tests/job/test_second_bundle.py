"""A second bundle of the same store: its release, its rollback, and a second run with the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.job.project import Pipeline, Project

pytestmark = pytest.mark.job


@pytest.fixture(scope="module")
def second_bundle(quick_project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Any]:
    """A store with a second bundle, tuned with a seed and one trial at a time."""
    project = quick_project.copy(tmp_path_factory.mktemp("second"))
    return project, project.run_json("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")


def test_a_second_release_is_served_and_a_rollback_restores_the_first(
    job: Pipeline, second_bundle: tuple[Project, Any]
) -> None:
    project, tuned = second_bundle
    first = job.output["deploy"]["digest"]

    failed = project.run("deploy", expect=1)
    unchanged = (project.store / "serving" / "current").resolve().name
    project.run("deploy", "--force", "it answers faster")
    deployed = (project.store / "serving" / "current").resolve().name
    project.run("rollback")
    restored = (project.store / "serving" / "current").resolve().name
    held = project.run("deploy", expect=1)

    assert "predicts worse than" in failed.stderr  # three linear models, where the first release had all families
    assert unchanged == first
    assert deployed == Path(tuned["bundle"]).name != first
    assert restored == first
    assert f"bundle {deployed[:12]} was rolled back at" in held.stderr
    assert [release["force_reason"] for release in project.run_json("releases")] == ["", "it answers faster", ""]
    assert [release["kind"] for release in project.run_json("releases")] == ["rollback", "deploy", "deploy"]


def test_the_same_seed_with_one_trial_at_a_time_finds_the_same_best_trial(
    quick_project: Project, second_bundle: tuple[Project, Any], tmp_path: Path
) -> None:
    project, tuned = second_bundle
    other = quick_project.copy(tmp_path)

    again = other.run_json("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")

    assert _without_times(again["best"]) == _without_times(tuned["best"])
    assert again["scores"] == tuned["scores"]
    tables = [
        pd.read_parquet(each.store / "trials.parquet").drop(columns=["seconds", "at"]) for each in (project, other)
    ]
    pd.testing.assert_frame_equal(*tables)


def _without_times(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trial.items() if name not in ("seconds", "at")}
