"""Trials as Ray actors and the callbacks; the test of the whole job runs Ray."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from stargaze.errors import ExternalError, StargazeError
from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.search import ray_tune
from stargaze.tuning.search.cluster_nodes import OutdatedNodeError
from stargaze.tuning.search.ray_runtime import convert_ray_errors, restore_process
from stargaze.tuning.search.ray_tune import MOST_FAILED, TrialActor, _StopSearch, _TrialCallback, run_trials
from stargaze.tuning.search.search_spec import SearchSpec

CONFIG = {"number": 5, "family": "ridge", "parameters": {"alpha": 3.0}, "seed": 0, "race": None}
RESULT = {
    "family": "ridge",
    "parameters": {"alpha": 3.0},
    "rmsle": 0.5,
    "folds": [0.4, 0.6],
    "seconds": 2.0,
    "stopped": "done",
}
FAILED = {"failed": "ValueError: no"}


def start_actor(config: dict[str, Any], arrays: Arrays | None) -> TrialActor:
    """Return an actor as Ray sets it up, without Ray's folders."""
    trial = TrialActor.__new__(TrialActor)
    trial.setup(config, arrays)
    return trial


def test_one_step_is_the_whole_trial(arrays: Arrays) -> None:
    result = start_actor(CONFIG, arrays).step()

    errors = [fold.rmsle for fold in cross_validate(FAMILIES["ridge"], {"alpha": 3.0}, arrays, 0)]
    assert result["done"] is True
    assert result["folds"] == errors


def test_an_actor_on_a_node_with_other_software_runs_nothing_and_ends_the_search(arrays: Arrays) -> None:
    """The node joined after all nodes had been checked."""
    actor, errors = TrialActor.__new__(TrialActor), list[StargazeError]()
    actor.setup(CONFIG, arrays, software="stargaze of yesterday")
    callback = _TrialCallback(
        lambda _: pytest.fail("a trial"), lambda _: pytest.fail("a trial"), errors, lambda _: False
    )

    callback.on_trial_complete(1, [], SimpleNamespace(last_result=actor.step()))

    assert [type(error) for error in errors] == [OutdatedNodeError]
    assert errors[0].message.startswith("another version of stargaze, Python or Ray is installed on ")


def test_a_reused_actor_has_no_state_of_the_previous_trial(arrays: Arrays) -> None:
    trial = start_actor({**CONFIG, "family": "dummy", "parameters": {}}, arrays)
    trial.step()

    assert trial.reset_config(CONFIG)

    assert trial.step()["folds"] == start_actor(CONFIG, arrays).step()["folds"]


def test_an_actor_without_data_raises_an_error() -> None:
    with pytest.raises(ValueError, match="arrays are required"):
        start_actor(CONFIG, None)


def test_an_error_of_the_finished_callback_stops_the_search() -> None:
    """Ray would print it and continue, for example with a full disk."""

    def disk_is_full(trial: dict[str, Any]) -> None:
        raise ExternalError("the disk is full")

    errors = list[StargazeError]()
    stop = _StopSearch(errors, math.inf, has_finished=True)
    before = stop.stop_all()
    _TrialCallback(disk_is_full, disk_is_full, errors, lambda _name: True).on_trial_complete(
        1, [], SimpleNamespace(config=CONFIG, last_result=RESULT)
    )

    assert [error.message for error in errors] == ["the disk is full"]
    assert (before, stop.stop_all()) == (False, True)


@pytest.mark.parametrize(
    ("ends", "has_finished", "stops"), [(-1.0, True, True), (-1.0, False, False), (1e6, True, False)]
)
def test_a_search_stops_at_the_end_of_its_budget_if_a_trial_has_finished(
    ends: float, has_finished: bool, stops: bool
) -> None:
    """Without a finished trial there would be no bundle."""
    assert _StopSearch([], time.monotonic() + ends, has_finished=has_finished).stop_all() is stops


