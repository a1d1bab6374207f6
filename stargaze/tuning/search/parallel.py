"""Map a function over items, one core each: in threads, or on the nodes of the cluster in a Ray job."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from stargaze.system.parallel import map_in_threads
from stargaze.tuning.cross_validation import single_threaded
from stargaze.tuning.search.ray_job import is_ray_job

T = TypeVar("T")


def parallel_map(work: Callable[..., T], items: Sequence[tuple[Any, ...]]) -> list[T]:
    """Return ``work(*item)`` for each item in order; each call computes with one thread.

    ``work`` is a function of a module, because nodes of a cluster import it by name. An argument that several items share
    is sent to the cluster once. The items of a node that dies run again on others.

    Raise ExternalError if the cluster fails.

    Examples
    --------
    >>> parallel_map(pow, [(2, 3), (3, 2)])
    [8, 9]
    """
    if is_ray_job():
        from stargaze.tuning.search.ray_runtime import map_on_nodes

        return map_on_nodes(work, items)
    with single_threaded():
        return map_in_threads(lambda item: work(*item), items, threads=count_cores())


def count_cores() -> int:
    """Return on how many cores :func:`parallel_map` computes; in a Ray job, wait until one of the cluster is free."""
    if is_ray_job():
        from stargaze.tuning.search.ray_runtime import count_cluster_cores

        return count_cluster_cores()
    return len(os.sched_getaffinity(0))
