"""The example of the landing page: a real answer, which the queue computes and the process keeps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue
from stargaze.serve.web.request_parsing import parse_request
from stargaze.serve.web.views.prediction_view import is_readable, readable_job

MAX_WAIT = 0.5
"""How long the page that asks the queue waits for it [s]; the others show what there is."""
MAX_AGE = 3600.0
"""Age after which the answer is requested again; the old one is shown meanwhile [s]."""
PAUSE = 1.0
"""Time between two attempts to get an answer [s]."""
ATTEMPTS, INTERVAL = 50, 0.1
"""How often, and at which intervals, one attempt reads the state of the job [s]."""
log = logging.getLogger(__name__)


class LiveExample:
    """Holds the newest prediction of one repository.

    The queue is asked in a thread that ends, so that no page waits for it. Unless ``submits``, an answer is only used if a
    visitor has requested the same repository.
    """

    def __init__(
        self,
        queue: PredictionQueue,
        clock: Callable[[], datetime],
        *,
        submits: bool,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue, self._clock, self._submits, self._timer = queue, clock, submits, timer
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._name = ""
        self._prediction: Mapping[str, Any] | None = None
        self._asked_at, self._fresh_until = -MAX_AGE, -MAX_AGE

    def find(self, name: str) -> Mapping[str, Any] | None:
        """Return the prediction of the repository; None if there is none yet."""
        thread = self._refresh(name)
        if thread is not None and self._prediction is None:
            thread.join(MAX_WAIT)
        return self._prediction if name == self._name else None

    def _refresh(self, name: str) -> threading.Thread | None:
        """Return a new thread that asks the queue, if the answer is missing or old and no other thread asks."""
        with self._lock:
            now = self._timer()
            if name != self._name:
                self._name, self._prediction, self._asked_at = name, None, -MAX_AGE
            is_fresh = self._prediction is not None and now < self._fresh_until
            is_asking = self._thread is not None and self._thread.is_alive()
            if not is_fresh and not is_asking and now - self._asked_at >= PAUSE:
                self._asked_at = now
                self._thread = threading.Thread(target=self._ask, args=(name,), name="live-example", daemon=True)
                self._thread.start()
                return self._thread
            return None

    def _ask(self, name: str) -> None:
        """Keep the answer if it is finished in time; otherwise a later visit asks again."""
        try:
            job = self._request(name)
        except StargazeError as error:
            log.info("no example: %s", error.message)
            return
        except Exception:  # whatever it is, the page is shown without an example
            log.exception("no example")
            return
        with self._lock:
            if job and job.answer and name == self._name:
                self._prediction = job.answer["predictions"][0]
                self._fresh_until = self._timer() + min(MAX_AGE, job.expires_in(self._clock()))

    def _request(self, name: str) -> PredictionJob | None:
        parsed = parse_request([name], max_repositories=1, now=self._clock())
        job = self._queue.find(parsed)
        if self._submits:
            if job is None or not is_readable(job):
                job = self._queue.submit(parsed)
            for _ in range(ATTEMPTS):
                if job is None or job.state in FINISHED_STATES:
                    break
                time.sleep(INTERVAL)
                job = self._queue.get(job.id)
        return job and readable_job(job)
