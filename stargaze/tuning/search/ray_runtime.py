"""Start Ray on this machine or join the cluster of a Ray job, and map work over its nodes.

The only module that imports Ray, because Ray reads environment variables when it is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
# The future default; setting it silences a warning.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the trial journal is the log
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune would swallow Ctrl-C and return normally
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the newer reporter ignores verbose=0
# On Linux Ray uses the machine's external address even for 127.0.0.1, and its servers listen on every interface and
# execute code without authentication. With clusters disabled it listens on loopback only, as on a Mac.
os.environ.update({} if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})

import ray
from ray import tune
from ray.tune.search import Searcher

from stargaze.errors import ExternalError
from stargaze.system.source_package import code_digest
from stargaze.tuning.cross_validation import single_threaded
from stargaze.tuning.search.ray_job import is_ray_job

__all__ = ["Searcher", "connect_ray", "convert_ray_errors", "map_on_nodes", "ray", "restore_process", "tune"]
T = TypeVar("T")
OBJECT_STORE = 200_000_000
"""Shared memory for the training data [byte]; the sample's arrays are 2 MB."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def map_on_nodes(work: Callable[..., T], items: Sequence[tuple[Any, ...]]) -> list[T]:
    """Map ``work`` over the items, one core each; the items of a node that dies run again on another node."""
    with restore_process(), connect_ray(0), convert_ray_errors():
        shared = {id(argument): ray.put(argument) for item in items for argument in item}
        calls = [_run_item.remote(work, *(shared[id(argument)] for argument in item)) for item in items]
        return list(ray.get(calls))


@ray.remote(num_cpus=1)
def _run_item(work: Callable[..., T], *item: Any) -> T:
    with single_threaded():
        return work(*item)


@contextlib.contextmanager
def convert_ray_errors() -> Iterator[None]:
    """Convert a Ray failure to one line; the usual cause is a machine without free memory, which kills Ray's processes."""
    try:
        yield
    except (RuntimeError, tune.TuneError, ray.exceptions.RayError) as error:
        reason = str(error).partition("\n")[0][:250]
        hint = "stargaze tune --resume continues; --max-concurrent 1 needs the least memory"
        raise ExternalError(f"Ray failed: {reason}", hint=hint) from error


@contextlib.contextmanager
def restore_process() -> Iterator[None]:
    """Restore signal handlers and environment variables: Ray sets some and keeps them for the rest of the process."""
    is_main = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) if is_main else ()
    handlers = {number: signal.getsignal(number) for number in signals}
    variables = dict(os.environ)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)


@contextlib.contextmanager
def connect_ray(max_concurrent: int) -> Iterator[int]:
    """Start Ray on loopback, or join the cluster of this Ray job; yield the number of concurrent trials.

    Ray is stopped, or left, on every exit, also on an interrupt during start-up.
    """
    try:
        yield (
            _join_cluster(max_concurrent)
            if is_ray_job()
            else _start_local(max_concurrent or len(os.sched_getaffinity(0)))
        )
    finally:
        ray.shutdown()


def _start_local(cores: int) -> int:
    with _single_threaded_workers():
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    _silence_state_log()
    return cores


def _join_cluster(max_concurrent: int) -> int:
    """Join the cluster of ``RAY_ADDRESS``; return its number of cores, at most ``max_concurrent`` if that is not 0.

    Raise ExternalError if a node has another version of the code.
    """
    ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": dict.fromkeys(THREADS, "1")})
    _silence_state_log()
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    digests = {
        node["NodeManagerAddress"]: _remote_code_digest.options(
            scheduling_strategy=affinity(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    }
    outdated = [address for address, digest in digests.items() if ray.get(digest) != code_digest()]
    if outdated:
        raise ExternalError(
            f"another version of stargaze is installed on {', '.join(outdated)}",
            hint="stargaze infra configure --tags ray",
        )
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    return min(max_concurrent, cores) if max_concurrent else cores


@ray.remote(num_cpus=0)
def _remote_code_digest() -> str:
    return code_digest()


def _silence_state_log() -> None:
    # Resuming uses the trial journal, so warnings about Ray's own incomplete record are irrelevant.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _single_threaded_workers() -> Iterator[None]:
    """Limit every process that starts inside to one thread.

    Workers inherit the variables. Ray's ``runtime_env`` would disable prestarted workers (10 s on 2 cores).
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
