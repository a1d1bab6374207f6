"""Batching without a timer: a free process gets all waiting jobs, since a prediction's cost is per call, not per row."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from billiard.exceptions import TimeLimitExceeded
from celery.worker.state import task_ready
from celery_batches import Batches, SimpleRequest
from celery_batches.trace import apply_batches_task

log = logging.getLogger(__name__)


class BatchTask(Batches):  # type: ignore[misc]  # celery-batches has no types
    """A Celery task that answers many messages in one call; each is acknowledged only when its own answer is stored.

    The decorated function gets a list of messages and returns two lists of ids: those whose answer is stored, and those
    that must not be tried again, which become dead letters.
    """

    abstract = True
    flush_every = 1  # every message is passed to `flush` at once
    max_batch_size = 64
    save_too_slow: Callable[[Sequence[SimpleRequest]], Collection[str]] = staticmethod(lambda _messages: ())
    """Stores that messages exceeded the hard time limit, whose process is killed; returns the ids of those that are stored."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._waiting: deque[Any] = deque()
        self._running: set[threading.Event] = set()

    def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:  # noqa: N802 - Celery's name
        """Start a connection without messages: the broker delivers those of an earlier connection again.

        Celery drops a batch of an earlier connection that no process had started, without any callback.
        """
        with self._lock:
            self._waiting.clear()
            self._running.clear()
        handle = super().Strategy(task, app, consumer)

        def handle_any(message: Any, body: Any, *arguments: Any, **options: Any) -> None:
            try:
                handle(message, body, *arguments, **options)
            except Exception as error:  # noqa: BLE001 - no content of a message may end the worker
                log.warning("a message is a dead letter: %s", type(error).__name__)
                message.reject_log_error(log, consumer.connection_errors)

        return handle_any

    def flush(self, requests: Sequence[Any]) -> None:
        """Add new messages and give waiting ones to free processes."""
        with self._lock:
            self._waiting.extend(requests)
            self._dispatch()

    def _dispatch(self) -> None:
        while self._waiting and len(self._running) < self._pool.num_processes:
            batch = [(message, _convert(message)) for message in self._next_batch()]
            if readable := [(message, request) for message, request in batch if request]:
                self._start_batch([message for message, _ in readable], [request for _, request in readable])

    def _next_batch(self) -> list[Any]:
        """Take the next messages; a redelivered one is a batch of its own, since it may have killed its process."""
        batch = [self._waiting.popleft()]
        while not is_redelivered(batch[0]) and self._waiting and len(batch) < self.max_batch_size:
            if is_redelivered(self._waiting[0]):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _start_batch(self, batch: list[Any], requests: list[SimpleRequest]) -> None:
        ended = threading.Event()
        self._running.add(ended)

        def finish(settle: Callable[[Any], None]) -> None:
            with self._lock:
                if ended.is_set():  # a time limit is reported twice
                    return
                ended.set()
                self._running.discard(ended)
                for message in batch:
                    settle(message)
                self._dispatch()

        def on_accepted(pid: int, at: float) -> None:
            for message in batch:
                message.on_accepted(pid, at)

        def on_error(info: Any) -> None:
            error = getattr(info.exception, "exc", info.exception)  # billiard wraps it
            if isinstance(error, TimeLimitExceeded):
                finish(partial(_settle, self.save_too_slow(requests), ()))
            else:
                log.warning("%d jobs are tried again: %s", len(batch), error)
                finish(partial(_settle, (), ()))

        def on_timeout(*, soft: bool, timeout: float) -> None:  # called by keyword
            if not soft:
                log.warning("%d jobs took longer than %g s", len(batch), timeout)
                finish(partial(_settle, self.save_too_slow(requests), ()))

        self._pool.apply_async(
            apply_batches_task,
            (self, (requests,), 0, None),
            accept_callback=on_accepted,
            callback=lambda ids: finish(partial(_settle, *(ids or ((), ())))),
            error_callback=on_error,
            timeout_callback=on_timeout,
            soft_timeout=self.soft_time_limit,
            timeout=self.time_limit,
        )


def _convert(message: Any) -> SimpleRequest | None:
    """Return a message for the prediction process; one that cannot be read becomes a dead letter."""
    try:
        return SimpleRequest.from_request(message)
    except Exception as error:  # noqa: BLE001 - no content of a message may end the worker
        log.warning("a message is a dead letter: %s", type(error).__name__, extra={"job_id": message.id})
        task_ready(message)
        message.reject(requeue=False)
        return None


def _settle(stored: Collection[str], dead: Collection[str], message: Any) -> None:
    """Acknowledge an answered message, reject a dead one, and requeue others, for example if the result store failed."""
    if message.id in stored:
        message.on_success((False, None, 0.0))
    else:
        task_ready(message)
        message.reject(requeue=message.id not in dead)


def is_redelivered(message: Any) -> bool:
    """Return whether a message was delivered to a worker before, as far as the queue reports it."""
    return bool((message.delivery_info or {}).get("redelivered"))
