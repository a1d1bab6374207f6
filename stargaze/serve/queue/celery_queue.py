"""The prediction queue on Celery: submit requests, get jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import json
import math
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celery import Celery

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import (
    DONE,
    FINISHED_STATES,
    RESERVED,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
    QueueUnavailableError,
    job_from_result,
    new_job,
    waiting_error,
)
from stargaze.serve.queue.backends import N_CONNECTIONS, QUEUE_ERRORS, RESULT_STORE_ERRORS, TIMEOUT, declare_queues
from stargaze.serve.queue.celery_app import send_message
from stargaze.serve.queue.message_folder import MessageFolder
from stargaze.serve.queue.result_store import ResultStore, StoredJob
from stargaze.serve.runtime.metrics import observe_job
from stargaze.serve.runtime.settings import session_key
from stargaze.serve.runtime.status_files import MAX_SILENCE, is_heartbeat_recent
from stargaze.store import Store

SUBMIT_TIMEOUT = 3 * TIMEOUT
"""The longest time between reserving and queuing a job [s]: to connect, to publish, to get the confirmation."""
utc_now = partial(datetime.now, UTC)
POLL_INTERVAL = 0.02
"""Time between two checks whether a reserved job was queued [s]."""


class CeleryPredictionQueue:
    """The prediction queue with Celery's queue and result store.

    The id of a job is a keyed hash of request, release, time period and attempt. So identical requests get the same job on
    every replica without an index of requests, and clients cannot guess ids. After a failed attempt comes the next number, so a
    request has at most one living job, and no id is used twice. An answer for which ``is_readable`` is false, because another
    version stored it, is a failed attempt too, and so is one that lacked something temporary, when it has expired.
    """

    def __init__(
        self,
        app: Celery,
        section: ServeSection,
        store: Store,
        *,
        clock: Callable[[], datetime] = utc_now,
        is_readable: Callable[[PredictionJob], bool] = lambda _: True,
    ) -> None:
        self._app = app
        self._results = ResultStore(app)
        self._section = section
        self._store = store
        self._clock = clock
        self._is_readable = is_readable
        self._key = session_key(store)
        self._declared = not section.broker_url

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Reserve a job, publish it, and mark it as queued; if the queue refuses it, the reservation is removed."""
        job, is_new = self._reserve(request, key, request_id)
        if not is_new:
            return job
        with _convert_errors():
            try:
                self._publish(job)
            except QUEUE_ERRORS:
                self._declared = not self._section.broker_url  # a restarted broker may have lost the queues
                with contextlib.suppress(*RESULT_STORE_ERRORS):  # otherwise the job fails at its deadline
                    self._results.remove_reserved(job)
                raise
        with contextlib.suppress(*RESULT_STORE_ERRORS):  # the queue has the job, so it is accepted
            self._results.mark_queued(job)
        observe_job("accepted")
        return job

    def _reserve(self, request: PredictionRequest, key: str, request_id: str) -> tuple[PredictionJob, bool]:
        """Return the living or answered job of the request or key, or reserve its next attempt; and whether it is new."""
        identity = {"key": key} if key else self._identity(request)
        create = partial(new_job, request, time_limit=self._section.time_limit, request_id=request_id)
        with _convert_errors():
            job = create(now=self._clock(), job_id=self._hash_id(identity, 0))
            if (first := self._results.add(job, RESERVED)) is None:  # as for most requests: with one round trip
                return job, True
            return self._reserve_next(identity, create, first, request if key else None)

    def _reserve_next(
        self,
        identity: Mapping[str, Any],
        create: Callable[..., PredictionJob],
        first: StoredJob | None,
        expected: PredictionRequest | None,
    ) -> tuple[PredictionJob, bool]:
        """Return the living or answered job, or reserve the next attempt, if there is a ``first`` attempt.

        The existing job must have the ``expected`` request, if one is given; otherwise IdempotencyKeyReusedError is raised.

        Waits while another process is publishing. A reservation that stays too long belongs to a process that died before
        publishing: it is a failed attempt. If it is removed meanwhile, the queue refused the job, and would refuse this one.
        """
        limit = self._section.time_limit
        deadline, was_reserved = time.monotonic() + SUBMIT_TIMEOUT, False
        while True:
            attempt, job_id, stored = self._last_attempt(identity, first)
            first = None  # it may change before the next pass
            if stored:
                existing = self._to_job(job_id, stored)
                if expected and existing.request not in (None, expected):
                    message = "this Idempotency-Key was already used for a different request"
                    raise IdempotencyKeyReusedError(message, hint="use a new key for each request")
                if stored[0] == RESERVED and existing.state != "failed" and time.monotonic() < deadline:
                    was_reserved = True
                    time.sleep(POLL_INTERVAL)
                    continue
                if stored[0] != RESERVED and not self._is_over(existing, identity):
                    return existing, False
                if stored[0] != DONE:  # a worker that gets its message must not answer it any more
                    error = existing.error or waiting_error(limit)
                    if not self._results.replace(job_id, stored, dataclasses.replace(existing, error=error)):
                        continue
                attempt, job_id = attempt + 1, self._hash_id(identity, attempt + 1)
            elif was_reserved:
                message = "the queue is unavailable: an identical request was refused a moment ago"
                raise QueueUnavailableError(message, hint="stargaze doctor")
            job = create(now=self._clock(), job_id=job_id)
            if self._results.add(job, RESERVED) is None:
                return job, True

    def _last_attempt(
        self, identity: Mapping[str, Any], first: StoredJob | None = None
    ) -> tuple[int, str, StoredJob | None]:
        """Return number, id and job of the last attempt; the job is None if there was none. Attempts have no gaps.

        ``first`` is the first attempt, if it has just been read.
        """
        first_id = self._hash_id(identity, 0)
        stored = first or self._results.get(first_id)
        if stored is None or not self._is_over(self._to_job(first_id, stored), identity):
            return 0, first_id, stored
        low, high = 0, 1
        found = {0: stored}
        while (job := self._results.get(self._hash_id(identity, high))) is not None:
            found[high] = job
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if (job := self._results.get(self._hash_id(identity, middle))) is None:
                high = middle
            else:
                low, found[middle] = middle, job
        return low, self._hash_id(identity, low), found[low]

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        """Return the job of an identical request if it is queued, or has ended and not expired."""
        if not self._section.cache_ttl:
            return None
        with _convert_errors():
            _, job_id, stored = self._last_attempt(self._identity(request))
        if stored is None or stored[0] == RESERVED:
            return None
        job = self._to_job(job_id, stored)
        return job if job.expires_in(self._clock()) > 0 else None

    def get(self, job_id: str) -> PredictionJob | None:
        """Return the job; an unfinished one past its deadline is failed."""
        with _convert_errors():
            stored = self._results.get(job_id)
        return stored and self._to_job(job_id, stored)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        """Return the finished and unknown jobs of these ids with one query."""
        with _convert_errors():
            stored = self._results.get_many(job_ids)
        jobs = {job_id: value and self._to_job(job_id, value) for job_id, value in stored.items()}
        return {job_id: job for job_id, job in jobs.items() if job is None or job.state in FINISHED_STATES}

    def check(self) -> None:
        """Connect to the queue and write to the result store; fails if a disk is full or a server is unreachable.

        Without a broker it also fails if no prediction process has taken a message recently.
        """
        with _convert_errors():
            if self._section.broker_url:
                with self._app.connection_for_write() as connection:
                    connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
            else:
                MessageFolder(self._store.queue).check()
            self._results.check()
        if not self._section.broker_url and not is_heartbeat_recent(self._store.queue, MAX_SILENCE):
            message = "no prediction process takes messages from the queue"
            raise QueueUnavailableError(message, hint="it is started again; see logs/worker.log below the store")

    def warm_up(self) -> None:
        """Open the connections of the first requests, which would wait for TLS and logins; what fails is tried by them."""
        _ = self._app.backend, self._app.amqp.send_task_message  # Celery reads entry points and imports its events
        with contextlib.suppress(*RESULT_STORE_ERRORS):
            self._results.warm_up(N_CONNECTIONS)
        with contextlib.suppress(*QUEUE_ERRORS), contextlib.ExitStack() as stack:
            if not self._declared:
                self._declare()
            for _ in range(N_CONNECTIONS):
                producer = stack.enter_context(self._app.producer_or_acquire())
                producer.channel  # noqa: B018 - connects

    def _to_job(self, job_id: str, stored: StoredJob) -> PredictionJob:
        return job_from_result(job_id, *stored, now=self._clock(), time_limit=self._section.time_limit)

    def _is_over(self, job: PredictionJob, identity: Mapping[str, Any]) -> bool:
        """Return whether the next attempt follows; the answer to an idempotency key is always the same."""
        seconds = job.expires_in(self._clock())
        if job.state == "failed":
            return not 0 < seconds < math.inf  # the reason of an error may still hold
        return ("key" not in identity and seconds <= 0) or not self._is_readable(job)

    def _publish(self, job: PredictionJob) -> None:
        if not self._declared:
            self._declare()
        # The texts are only for monitoring, and long.
        send_message(self._app, self._section, job.to_json(), task_id=job.id, argsrepr="", kwargsrepr="")

    def _declare(self) -> None:
        with self._app.connection_for_write() as connection:
            declare_queues(connection)
        self._declared = True

    def _identity(self, request: PredictionRequest) -> dict[str, Any]:
        """Return what identical requests have in common: request, release and time period."""
        if not self._section.cache_ttl:
            return {"random": str(uuid.uuid4())}
        period = int(self._clock().timestamp() // self._section.cache_ttl)
        release = self._store.current.readlink().name if self._store.current.is_symlink() else ""
        return {"request": request.to_json(), "release": release, "period": period}

    def _hash_id(self, identity: Mapping[str, Any], attempt: int) -> str:
        data = json.dumps({**identity, "attempt": attempt}, sort_keys=True).encode()
        return str(uuid.UUID(bytes=hmac.new(self._key, data, hashlib.sha256).digest()[:16]))


@contextlib.contextmanager
def _convert_errors() -> Iterator[None]:
    try:
        yield
    except RESULT_STORE_ERRORS as error:
        raise QueueUnavailableError(
            f"the result store cannot be reached: {error}", hint="df -h; or check serve.results_url and Redis"
        ) from error
    except QUEUE_ERRORS as error:
        hint = "df -h; or check serve.broker_url and RabbitMQ"
        raise QueueUnavailableError(f"the queue cannot be written: {error}", hint=hint) from error
