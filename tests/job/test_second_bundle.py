"""A second bundle of the same store: its release, its rollback, and a second run with the same seed."""

from __future__ import annotations

import dataclasses
import os
import random
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.job.project import Project, wait

pytestmark = pytest.mark.job
ARGUMENTS = ("--trials", "3", "--seed", "5")
ROUNDS = int(os.environ.get("STARGAZE_TUNE_KILL_ROUNDS", "1"))
"""Killed and resumed tunings; more kills at random moments from the second on."""


@pytest.fixture(scope="module")
def second_bundle(quick_project: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Any]:
    """A store with a second bundle, tuned with a seed and one trial at a time."""
    project = quick_project.copy(tmp_path_factory.mktemp("second"))
    return project, project.run_json("tune", *ARGUMENTS, "--max-concurrent", "1")


def test_a_second_release_is_served_and_a_rollback_restores_the_first(
    quick_project: Project, second_bundle: tuple[Project, Any]
) -> None:
    project, tuned = second_bundle
    first = quick_project.released

    failed = project.run("deploy", expect=1)
    unchanged = project.released
    project.run("deploy", "--force", "it answers faster")
    deployed = project.released
    project.run("rollback")
    restored = project.released
    held = project.run("deploy", expect=1)

    assert "predicts worse than" in failed.stderr  # linear models, where the first release has LightGBM's
    assert unchanged == first
    assert deployed == Path(tuned["bundle"]).name != first
    assert restored == first
    assert f"bundle {deployed[:12]} was rolled back at" in held.stderr
    assert [release["force_reason"] for release in project.run_json("releases")] == ["", "it answers faster", ""]
    assert [release["kind"] for release in project.run_json("releases")] == ["rollback", "deploy", "deploy"]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_killed_and_resumed_tuning_makes_the_same_trials_and_the_same_bundle(
    quick_project: Project, second_bundle: tuple[Project, Any], tmp_path: Path, seed: int
) -> None:
    """On another number of cores, below a long TMPDIR, without a home, with settings of Ray, proxies and modules of the user."""
    project, tuned = second_bundle
    other = dataclasses.replace(quick_project.copy(tmp_path), variables=_hostile_variables(tmp_path), unset=("HOME",))
    for name in ("random", "queue", "lightgbm", "ray", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write({name!r})\n")
    resume: list[str] = []
    kills, delays = 1 + seed % 3, random.Random(seed)
    for trials in range(1, 1 + kills):
        with other.started("tune", *ARGUMENTS, *resume) as process:
            wait(lambda trials=trials: len(other.trials()) >= min(trials, 2), process)  # type: ignore[misc]
            time.sleep(delays.random() if seed else 0.0)
            process.kill()
            process.wait()
        resume = ["--resume"]

    again = other.run_json("tune", *ARGUMENTS, *resume)

    assert _without_times(again["best_trial"]) == _without_times(tuned["best_trial"])
    assert again["scores"] == tuned["scores"]
    tables = [
        pd.read_parquet(each.store / "trials.parquet").drop(columns=["seconds", "at"]) for each in (project, other)
    ]
    pd.testing.assert_frame_equal(*tables)
    assert Path(again["bundle"]).name == Path(tuned["bundle"]).name
    assert not (tmp_path / "executed").exists()
    assert other.processes() == []


def _hostile_variables(folder: Path) -> dict[str, str]:
    """Return variables that change or break a Ray that uses them."""
    long = folder / ("long" * 20)
    long.mkdir()
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"), "http://127.0.0.1:9")
    ray = {"RAY_ADDRESS": "192.0.2.1:6379", "RAY_TMPDIR": "/nonexistent", "RAY_AUTH_TOKEN": "x", "RAY_USE_TLS": "1"}
    # The command itself runs with its folder in sys.path, as with ``python -m``, unless this is set.
    return {**proxies, **ray, "TMPDIR": str(long), "PYTHONSAFEPATH": "1"}


def _without_times(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trial.items() if name not in ("seconds", "at")}
