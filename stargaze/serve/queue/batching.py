"""Questions that wait are handed to a free prediction process together: a prediction's cost is nearly all per call, not per row.

No timer: a process that is free gets what is there at once, and what arrives meanwhile waits for the first that is free.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from celery.worker.state import task_ready
from celery_batches import Batches, SimpleRequest
from celery_batches.trace import apply_batches_task


class BatchTask(Batches):  # type: ignore[misc]  # celery-batches has no types
    """A Celery task that answers many messages in one call; each is acknowledged only once its own answer is stored.

    The function that is decorated gets a list of requests and returns two lists of ids: those whose answer it stored, and those
    that shall never be tried again, which end among the dead.
    """

    abstract = True
    flush_every = 1  # every message is handed to `flush` at once, which decides
    most = 64

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._waiting: deque[Any] = deque()
        self._running: set[threading.Event] = set()

    def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:  # noqa: N802 - as celery calls it
        """Begin a connection with nothing: what an earlier one brought, the queue gives again.

        A batch that no process had begun then is dropped by Celery without a word, and would be waited for without an end.
        """
        with self._lock:
            self._waiting.clear()
            self._running.clear()
        return super().Strategy(task, app, consumer)

    def flush(self, requests: Sequence[Any]) -> None:
        """Take what arrived and give free processes what waits."""
        with self._lock:
            self._waiting.extend(requests)
            self._dispatch()

    def _dispatch(self) -> None:
        while self._waiting and len(self._running) < self._pool.num_processes:
            batch = [request for request in self._next() if not request.revoked()]
            if batch:
                self._hand_over(batch)

    def _next(self) -> list[Any]:
        """Take the next few; a message that came back may have killed its process, so it goes alone."""
        batch = [self._waiting.popleft()]
        while not is_redelivered(batch[0]) and self._waiting and len(batch) < self.most:
            if is_redelivered(self._waiting[0]):
                break
            batch.append(self._waiting.popleft())
        return batch

    def _hand_over(self, batch: list[Any]) -> None:
        ended = threading.Event()
        self._running.add(ended)

        def once(settle: Callable[..., None], *given: Any) -> None:
            with self._lock:
                if ended.is_set():  # a time limit is told twice
                    return
                ended.set()
                self._running.discard(ended)
                for request in batch:
                    settle(request, *given)
                self._dispatch()

        def accepted(pid: int, at: float) -> None:
            for request in batch:
                request.on_accepted(pid, at)

        def too_late(soft: bool, limit: float) -> None:  # noqa: FBT001 - as billiard calls it
            if not soft:
                once(_time_out, limit)

        self._pool.apply_async(
            apply_batches_task,
            (self, ([SimpleRequest.from_request(request) for request in batch],), 0, None),
            accept_callback=accepted,
            callback=lambda settled: once(_settle, *(settled or ((), ()))),
            error_callback=lambda info: once(_fail, info),
            timeout_callback=too_late,
            soft_timeout=self.soft_time_limit,
            timeout=self.time_limit,
        )


def _settle(request: Any, stored: Collection[str], dead: Collection[str]) -> None:
    """Acknowledge what was answered, bury what is dead, and give back the others, as when the result store was away."""
    if request.id in stored:
        request.on_success((False, None, 0.0))
    else:
        task_ready(request)
        request.reject(requeue=request.id not in dead)


def _fail(request: Any, info: Any) -> None:
    request.on_failure(info)


def _time_out(request: Any, limit: float) -> None:
    request.on_timeout(soft=False, timeout=limit)


def is_redelivered(request: Any) -> bool:
    """Tell whether a message was given to a worker before, as far as the queue tells."""
    return bool((request.delivery_info or {}).get("redelivered"))
