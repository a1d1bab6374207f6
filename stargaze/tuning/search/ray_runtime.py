"""Start Ray on this machine or join the cluster of a Ray job, and map work over its nodes.

The only module that imports Ray, because Ray reads environment variables when it is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from stargaze.tuning.search.ray_folder import (
    SETTINGS,
    THREADS,
    entered_folder,
    object_store,
    private_folder,
    remove_ray_settings,
)
from stargaze.tuning.search.ray_job import is_ray_job

if is_ray_job():
    os.environ.update({name: value for name, value in SETTINGS.items() if name.startswith("TUNE_")})
    os.environ["RAY_AIR_NEW_OUTPUT"] = SETTINGS["RAY_AIR_NEW_OUTPUT"]
else:
    remove_ray_settings()
    os.environ.update(SETTINGS)

import ray
from ray import tune
from ray.tune.search import Searcher

from stargaze.errors import ExternalError
from stargaze.tuning.cross_validation import single_threaded
from stargaze.tuning.search.cluster_nodes import (
    OutdatedNodeError,
    check_software,
    describe_software,
    outdated_node_error,
    report_wait,
)

__all__ = [
    "IdleSearch",
    "Searcher",
    "connect_ray",
    "convert_ray_errors",
    "count_cluster_cores",
    "map_on_nodes",
    "ray",
    "restore_process",
    "tune",
]
T = TypeVar("T")
POLL_INTERVAL = 1.0
"""Time between two looks for a free core [s]."""
IDLE_TIME = 10.0
"""A search without a running trial for so long waits for a core; a trial starts in less [s]."""


def map_on_nodes(work: Callable[..., T], items: Sequence[tuple[Any, ...]]) -> list[T]:
    """Map ``work`` over the items, one core each; the items of a node that dies run again on another node."""
    with restore_process(), connect_ray(0), convert_ray_errors():
        shared = {id(argument): ray.put(argument) for item in items for argument in item}
        expected = describe_software()
        calls = [_run_item.remote(work, expected, *(shared[id(argument)] for argument in item)) for item in items]
        return list(ray.get(calls))


def count_cluster_cores() -> int:
    """Return the number of cores of the nodes of the cluster that are alive."""
    with restore_process(), connect_ray(0) as cores:
        return cores


@ray.remote(num_cpus=1)
def _run_item(work: Callable[..., T], expected: str, *item: Any) -> T:
    check_software(expected)
    with single_threaded():
        return work(*item)


@contextlib.contextmanager
def convert_ray_errors() -> Iterator[None]:
    """Convert a Ray failure to one line; the usual cause is a machine without free memory, which kills Ray's processes."""
    try:
        yield
    except (OutdatedNodeError, RuntimeError, tune.TuneError, ray.exceptions.RayError) as error:
        if isinstance(cause := getattr(error, "cause", error), OutdatedNodeError):
            raise cause from error
        reason = str(error).partition("\n")[0][:250]
        hint = "stargaze tune --resume continues; --max-concurrent 1 needs the least memory"
        raise ExternalError(f"Ray failed: {reason}", hint=hint) from error


@contextlib.contextmanager
def restore_process() -> Iterator[None]:
    """Restore signal handlers and environment variables: Ray sets some and keeps them for the rest of the process."""
    variables = dict(os.environ)
    try:
        with restore_handlers():
            yield
    finally:
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)


@contextlib.contextmanager
def restore_handlers() -> Iterator[None]:
    """Restore signal handlers in the end: Ray and its C++ library install their own, which abort the process at SIGTERM."""
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1) if is_main else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def connect_ray(max_concurrent: int, folder: Path | None = None) -> Iterator[int]:
    """Start Ray on loopback, or join the cluster of this Ray job; yield the number of concurrent trials.

    Ray is stopped, or left, on every exit, also on an interrupt during start-up. A local Ray runs in ``folder``, by default in
    a new one.
    """
    with contextlib.ExitStack() as stack:
        if not is_ray_job() and folder is None:
            folder = stack.enter_context(private_folder())
        stack.callback(ray.shutdown)
        with restore_handlers():
            cores = (
                _join_cluster(max_concurrent)
                if folder is None or is_ray_job()
                else _start_local(max_concurrent or len(os.sched_getaffinity(0)), folder)
            )
        yield cores


def _start_local(cores: int, folder: Path) -> int:
    shared_memory, size = object_store(folder)
    with entered_folder(folder):
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=size,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(folder),
            _plasma_directory=shared_memory,
        )
    _silence_state_log()
    return cores


def _join_cluster(max_concurrent: int) -> int:
    """Join the cluster of ``RAY_ADDRESS``; return its number of cores, at most ``max_concurrent`` if that is not 0.

    Wait for a free core; raise ExternalError if a node has other software.
    """
    ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": dict.fromkeys(THREADS, "1")})
    _silence_state_log()
    nodes = _wait_for_core()
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    versions = {
        node["NodeManagerAddress"]: _describe_node.options(
            scheduling_strategy=affinity(node["NodeID"], soft=True)
        ).remote()
        for node in nodes
    }
    outdated = [address for address, version in versions.items() if ray.get(version) != describe_software()]
    if outdated:
        raise outdated_node_error(outdated)
    cores = int(sum(node["Resources"].get("CPU", 0) for node in nodes))
    return min(max_concurrent, cores) if max_concurrent else cores


def _wait_for_core() -> list[dict[str, Any]]:
    """Wait until a core of the cluster is free; return the nodes that are alive."""
    if not _has_free_core():
        report_wait()
    while not _has_free_core():
        time.sleep(POLL_INTERVAL)
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _has_free_core() -> bool:
    return float(ray.available_resources().get("CPU", 0)) >= 1  # type: ignore[no-untyped-call]


class IdleSearch:
    """Reports when no trial of a search has been running for a while, because other jobs or no node have the cores."""

    def __init__(self) -> None:
        self._last_active = time.monotonic()
        self._is_reported = False

    def look(self, *, is_running: bool) -> None:
        """Note whether a trial is running."""
        now = time.monotonic()
        if is_running:
            self._last_active, self._is_reported = now, False
        elif not self._is_reported and now - self._last_active > IDLE_TIME and not _has_free_core():
            self._is_reported = True
            report_wait()


@ray.remote(num_cpus=0)
def _describe_node() -> str:
    return describe_software()


def _silence_state_log() -> None:
    # Resuming uses the trial journal, so warnings about Ray's own incomplete record are irrelevant.
    logging.getLogger("ray.tune.execution.experiment_state").setLevel(logging.CRITICAL)
