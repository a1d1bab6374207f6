"""What a trial does inside Ray and what is told of it; Ray itself runs in the whole job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.errors import ExternalError, StargazeError
from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search.ray_runtime import THREADS, _single_threaded_workers, convert_ray_errors, restore_process
from stargaze.tuning.search.ray_tune import TrialActor, _StopOnError, _TrialCallback

CONFIG = {"family": "ridge", "parameters": {"alpha": 3.0}, "seed": 0, "race": None}
RESULT = {
    "family": "ridge",
    "parameters": {"alpha": 3.0},
    "rmsle": 0.5,
    "folds": [0.4, 0.6],
    "seconds": 2.0,
    "stopped": "done",
}


def begun(config: dict[str, Any], arrays: Arrays | None) -> TrialActor:
    """Make a trial as Ray does, without the folders that Ray gives it."""
    trial = TrialActor.__new__(TrialActor)
    trial.setup(config, arrays)
    return trial


def test_one_step_is_the_whole_trial(arrays: Arrays) -> None:
    found = begun(CONFIG, arrays).step()

    errors = [fold.rmsle for fold in cross_validate(FAMILIES["ridge"], {"alpha": 3.0}, arrays, 0)]
    assert found["done"] is True
    assert found["folds"] == errors


def test_a_process_that_is_used_again_forgets_the_trial_before(arrays: Arrays) -> None:
    trial = begun({**CONFIG, "family": "dummy", "parameters": {}}, arrays)
    trial.step()

    assert trial.reset_config(CONFIG)

    assert trial.step()["folds"] == begun(CONFIG, arrays).step()["folds"]


def test_a_trial_without_data_is_a_programming_mistake() -> None:
    with pytest.raises(ValueError, match="arrays are required"):
        begun(CONFIG, None)


def test_an_error_while_a_trial_is_heard_stops_the_search_and_is_kept() -> None:
    """Ray would print it and go on: a full disk would cost the whole night."""

    def disk_is_full(trial: dict[str, Any]) -> None:
        raise ExternalError("the disk is full")

    errors = list[StargazeError]()
    stop = _StopOnError(errors)
    before = stop.stop_all()
    _TrialCallback(disk_is_full, disk_is_full, errors, lambda _name: True).on_trial_complete(
        1, [], SimpleNamespace(config=CONFIG, last_result=RESULT)
    )

    assert [error.message for error in errors] == ["the disk is full"]
    assert (before, stop.stop_all()) == (False, True)


def test_finished_and_failed_trials_are_told_apart() -> None:
    finished, failed = list[dict[str, Any]](), list[dict[str, Any]]()
    tell = _TrialCallback(finished.append, failed.append, [], lambda name: name == "given up")

    tell.on_trial_complete(1, [], SimpleNamespace(config=CONFIG, last_result={**RESULT, "done": True, "pid": 7}))
    tell.on_trial_complete(
        1, [], SimpleNamespace(config=CONFIG, last_result={"failed": "ValueError: no", "rmsle": 0.0})
    )
    tell.on_trial_error(1, [], SimpleNamespace(config=CONFIG, trial_id="given up"))

    assert finished == [RESULT]
    assert failed == [{"family": "ridge", "parameters": {"alpha": 3.0}}] * 2


def test_a_trial_whose_node_died_has_not_failed_as_long_as_it_is_run_again() -> None:
    failed = list[dict[str, Any]]()

    _TrialCallback(failed.append, failed.append, [], lambda _name: False).on_trial_error(
        1, [], SimpleNamespace(trial_id="lost")
    )

    assert failed == []


def test_what_a_configuration_fails_with_is_its_outcome(arrays: Arrays) -> None:
    """Left to Ray it would look like the death of a machine, and be run again."""
    found = begun({**CONFIG, "parameters": {"alpha": -1.0}}, arrays).step()

    assert found["failed"].startswith("InvalidParameterError: ")
    assert found["done"] is True


def test_what_the_listener_raises_is_kept_for_the_end_and_ends_the_search() -> None:
    """Ray swallows it, and a full disk would go unnoticed for the rest of an hour."""
    errors: list[StargazeError] = []
    stop = _StopOnError(errors)
    full = ExternalError("the disk is full", hint="df -h")

    def listen(_trial: dict[str, Any]) -> None:
        raise full

    tell = _TrialCallback(listen, listen, errors, lambda _name: True)
    before = stop.stop_all()
    tell.on_trial_error(1, [], SimpleNamespace(config=CONFIG, trial_id="given up"))

    assert (before, stop.stop_all(), stop("trial", {})) == (False, True, False)
    assert errors == [full]


def test_a_ray_whose_processes_were_killed_is_one_line_that_says_how_to_go_on() -> None:
    said = "2 worker(s) were killed due to the node running low on memory.\nTop 10 memory users: ..."

    with pytest.raises(ExternalError, match="running low on memory") as raised, convert_ray_errors():
        raise RuntimeError(said)

    assert "\n" not in raised.value.message
    assert raised.value.hint is not None
    assert "--resume" in raised.value.hint


def test_only_what_starts_inside_computes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(THREADS[0], "7")
    monkeypatch.delenv(THREADS[1], raising=False)

    with _single_threaded_workers():
        inside = [os.environ[name] for name in THREADS]

    assert inside == ["1", "1", "1"]
    assert os.environ[THREADS[0]] == "7"
    assert THREADS[1] not in os.environ


def test_variables_and_handlers_that_ray_sets_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page that ``run`` starts after the tuning must not inherit Ray's debugger."""
    monkeypatch.setenv("CHANGED", "before")
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)

    with restore_process():
        os.environ.update({"PYTHONBREAKPOINT": "ray.util.rpdb.set_trace", "CHANGED": "by Ray"})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before


def test_ray_is_told_to_stay_on_loopback_and_to_report_to_nobody() -> None:
    """Set before Ray is imported, which reads them once."""
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.parametrize(
    "module", ["executors.ray_executor", "search.ray_tune", "search.optuna_searcher", "screen", "tune"]
)
def test_ray_is_imported_with_its_loopback_setting(module: str) -> None:
    """Ray reads the setting when it is imported; without it, it listens on every interface."""
    code = (
        f"import stargaze.tuning.{module}, stargaze.tuning.search.ray_runtime\n"
        "from ray._private.ray_constants import ENABLE_RAY_CLUSTER\n"
        "print(ENABLE_RAY_CLUSTER)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