@pytest.mark.parametrize(
    ("results", "stopped"),
    [([FAILED, RESULT], [False, True]), ([FAILED] * MOST_FAILED, [False] * (MOST_FAILED - 1) + [True])],
)
def test_a_failed_trial_does_not_end_a_search_whose_budget_is_used_up(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch, results: list[dict[str, Any]], stopped: list[bool]
) -> None:
    """Another family may be slower than the budget, and still give the only model; ten failures are enough."""
    fake, stops = MagicMock(), list[bool]()

    def end_trials() -> None:
        callback, stop = (fake.RunConfig.call_args.kwargs[name] for name in ("callbacks", "stop"))
        for result in results:
            callback[0].on_trial_complete(1, [], SimpleNamespace(config=CONFIG, last_result=result))
            stops.append(stop.stop_all())

    fake.Tuner.return_value.fit = end_trials
    monkeypatch.setattr(ray_tune, "tune", fake)
    monkeypatch.setattr(ray_tune, "connect_ray", lambda *_: contextlib.nullcontext(1))

    run_trials(arrays, SearchSpec(["ridge"], 0, 20, 1e-9, 1), lambda _trial: None, lambda _trial: None)

    assert stops == stopped


def test_finished_and_failed_trials_call_different_callbacks() -> None:
    finished, failed = list[dict[str, Any]](), list[dict[str, Any]]()
    callback = _TrialCallback(finished.append, failed.append, [], lambda name: name == "abandoned")

    callback.on_trial_complete(1, [], SimpleNamespace(config=CONFIG, last_result={**RESULT, "done": True, "pid": 7}))
    callback.on_trial_complete(
        1, [], SimpleNamespace(config=CONFIG, last_result={"failed": "ValueError: no", "rmsle": 0.0})
    )
    callback.on_trial_error(1, [], SimpleNamespace(config=CONFIG, trial_id="abandoned"))

    configuration = {"number": 5, "family": "ridge", "parameters": {"alpha": 3.0}}
    assert finished == [{"number": 5, **RESULT}]
    assert failed == [
        {**configuration, "failed": "ValueError: no"},
        {**configuration, "failed": "its process or machine ended"},
    ]


def test_a_lost_trial_that_runs_again_has_not_failed() -> None:
    failed = list[dict[str, Any]]()

    _TrialCallback(failed.append, failed.append, [], lambda _name: False).on_trial_error(
        1, [], SimpleNamespace(trial_id="lost")
    )

    assert failed == []


def test_an_exception_of_a_configuration_is_its_result(arrays: Arrays) -> None:
    """Ray would treat it like a lost machine and run the trial again."""
    result = start_actor({**CONFIG, "parameters": {"alpha": -1.0}}, arrays).step()

    assert result["failed"].startswith("InvalidParameterError: ")
    assert result["done"] is True


def test_an_error_of_the_failed_callback_stops_the_search() -> None:
    """Ray ignores exceptions of callbacks."""
    errors: list[StargazeError] = []
    stop = _StopSearch(errors, math.inf, has_finished=True)
    error = ExternalError("the disk is full", hint="df -h")

    def fail(_trial: dict[str, Any]) -> None:
        raise error

    callback = _TrialCallback(fail, fail, errors, lambda _name: True)
    before = stop.stop_all()
    callback.on_trial_error(1, [], SimpleNamespace(config=CONFIG, trial_id="abandoned"))

    assert (before, stop.stop_all(), stop("trial", {})) == (False, True, False)
    assert errors == [error]


def test_killed_ray_processes_are_reported_in_one_line_with_a_hint() -> None:
    message = "2 worker(s) were killed due to the node running low on memory.\nTop 10 memory users: ..."

    with pytest.raises(ExternalError, match="running low on memory") as raised, convert_ray_errors():
        raise RuntimeError(message)

    assert "\n" not in raised.value.message
    assert raised.value.hint is not None
    assert "--resume" in raised.value.hint


def test_variables_and_handlers_that_ray_sets_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page that ``run`` starts later must not inherit Ray's debugger."""
    monkeypatch.setenv("CHANGED", "before")
    before = dict(os.environ), signal.getsignal(signal.SIGTERM)

    with restore_process():
        os.environ.update({"PYTHONBREAKPOINT": "ray.util.rpdb.set_trace", "CHANGED": "by Ray"})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before


def test_ray_listens_on_loopback_and_sends_no_statistics() -> None:
    """Ray reads these variables once, when it is imported."""
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.thorough
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
