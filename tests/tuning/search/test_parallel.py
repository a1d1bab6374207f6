"""A parallel map over items."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from stargaze.tuning.search.parallel import count_cores, parallel_map
from stargaze.tuning.search.ray_job import RAY_JOB_VARIABLE


def test_results_are_in_the_order_of_the_items() -> None:
    gate = threading.Event()

    def wait_and_return(index: int) -> int:
        if len(os.sched_getaffinity(0)) > 1:  # the second call releases the first
            gate.wait(10) if index == 0 else gate.set()
        return index

    assert parallel_map(wait_and_return, [(0,), (1,), (2,)]) == [0, 1, 2]


def test_an_exception_of_one_call_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(divmod, [(1, 1), (1, 0)])


def test_a_ray_job_maps_on_the_nodes_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stargaze.tuning.search.ray_runtime.map_on_nodes", lambda work, items: [("cluster", work, len(items))]
    )
    monkeypatch.setenv(RAY_JOB_VARIABLE, "{}")

    assert parallel_map(pow, [(2, 3), (3, 2)]) == [("cluster", pow, 2)]


def test_the_cores_of_a_ray_job_are_those_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_cores() == len(os.sched_getaffinity(0))
    asked = list[int]()

    def join(max_concurrent: int) -> contextlib.nullcontext[int]:
        asked.append(max_concurrent)
        return contextlib.nullcontext(48)

    monkeypatch.setattr("stargaze.tuning.search.ray_runtime.connect_ray", join)
    monkeypatch.setenv(RAY_JOB_VARIABLE, "{}")

    assert (count_cores(), asked) == (48, [0])
