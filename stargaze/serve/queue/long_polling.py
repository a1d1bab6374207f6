"""Long polling: one thread polls the result store for all waiting requests of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue

MAX_WAITING = 32
"""Maximum number of waiting requests of a process, half of its threads; others get an immediate response."""
MIN_INTERVAL, MAX_INTERVAL = 0.01, 0.1
"""Between two polls [s]."""
INTERVAL_SHARE = 0.2
"""The interval is this share of the time that the newest request has waited."""

JobFuture = Future[PredictionJob | None]


class LongPoller:
    """Polls the jobs of all waiting requests in one thread, which ends when no request waits."""

    def __init__(self, queue: PredictionQueue, max_waiting: int = MAX_WAITING) -> None:
        self._queue = queue
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting: dict[JobFuture, tuple[str, float]] = {}
        self._is_polling = False

    def wait(self, job: PredictionJob, timeout: float) -> PredictionJob | None:
        """Return the job when it is finished, or its present state after ``timeout`` [s] or if too many requests wait."""
        if timeout <= 0 or job.state in FINISHED_STATES:
            return job
        future: JobFuture = Future()
        with self._lock:
            if len(self._waiting) >= self._max_waiting:
                return job
            self._waiting[future] = (job.id, time.monotonic())
            if not self._is_polling:
                self._is_polling = True
                threading.Thread(target=self._poll, name="long-polling", daemon=True).start()
        try:
            return future.result(timeout)
        except TimeoutError:
            return self._queue.get(job.id)
        finally:
            with self._lock:
                self._waiting.pop(future, None)

    def _poll(self) -> None:
        while True:
            with self._lock:
                waiting = dict(self._waiting)
                self._is_polling = bool(waiting)
            if not waiting:
                return
            newest = time.monotonic() - max(since for _, since in waiting.values())
            time.sleep(min(MAX_INTERVAL, max(MIN_INTERVAL, INTERVAL_SHARE * newest)))
            self._resolve(waiting)

    def _resolve(self, waiting: Mapping[JobFuture, tuple[str, float]]) -> None:
        """Resolve the futures of finished and unknown jobs; an error of the queue goes to all of them."""
        try:
            finished = self._queue.finished({job_id for job_id, _ in waiting.values()})
        except StargazeError as error:
            for future in waiting:
                future.set_exception(error)
        else:
            for future, (job_id, _) in waiting.items():
                if job_id in finished:
                    future.set_result(finished[job_id])
        with self._lock:
            for future in waiting:
                if future.done():
                    self._waiting.pop(future, None)
