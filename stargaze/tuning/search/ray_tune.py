"""Run the trials with Ray Tune and pass each finished one on at once."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stargaze.errors import MissingInputError, StargazeError
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.search.cluster_nodes import (
    OutdatedNodeError,
    check_software,
    describe_software,
    outdated_node_error,
)
from stargaze.tuning.search.optuna_searcher import OptunaSearcher
from stargaze.tuning.search.ordered_searcher import ATTEMPTS, OrderedSearcher, OtherSearchError
from stargaze.tuning.search.ray_runtime import IdleSearch, connect_ray, convert_ray_errors, restore_process, tune
from stargaze.tuning.search.search_spec import SearchSpec
from stargaze.tuning.search.trial import TrialData, run_trial

Callback = Callable[[dict[str, Any]], None]
MOST_FAILED = 10
"""How many trials may fail before the end of a time budget ends a search without a result."""
NO_SCORES = {"rmsle": math.nan, "rmse": math.nan}
"""The scores of a trial that has none; one that has some lacks the RMSE if it is not the metric."""


class TrialActor(tune.Trainable):
    """A Ray actor that runs one configuration per step and is reused, so the data and its LightGBM bins stay in memory."""

    def setup(self, config: dict[str, Any], arrays: Arrays | None = None, software: str = "") -> None:
        """Store the shared arrays, on a node with this software."""
        if arrays is None:
            raise ValueError("arrays are required")
        self._outdated = ""
        try:
            check_software(software)
        except OutdatedNodeError as error:
            self._outdated = error.message
        self._data = TrialData(arrays)
        self._config = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Accept the next configuration in the same process."""
        self._config = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Run the whole trial in one step: one report per fold would multiply Ray's overhead.

        An exception of the configuration is its result. Other errors are machine failures: Ray runs the trial again.
        """
        if self._outdated:
            return {"outdated": self._outdated, **NO_SCORES, "done": True}
        try:
            return {**run_trial(self._config, self._data), "done": True}
        except Exception as error:  # noqa: BLE001 - packages of model families raise anything
            return {"failed": f"{type(error).__name__}: {error}", **NO_SCORES, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing: a trial is short and its result is in the journal."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing, see :meth:`save_checkpoint`."""


class _TrialCallback(tune.Callback):
    """Pass finished trials on; Ray swallows exceptions of callbacks, so errors are collected and raised at the end."""

    def __init__(
        self, finished: Callback, failed: Callback, errors: list[StargazeError], is_abandoned: Callable[[str], bool]
    ) -> None:
        self._finished = finished
        self._failed = failed
        self._errors = errors
        self._is_abandoned = is_abandoned
        self._idle = IdleSearch()

    def on_step_begin(self, iteration: int, trials: list[Any], **_info: Any) -> None:
        self._idle.look(is_running=any(trial.status == trial.RUNNING for trial in trials))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
        if message := trial.last_result.get("outdated"):
            self._errors.append(outdated_node_error([message.rpartition(" ")[2]]))
            return
        if reason := trial.last_result.get("failed"):
            self._call(self._failed, {**_configuration(trial), "failed": reason})
            return
        names = ("family", "parameters", *NO_SCORES, "folds", "seconds", "stopped")
        result = {name: trial.last_result[name] for name in names if name in trial.last_result}
        self._call(self._finished, {"number": trial.config["number"], **result})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
        if self._is_abandoned(trial.trial_id):
            self._call(self._failed, {**_configuration(trial), "failed": "its process or machine ended"})

    def _call(self, callback: Callback, trial: dict[str, Any]) -> None:
        try:
            callback(trial)
        except StargazeError as error:
            self._errors.append(error)


def _configuration(trial: Any) -> dict[str, Any]:
    return {name: trial.config[name] for name in ("number", "family", "parameters")}


class _StopSearch(tune.Stopper):
    """Stops the search at an error of a callback, or at the end of its time budget if a trial has finished by then.

    ``ends`` is the end of the budget by ``time.monotonic``, infinite without a budget. A failed trial is no result; after
    :data:`MOST_FAILED` of them the budget ends the search too.
    """

    def __init__(self, errors: list[StargazeError], ends: float, *, has_finished: bool) -> None:
        self._errors = errors
        self._ends = ends
        self.has_finished = has_finished
        self.failed = 0

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        is_over = time.monotonic() >= self._ends
        return bool(self._errors) or (is_over and (self.has_finished or self.failed >= MOST_FAILED))


def run_trials(
    arrays: Arrays,
    search: SearchSpec,
    finished: Callback,
    failed: Callback,
    searcher: OptunaSearcher | None = None,
    *,
    started: Callable[[int], None] = lambda _lookahead: None,
    folder: Path | None = None,
) -> None:
    """Run the trials and call ``finished`` with each one as it ends. Their choice does not depend on the concurrency.

    Ray is started and stopped here, in ``folder`` or a new one. In a Ray job the trials run on all nodes of the cluster, and
    the trials of a node that dies run again on another. ``searcher`` replaces the default search over the finalists;
    ``started`` is called with the lookahead of the search before the first trial. The time budget includes the start of Ray,
    and does not end before a trial has finished.

    Raises
    ------
    StargazeError
        The exception of a callback, e.g. for a full disk; running trials are abandoned.
    ExternalError
        If Ray's processes were killed, e.g. for lack of memory.
    MissingInputError
        If the ended trials are those of another search.
    """
    errors: list[StargazeError] = []
    ends = time.monotonic() + (search.time_budget or math.inf)
    stopper = _StopSearch(errors, ends, has_finished=any("failed" not in trial for trial in search.ended))

    def note_finished(trial: dict[str, Any]) -> None:
        stopper.has_finished = True
        finished(trial)

    def note_failed(trial: dict[str, Any]) -> None:
        stopper.failed += 1
        failed(trial)

    with (
        restore_process(),
        connect_ray(search.max_concurrent, folder) as cores,
        tempfile.TemporaryDirectory(prefix="trials-", dir=folder) as storage,
    ):
        order = _ordered_search(search, searcher, cores, len(arrays.target))
        started(order.lookahead)
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(TrialActor, arrays=arrays, software=describe_software()), {"cpu": 1}
            ),
            param_space={"seed": search.seed, "metric": search.metric},
            tune_config=tune.TuneConfig(
                search_alg=order,
                metric=search.metric,
                mode="min",
                num_samples=search.trials * ATTEMPTS,  # an upper bound; the searcher ends the search
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=storage,
                callbacks=[_TrialCallback(note_finished, note_failed, errors, order.is_abandoned)],
                stop=stopper,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with convert_ray_errors():
            tuner.fit()
    if errors:
        raise errors[0]


def _ordered_search(search: SearchSpec, searcher: OptunaSearcher | None, cores: int, rows: int) -> OrderedSearcher:
    options: dict[str, Any] = {"rows": rows, "races": search.races, "metric": search.metric}
    searcher = searcher or OptunaSearcher(search.finalists, search.seed, **options)
    ended = {int(trial["number"]): trial for trial in search.ended}
    try:
        return OrderedSearcher(searcher, search.trials, cores, ended, search.lookahead)
    except OtherSearchError as error:
        raise MissingInputError(
            f"the stopped tuning cannot be resumed: {error}; perhaps another version of Optuna ran it",
            hint="stargaze tune",
        ) from error
