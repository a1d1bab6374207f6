"""The prediction queue on Celery: submit requests, get jobs."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celery import Celery

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import (
    FINISHED_STATES,
    RESERVED,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
    job_from_result,
    new_job,
)
from stargaze.serve.queue.backends import QUEUE_ERRORS, RESULT_STORE_ERRORS, TIMEOUT, declare_queues, message_folder
from stargaze.serve.queue.celery_app import TASK_NAME
from stargaze.serve.queue.result_store import ResultStore, StoredJob
from stargaze.serve.runtime.metrics import observe_job
from stargaze.serve.runtime.settings import QUEUE_NAME, session_key
from stargaze.store import Store

SUBMIT_TIMEOUT = 3 * TIMEOUT
"""The longest time between reserving and queuing a job [s]: to connect, to publish, to get the confirmation."""
utc_now = partial(datetime.now, UTC)
POLL_INTERVAL = 0.02
"""Time between two checks whether a reserved job was queued [s]."""


class CeleryPredictionQueue:
    """The prediction queue with Celery's queue and result store.

    The id of a job is a keyed hash of request, release and time period. So identical requests get the same job on every
    replica without an index of requests, and clients cannot guess ids.
    """

    def __init__(
        self, app: Celery, section: ServeSection, store: Store, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._app = app
        self._results = ResultStore(app)
        self._section = section
        self._store = store
        self._clock = clock
        self._key = session_key(store)
        self._declared = not section.broker_url

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Reserve the job, publish it, and mark it as queued; if the queue refuses it, the reservation is removed."""
        job_id = self._hash_id({"key": key}) if key else self._id_of(request)
        limit = self._section.time_limit
        job = new_job(request, now=self._clock(), time_limit=limit, job_id=job_id, request_id=request_id)
        existing = self._reserve(job)
        if existing and key and existing.request not in (None, request):
            message = "this Idempotency-Key was already used for a different request"
            raise IdempotencyKeyReusedError(message, hint="use a new key for each request")
        if existing and existing.state != "failed":
            return existing
        with _convert_errors():
            if existing:  # a failed job is tried again
                self._results.save([job], RESERVED)
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

    def _reserve(self, job: PredictionJob) -> PredictionJob | None:
        """Reserve the job's id, or return the existing job; wait while another process is publishing it.

        A reservation that stays too long belongs to a process that died before publishing: it is taken over. If it is
        removed meanwhile, the queue refused the job, and would refuse this one.
        """
        deadline = time.monotonic() + SUBMIT_TIMEOUT
        with _convert_errors():
            if self._results.add(job, RESERVED):
                return None
            while (stored := self._results.get(job.id)) and stored[0] == RESERVED:
                if time.monotonic() > deadline and self._to_job(job.id, stored).request == job.request:
                    self._results.save([job], RESERVED)
                    return None
                time.sleep(POLL_INTERVAL)
        if stored is None:
            message = "the queue is unavailable: an identical request was refused a moment ago"
            raise ExternalError(message, hint="stargaze doctor")
        return self._to_job(job.id, stored)

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        """Return the job of an identical request if it is queued."""
        return self._get(self._id_of(request), ignore=RESERVED) if self._section.cache_ttl else None

    def get(self, job_id: str) -> PredictionJob | None:
        """Return the job; an unfinished one past its deadline is failed."""
        return self._get(job_id)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        """Return the finished and unknown jobs of these ids with one query."""
        with _convert_errors():
            stored = self._results.get_many(job_ids)
        jobs = {job_id: value and self._to_job(job_id, value) for job_id, value in stored.items()}
        return {job_id: job for job_id, job in jobs.items() if job is None or job.state in FINISHED_STATES}

    def check(self) -> None:
        """Connect to the queue and write to the result store; fails if a disk is full or a server is unreachable."""
        with _convert_errors():
            if self._section.broker_url:
                with self._app.connection_for_write() as connection:
                    connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
            else:
                probe = message_folder(self._store) / ".probe"
                probe.write_bytes(b"1")
                probe.unlink()
            self._results.check()

    def _get(self, job_id: str, ignore: str = "") -> PredictionJob | None:
        with _convert_errors():
            stored = self._results.get(job_id)
        return None if stored is None or stored[0] == ignore else self._to_job(job_id, stored)

    def _to_job(self, job_id: str, stored: StoredJob) -> PredictionJob:
        return job_from_result(job_id, *stored, now=self._clock(), time_limit=self._section.time_limit)

    def _publish(self, job: PredictionJob) -> None:
        options: dict[str, Any] = {}
        if self._section.broker_url:  # the queues are declared once, not with every message
            options = {"declare": [], "timeout": TIMEOUT, "confirm_timeout": TIMEOUT}
        if not self._declared:
            with self._app.connection_for_write() as connection:
                declare_queues(connection)
            self._declared = True
        self._app.send_task(
            TASK_NAME,
            args=[job.to_json()],
            task_id=job.id,
            queue=QUEUE_NAME,
            expires=self._section.time_limit,
            argsrepr="",  # only for monitoring, and long
            kwargsrepr="",
            ignore_result=True,  # the worker stores jobs itself; otherwise Celery would subscribe to each result
            **options,
        )

    def _id_of(self, request: PredictionRequest) -> str:
        if not self._section.cache_ttl:
            return str(uuid.uuid4())
        period = int(self._clock().timestamp() // self._section.cache_ttl)
        release = self._store.current.readlink().name if self._store.current.is_symlink() else ""
        return self._hash_id({"request": request.to_json(), "release": release, "period": period})

    def _hash_id(self, value: dict[str, Any]) -> str:
        data = json.dumps(value, sort_keys=True).encode()
        return str(uuid.UUID(bytes=hmac.new(self._key, data, hashlib.sha256).digest()[:16]))


@contextlib.contextmanager
def _convert_errors() -> Iterator[None]:
    try:
        yield
    except RESULT_STORE_ERRORS as error:
        raise ExternalError(f"the result store cannot be reached: {error}", hint="df -h; stargaze doctor") from error
    except QUEUE_ERRORS as error:
        raise ExternalError(f"the queue cannot be written: {error}", hint="df -h; stargaze doctor") from error
