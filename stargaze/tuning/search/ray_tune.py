"""The one file that talks to Ray: start it in place or join the cluster, run the trials, hand each finished one over at once."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
# The default of the future, said now to silence its warning.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the journal is the log
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune would swallow Ctrl-C and return as if all were done
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # progress is ours to print; the newer printer ignores verbose=0
# On Linux Ray takes this machine's outer address, even if it is told 127.0.0.1, and its servers then listen on every
# interface and run code for whoever reaches them. Without its clusters it keeps to loopback, as it does on a Mac.
os.environ.update({} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})

import ray
from ray import tune

from stargaze.errors import ExternalError, StargazeError
from stargaze.system.source_package import code_digest
from stargaze.tuning.cross_validation import Arrays, undisturbed
from stargaze.tuning.search.optuna_searcher import FamilySearch
from stargaze.tuning.search.ordered_searcher import ATTEMPTS, InOrder
from stargaze.tuning.search.parallel import JOB
from stargaze.tuning.search.trial import Ground, run_trial

T = TypeVar("T")
Finished = Callable[[dict[str, Any]], None]
OBJECT_STORE = 200_000_000
"""Shared memory for the training data [byte]; the sample's arrays are 2 MB."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Search:
    """What is to be tried: families, seed, how many trials, how long, how many at once."""

    finalists: Sequence[str]
    seed: int
    trials: int
    time_budget: float
    max_concurrent: int
    finished: Sequence[dict[str, Any]] = ()
    races: bool = True
    """Whether a trial ends as soon as it has lost."""


class Trial(tune.Trainable):
    """One configuration, one step. The actor is reused: the data, and what LightGBM has binned of it, stay."""

    def setup(self, config: dict[str, Any], arrays: Arrays | None = None) -> None:
        """Keep the shared arrays."""
        if arrays is None:
            raise ValueError("the trial was given no data")
        self._ground = Ground(arrays)
        self._asked = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next configuration into the same process."""
        self._asked = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Run the whole trial: with a report a fold Ray's own work would be several times as much.

        What a configuration fails with is its outcome; an error that is left to Ray is one of the machine, and the trial is run
        again elsewhere.
        """
        try:
            return {**run_trial(self._asked, self._ground), "done": True}
        except Exception as error:  # noqa: BLE001 - whatever a family's package raises
            return {"failed": f"{type(error).__name__}: {error}", "rmsle": math.nan, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep nothing: a trial is short and its result is in the journal."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Load nothing, see :meth:`save_checkpoint`."""


class _Tell(tune.Callback):
    """Hand trials over; Ray swallows what a callback raises, so the first error is kept for the end."""

    def __init__(
        self, finished: Finished, failed: Finished, errors: list[StargazeError], is_given_up: Callable[[str], bool]
    ) -> None:
        self._finished = finished
        self._failed = failed
        self._errors = errors
        self._is_given_up = is_given_up

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
        if trial.last_result.get("failed"):
            self._tell(self._failed, _asked(trial))
            return
        told = ("family", "parameters", "rmsle", "folds", "seconds", "stopped")
        self._tell(self._finished, {key: trial.last_result[key] for key in told})

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_info: Any) -> None:
        if self._is_given_up(trial.trial_id):
            self._tell(self._failed, _asked(trial))

    def _tell(self, hear: Finished, trial: dict[str, Any]) -> None:
        try:
            hear(trial)
        except StargazeError as error:
            self._errors.append(error)


def _asked(trial: Any) -> dict[str, Any]:
    return {"family": trial.config["family"], "parameters": dict(trial.config["parameters"])}


class _StopOnError(tune.Stopper):
    def __init__(self, errors: list[StargazeError]) -> None:
        self._errors = errors

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return bool(self._errors)


