"""Jobs in the result store, with one round trip to Redis or one transaction; Celery's own results are disabled."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from celery import Celery
from celery.app.backends import by_url
from celery.backends.database import session_cleanup
from celery.backends.redis import RedisBackend
from sqlalchemy.exc import IntegrityError

from stargaze.serve.prediction_request import DONE, QUEUED, RESERVED, RUNNING, PredictionJob
from stargaze.serve.queue.backends import RESULT_URL

StoredJob = tuple[str, Any]
"""Status and content of a job."""
_UNFINISHED = tuple(f'{{"status":"{status}",'.encode() for status in (RESERVED, QUEUED, RUNNING))
"""Prefixes of unfinished jobs, as :func:`_encode_meta` writes them."""
_REPLACE = 'if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("set", KEYS[1], ARGV[2], "ex", ARGV[3]) end'
_DELETE = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end'


class ResultStore:
    """The result store that the app's settings name."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def save(self, jobs: Sequence[PredictionJob], status: str) -> None:
        """Store jobs with a status; existing ones are overwritten."""
        backend = self._backend
        if not isinstance(backend, RedisBackend):
            session = backend.ResultSession()
            with session_cleanup(session):
                for job in jobs:
                    row = session.query(backend.task_cls).filter_by(task_id=job.id).first()
                    if row is None:
                        row = backend.task_cls(job.id)
                        session.add(row)
                    row.status, row.result = status, job.to_json()
                session.commit()
            return
        with backend.client.pipeline(transaction=False) as pipe:
            for job in jobs:
                pipe.set(backend.get_key_for_task(job.id), _encode_meta(job, status), ex=int(backend.expires))
            pipe.execute()

    def add(self, job: PredictionJob, status: str) -> bool:
        """Store a job unless its id exists; return whether it was stored."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            key, value = backend.get_key_for_task(job.id), _encode_meta(job, status)
            return bool(backend.client.set(key, value, ex=int(backend.expires), nx=True))
        session = backend.ResultSession()
        with session_cleanup(session):
            row = backend.task_cls(job.id)
            row.status, row.result = status, job.to_json()
            session.add(row)
            try:
                session.commit()
            except IntegrityError:  # the id is unique
                session.rollback()
                return False
        return True

    def replace(self, job_id: str, old: StoredJob, new: PredictionJob) -> bool:
        """Replace a job that is still stored as ``old`` by a finished one; return whether it was."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            values = _encode(job_id, *old), _encode_meta(new, DONE)
            key = backend.get_key_for_task(job_id)
            return bool(backend.client.eval(_REPLACE, 1, key, *values, int(backend.expires)))
        session = backend.ResultSession()
        with session_cleanup(session):
            rows = session.query(backend.task_cls).filter_by(task_id=job_id, status=old[0])
            count = rows.update({"status": DONE, "result": new.to_json()})
            session.commit()
        return bool(count)

    def cleanup(self) -> None:
        """Remove expired jobs; Redis does that itself."""
        self._backend.cleanup()

    def mark_queued(self, job: PredictionJob) -> None:
        """Change the status of a reserved job to queued; one that a worker has started is not changed."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            values = _encode_meta(job, RESERVED), _encode_meta(job, QUEUED)
            backend.client.eval(_REPLACE, 1, backend.get_key_for_task(job.id), *values, int(backend.expires))
            return
        session = backend.ResultSession()
        with session_cleanup(session):
            rows = session.query(backend.task_cls).filter_by(task_id=job.id, status=RESERVED)
            rows.update({"status": QUEUED})
            session.commit()

    def get(self, job_id: str) -> StoredJob | None:
        """Return a stored job; None if the id is unknown."""
        return self.get_many([job_id], with_unfinished=True)[job_id]

    def get_many(self, job_ids: Collection[str], *, with_unfinished: bool = False) -> dict[str, StoredJob | None]:
        """Return the jobs of these ids with one query, None for unknown ids; unfinished jobs are left out without decoding."""
        backend, ids = self._backend, list(job_ids)
        if isinstance(backend, RedisBackend):
            metas = backend.client.mget([backend.get_key_for_task(job_id) for job_id in ids]) if ids else []
            return {
                job_id: _decode(meta)
                for job_id, meta in zip(ids, metas, strict=True)
                if with_unfinished or not (meta or b"").startswith(_UNFINISHED)
            }
        session = backend.ResultSession()
        with session_cleanup(session):
            rows = session.query(backend.task_cls).filter(backend.task_cls.task_id.in_(ids)).all()
            stored = {row.task_id: (row.status, row.result) for row in rows}
        found = {job_id: stored.get(job_id) for job_id in ids}
        return {job_id: job for job_id, job in found.items() if with_unfinished or job is None or job[0] == DONE}

    def remove_reserved(self, job: PredictionJob) -> None:
        """Remove a reserved job, unless another process has reserved it since."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.eval(_DELETE, 1, backend.get_key_for_task(job.id), _encode_meta(job, RESERVED))
        else:
            session = backend.ResultSession()
            with session_cleanup(session):
                session.query(backend.task_cls).filter_by(task_id=job.id, status=RESERVED).delete()
                session.commit()

    def check(self) -> None:
        """Write a value, or raise the error of writing."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.set(b"stargaze-readiness", b"1", ex=60)
        else:
            session = backend.ResultSession()
            with session_cleanup(session):
                row = session.query(backend.task_cls).filter_by(task_id="readiness").first()
                if row is None:
                    session.add(backend.task_cls("readiness"))
                else:
                    row.date_done = datetime.now(UTC)
                with contextlib.suppress(IntegrityError):  # another process was first
                    session.commit()

    @cached_property
    def _backend(self) -> Any:
        """One for all threads: Celery would create one per thread, each with its own connections."""
        backend, url = by_url(self._app.conf[RESULT_URL], self._app.loader)
        return backend(app=self._app, url=url)


def _encode_meta(job: PredictionJob, status: str) -> bytes:
    return _encode(job.id, status, job.to_json())


def _encode(job_id: str, status: str, content: Any) -> bytes:
    return json.dumps({"status": status, "result": content, "task_id": job_id}, separators=(",", ":")).encode()


def _decode(meta: bytes | None) -> StoredJob | None:
    if meta is None:
        return None
    value = json.loads(meta)
    return value["status"], value["result"]
