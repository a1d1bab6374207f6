"""Do one thing for each of many, a core for each: in threads here, or on the nodes of the cluster whose job this is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from stargaze.system.parallel import map_in_threads
from stargaze.tuning.cross_validation import undisturbed

T = TypeVar("T")
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for a job of a cluster: such a process joins the cluster that started it, and starts no Ray of its own."""


def parallel_map(work: Callable[..., T], items: Sequence[tuple[Any, ...]]) -> list[T]:
    """Return what the work makes of each item, in their order; each computes with one thread.

    Parameters
    ----------
    work : callable
        Of a module, as a node of a cluster imports it by its name.
    items : sequence of tuple
        The arguments of each call. What several items share, a cluster is sent once.

    Raises
    ------
    ExternalError
        If the cluster gave up; a node that dies only gives its part to the others.

    Examples
    --------
    >>> parallel_map(pow, [(2, 3), (3, 2)])
    [8, 9]
    """
    if JOB in os.environ:
        from stargaze.tuning.search.ray_tune import each_on_nodes

        return each_on_nodes(work, items)
    with undisturbed():
        return map_in_threads(lambda item: work(*item), items, threads=len(os.sched_getaffinity(0)))
