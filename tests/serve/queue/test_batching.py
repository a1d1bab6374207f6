"""Waiting jobs are one batch, and a batch that a connection dropped does not block a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError

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


class FakeMessage:
    """A message as Celery passes it."""

    def __init__(self, name: str, acknowledged: list[str]) -> None:
        self.id = name
        self.delivery_info: dict[str, Any] = {}
        self.rejected: list[bool] = []
        self._acknowledged = acknowledged

    def on_success(self, _result: object) -> None:
        """Acknowledge it."""
        self._acknowledged.append(self.id)

    def reject(self, *, requeue: bool) -> None:
        """Record it."""
        self.rejected.append(requeue)


def message(name: str, acknowledged: list[str]) -> FakeMessage:
    return FakeMessage(name, acknowledged)


def connect(batch_task: BatchTask, pool: FakePool) -> Any:
    """Start a connection to the broker."""
    consumer = SimpleNamespace(pool=pool, hostname="", connection_errors=(), event_dispatcher=None, timer=None)
    task = SimpleNamespace(
        Request="celery.worker.request:Request", time_limit=None, soft_time_limit=None, __trace__=None, acks_late=True
    )
    return batch_task.Strategy(task, SimpleNamespace(use_fast_trace_task=True), consumer)


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


@pytest.mark.parametrize("stored", [True, False])
def test_a_batch_over_the_time_limit_is_acknowledged_if_that_is_stored(
    acknowledged_ids: list[str], *, stored: bool
) -> None:
    """billiard reports the limit twice: as an error, and by keyword to the callback."""
    batch_task, pool = BatchTask(), FakePool()
    batch_task.save_too_slow = lambda messages: [message.id for message in messages if stored]
    connect(batch_task, pool)
    slow = message("slow", acknowledged_ids)
    batch_task.flush([slow])
    error = SimpleNamespace(exception=TimeLimitExceeded(35.0))

    pool.batches[0]["timeout_callback"](soft=True, timeout=30.0)
    pool.batches[0]["error_callback"](error)
    pool.batches[0]["timeout_callback"](soft=False, timeout=35.0)

    assert (acknowledged_ids, slow.rejected) == ((["slow"], []) if stored else ([], [True]))


def test_the_batch_of_a_lost_process_is_tried_again(acknowledged_ids: list[str]) -> None:
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)
    lost = message("lost", acknowledged_ids)
    batch_task.flush([lost])

    pool.batches[0]["error_callback"](SimpleNamespace(exception=WorkerLostError("signal 9")))

    assert (acknowledged_ids, lost.rejected) == ([], [True])


def test_a_message_that_cannot_be_read_is_a_dead_letter_and_the_others_are_answered(
    acknowledged_ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(message: Any) -> Any:
        if message.id == "broken":
            raise ValueError("no body")
        return message

    monkeypatch.setattr(batching.SimpleRequest, "from_request", staticmethod(convert))
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)
    broken = message("broken", acknowledged_ids)

    batch_task.flush([broken, message("good", acknowledged_ids)])
    batch_task.flush([])

    assert ([batch["ids"] for batch in pool.batches], broken.rejected) == ([["good"]], [False])


def test_a_message_that_celery_cannot_handle_is_a_dead_letter() -> None:
    batch_task = BatchTask()
    rejected: list[object] = []
    handle = connect(batch_task, FakePool())
    broken = SimpleNamespace(payload=5, reject_log_error=lambda *_: rejected.append("dead"))

    handle(broken, None, None, None, None)

    assert rejected == ["dead"]


def test_a_late_batch_of_an_earlier_connection_frees_no_process(acknowledged_ids: list[str]) -> None:
    batch_task, pool = BatchTask(), FakePool()
    connect(batch_task, pool)
    batch_task.flush([message("slow", acknowledged_ids)])

    connect(batch_task, pool)
    batch_task.flush([message("slow", acknowledged_ids)])
    pool.finish(0)
    batch_task.flush([message("next", acknowledged_ids)])

    assert [batch["ids"] for batch in pool.batches] == [["slow"], ["slow"]]
