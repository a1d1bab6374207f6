"""Questions that wait are handed over together, and no process is waited for that nobody told of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.serve.queue import batching as batches
from stargaze.serve.queue.batching import BatchTask


class Pool:
    """A pool of one process that keeps what it is given until it is told that this ended."""

    num_processes = 1

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def apply_async(self, _work: object, arguments: tuple[Any, ...], **callbacks: Any) -> None:
        """Take a batch."""
        (_task, (requests,), *_rest) = arguments
        self.given.append({"ids": [request.id for request in requests], **callbacks})

    def end(self, place: int) -> None:
        """Say that all of a batch was answered and stored."""
        one = self.given[place]
        one["callback"]((one["ids"], []))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions whose messages were acknowledged."""
    told = list[str]()
    monkeypatch.setattr(batches.SimpleRequest, "from_request", staticmethod(lambda request: request))
    return told


def question(name: str, told: list[str]) -> SimpleNamespace:
    """Make a request as Celery hands it over."""
    return SimpleNamespace(
        id=name, delivery_info={}, revoked=lambda: False, on_success=lambda _result: told.append(name)
    )


def connected(together: BatchTask, pool: Pool) -> None:
    """Let the worker reach the broker."""
    consumer = SimpleNamespace(pool=pool, hostname="", connection_errors=(), event_dispatcher=None, timer=None)
    task = SimpleNamespace(
        Request="celery.worker.request:Request", time_limit=None, soft_time_limit=None, __trace__=None, acks_late=True
    )
    together.Strategy(task, SimpleNamespace(use_fast_trace_task=True), consumer)


def test_what_waits_goes_together_once_the_process_is_free(settled: list[str]) -> None:
    together, pool = BatchTask(), Pool()
    connected(together, pool)

    for name in ("a", "b", "c"):
        together.flush([question(name, settled)])
    pool.end(0)

    assert [one["ids"] for one in pool.given] == [["a"], ["b", "c"]]
    assert settled == ["a"]


def test_a_batch_that_was_dropped_with_its_connection_holds_up_nothing(settled: list[str]) -> None:
    """Celery clears what it has not yet written to a process: the queue gives it again, to whoever asks."""
    together, pool = BatchTask(), Pool()
    connected(together, pool)
    together.flush([question("dropped", settled)])
    together.flush([question("waits", settled)])

    connected(together, pool)
    together.flush([question("dropped", settled), question("waits", settled)])
    pool.end(1)
    together.flush([question("new", settled)])

    assert [one["ids"] for one in pool.given] == [["dropped"], ["dropped", "waits"], ["new"]]
    assert settled == ["dropped", "waits"]


def test_a_batch_of_the_connection_before_that_ends_late_frees_no_process(settled: list[str]) -> None:
    together, pool = BatchTask(), Pool()
    connected(together, pool)
    together.flush([question("slow", settled)])

    connected(together, pool)
    together.flush([question("slow", settled)])
    pool.end(0)
    together.flush([question("next", settled)])

    assert [one["ids"] for one in pool.given] == [["slow"], ["slow"]]
