"""Call a function for several items at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int | None = None) -> list[Result]:
    """Return ``work(item)`` of each item in order, one thread per item by default; the first exception is raised.

    >>> map_in_threads(str.upper, ["a", "b"])
    ['A', 'B']
    """
    with ThreadPoolExecutor(threads or max(1, len(items))) as pool:
        return list(pool.map(work, items))
