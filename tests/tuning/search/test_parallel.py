"""One thing for each of many."""

from __future__ import annotations

import os
import threading

import pytest

from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.search.ray_job import RAY_JOB_VARIABLE


def test_answers_come_in_the_order_of_the_questions() -> None:
    gate = threading.Event()

    def waits(place: int) -> int:
        if len(os.sched_getaffinity(0)) > 1:  # the second lets the first one end, where both run
            gate.wait(10) if place == 0 else gate.set()
        return place

    assert parallel_map(waits, [(0,), (1,), (2,)]) == [0, 1, 2]


def test_an_error_of_one_is_the_error_of_all() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(divmod, [(1, 1), (1, 0)])


def test_a_job_of_a_cluster_leaves_it_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "stargaze.tuning.search.ray_runtime.map_on_nodes", lambda work, items: [("there", work, len(items))]
    )
    monkeypatch.setenv(RAY_JOB_VARIABLE, "{}")

    assert parallel_map(pow, [(2, 3), (3, 2)]) == [("there", pow, 2)]
