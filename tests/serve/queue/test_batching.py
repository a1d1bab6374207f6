"""Waiting jobs are one batch, and a batch that a connection dropped does not block a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.serve.queue import batching
from stargaze.serve.queue.batching import BatchTask


class FakePool:
    """A pool of one process that runs a batch until the test ends it."""

    num_processes = 1

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    def apply_async(self, _work: object, arguments: tuple[Any, ...], **callbacks: Any) -> None:
        """Start a batch."""
        (_task, (messages,), *_rest) = arguments
        self.batches.append({"ids": [message.id for message in messages], **callbacks})

    def finish(self, i: int) -> None:
        """Report that all answers of batch ``i`` are stored."""
        batch = self.batches[i]
        batch["callback"]((batch["ids"], []))


@pytest.fixture
def acknowledged_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of acknowledged messages."""
    ids = list[str]()
    monkeypatch.setattr(batching.SimpleRequest, "from_request", staticmethod(lambda message: message))
    return ids


def message(name: str, acknowledged: list[str]) -> SimpleNamespace:
    """Return a message as Celery passes it."""
    return SimpleNamespace(
        id=name, delivery_info={}, revoked=lambda: False, on_success=lambda _result: acknowledged.append(name)
    )


def connect(batch_task: BatchTask, pool: FakePool) -> None:
    """Start a connection to the broker."""
    consumer = SimpleNamespace(pool=pool, hostname="", connection_errors=(), event_dispatcher=None, timer=None)
    task = SimpleNamespace(
        Request="celery.worker.request:Request", time_limit=None, soft_time_limit=None, __trace__=None, acks_late=True
    )
    batch_task.Strategy(task, SimpleNamespace(use_fast_trace_task=True), consumer)


def test_waiting_jobs_are_one_batch_for_the_next_free_process(acknowledged_ids: list[str]) -> None:
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)

    for name in ("a", "b", "c"):
        batch_task.flush([message(name, acknowledged_ids)])
    pool.finish(0)

    assert [batch["ids"] for batch in pool.batches] == [["a"], ["b", "c"]]
    assert acknowledged_ids == ["a"]


def test_a_batch_that_was_dropped_with_its_connection_blocks_no_process(acknowledged_ids: list[str]) -> None:
    """Celery drops messages that it has not yet passed to a process; the broker delivers them again."""
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)
    batch_task.flush([message("dropped", acknowledged_ids)])
    batch_task.flush([message("waits", acknowledged_ids)])

    connect(batch_task, pool)
    batch_task.flush([message("dropped", acknowledged_ids), message("waits", acknowledged_ids)])
    pool.finish(1)
    batch_task.flush([message("new", acknowledged_ids)])

    assert [batch["ids"] for batch in pool.batches] == [["dropped"], ["dropped", "waits"], ["new"]]
    assert acknowledged_ids == ["dropped", "waits"]


def test_a_late_batch_of_an_earlier_connection_frees_no_process(acknowledged_ids: list[str]) -> None:
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)
    batch_task.flush([message("slow", acknowledged_ids)])

    connect(batch_task, pool)
    batch_task.flush([message("slow", acknowledged_ids)])
    pool.finish(0)
    batch_task.flush([message("next", acknowledged_ids)])

    assert [batch["ids"] for batch in pool.batches] == [["slow"], ["slow"]]