def run_trials(
    arrays: Arrays, search: Search, finished: Finished, failed: Finished, searcher: FamilySearch | None = None
) -> None:
    """Run the trials; ``finished`` is told each one as it ends. Which are tried does not depend on how many run at once.

    On a Ray that is started here and ended here; as a job of a cluster, on all of its nodes, where a trial whose node dies is run
    again on another. A ``searcher`` of one's own says what is tried; without it the search over the finalists does.

    Raises
    ------
    StargazeError
        What ``finished`` raised, a full disk for one; the trials that were running are given up.
    ExternalError
        If Ray's processes were ended by others, for memory for one.
    """
    errors: list[StargazeError] = []
    with (
        restore_process(),
        ray_for(search.max_concurrent) as cores,
        tempfile.TemporaryDirectory(prefix="stargaze-tune-") as folder,
    ):
        order = InOrder(
            searcher or FamilySearch(search.finalists, search.seed, search.finished, races=search.races),
            search.trials,
            cores,
        )
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Trial, arrays=arrays), {"cpu": 1}),
            param_space={"seed": search.seed},
            tune_config=tune.TuneConfig(
                search_alg=order,
                metric="rmsle",
                mode="min",
                num_samples=search.trials * ATTEMPTS,  # no more than that; the order says when it is over
                time_budget_s=search.time_budget or None,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=folder,
                callbacks=[_Tell(finished, failed, errors, order.is_given_up)],
                stop=_StopOnError(errors),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with _ending():
            tuner.fit()
    if errors:
        raise errors[0]


def each_on_nodes(work: Callable[..., T], items: Sequence[tuple[Any, ...]]) -> list[T]:
    """Map ``work`` over the items, one core each; the items of a node that dies run again on another node."""
    with restore_process(), ray_for(0), _ending():
        sent = {id(part): ray.put(part) for item in items for part in item}
        return list(ray.get([_done.remote(work, *(sent[id(part)] for part in item)) for item in items]))


@ray.remote(num_cpus=1)
def _done(work: Callable[..., T], *item: Any) -> T:
    with undisturbed():
        return work(*item)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Notify in one line why Ray gave up: a machine that runs out of memory ends its processes, and Tune with them."""
    try:
        yield
    except (RuntimeError, tune.TuneError, ray.exceptions.RayError) as error:
        reason = str(error).partition("\n")[0][:250]
        hint = "stargaze tune --resume goes on; --max-concurrent 1 needs the least memory"
        raise ExternalError(f"Ray gave up: {reason}", hint=hint) from error


@contextlib.contextmanager
def restore_process() -> Iterator[None]:
    """Restore signal handlers and environment variables: Ray sets some and keeps them for the rest of the process."""
    main = threading.current_thread() is threading.main_thread()
    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) if main else ()
    before = {number: signal.getsignal(number) for number in taken}
    variables = dict(os.environ)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)


@contextlib.contextmanager
def ray_for(at_once: int) -> Iterator[int]:
    """Start Ray on loopback, or join the cluster whose job this is; give how many trials may run at once.

    It is ended, or left, whatever happens, also when it is interrupted while it starts.
    """
    try:
        yield _joined(at_once) if JOB in os.environ else _started(at_once or len(os.sched_getaffinity(0)))
    finally:
        ray.shutdown()


def _started(cores: int) -> int:
    with _one_thread_each():
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    _quiet()
    return cores


def _joined(at_once: int) -> int:
    """Join the cluster that ``RAY_ADDRESS`` names; return its cores, or as many of them as are wanted.

    Raises
    ------
    ExternalError
        If a node runs another stargaze: what it computed would be other code's.
    """
    ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": dict.fromkeys(THREADS, "1")})
    _quiet()
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    place = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    asked = {
        node["NodeManagerAddress"]: _code.options(scheduling_strategy=place(node["NodeID"], soft=True)).remote()
        for node in nodes
    }
    other = [address for address, found in asked.items() if ray.get(found) != code_digest()]
    if other:
        raise ExternalError(f"another stargaze is on {', '.join(other)}", hint="stargaze infra configure --tags ray")
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    return min(at_once, cores) if at_once else cores


@ray.remote(num_cpus=0)
def _code() -> str:
    return code_digest()


def _quiet() -> None:
    # The journal is what a stopped tuning goes on from: that Ray's own record was cut short is nobody's concern.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let every process that starts inside compute with one thread.

    Workers inherit it; Ray's ``runtime_env`` would do the same, but with it no worker is started ahead (10 s on 2 cores).
    """
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
