"""Jobs in the result store, with one round trip to Redis; Celery would read before each write and never overwrite a failure."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

from celery import Celery
from celery.backends.database import session_cleanup
from celery.backends.redis import RedisBackend

from stargaze.serve.prediction_request import QUEUED, RESERVED, RUNNING, PredictionJob

StoredJob = tuple[str, Any]
"""Status and content of a job."""
_UNFINISHED = tuple(f'{{"status":"{status}",'.encode() for status in (RESERVED, QUEUED, RUNNING))
"""Prefixes of unfinished jobs, as :func:`_encode_meta` writes them."""
_REPLACE = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("set", KEYS[1], ARGV[2], "ex", ARGV[3]) end'
_DELETE = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end'


class ResultStore:
    """The result store of an app; Celery also writes there, about tasks that were lost or too slow."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def save(self, jobs: Sequence[PredictionJob], status: str) -> None:
        """Store jobs with a status; existing ones are overwritten."""
        backend = self._backend
        if not isinstance(backend, RedisBackend):
            for job in jobs:
                backend.store_result(job.id, job.to_json(), status)
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
        if self.get(job.id) is not None:
            return False
        self.save([job], status)
        return True

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
        meta = self._backend.get_task_meta(job_id, cache=False)
        # Celery reports an unknown id as "PENDING".
        return None if meta["status"] == "PENDING" else (meta["status"], meta["result"])

    def get_many(self, job_ids: Collection[str]) -> dict[str, StoredJob | None]:
        """Return the jobs of these ids; Redis is queried once, and unfinished jobs are left out without decoding."""
        backend, ids = self._backend, list(job_ids)
        if isinstance(backend, RedisBackend):
            metas = backend.client.mget([backend.get_key_for_task(job_id) for job_id in ids])
            ids = [job_id for job_id, meta in zip(ids, metas, strict=True) if not (meta or b"").startswith(_UNFINISHED)]
        return {job_id: self.get(job_id) for job_id in ids}

    def remove_reserved(self, job: PredictionJob) -> None:
        """Remove a reserved job, unless another process has reserved it since."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.eval(_DELETE, 1, backend.get_key_for_task(job.id), _encode_meta(job, RESERVED))
        else:
            backend.forget(job.id)

    def check(self) -> None:
        """Write a value, or raise the error of writing."""
        backend = self._backend
        if isinstance(backend, RedisBackend):
            backend.client.set(b"stargaze-readiness", b"1", ex=60)
        else:
            backend.store_result("readiness", {}, "CHECK")

    @cached_property
    def _backend(self) -> Any:
        """One for all threads: Celery would create one per thread, each with its own connections."""
        return self._app.backend


def _encode_meta(job: PredictionJob, status: str) -> bytes:
    """Encode a job as Celery's backends do."""
    meta: dict[str, Any] = {"status": status, "result": job.to_json()}
    meta |= {"traceback": None, "children": [], "task_id": job.id}
    return json.dumps(meta, separators=(",", ":")).encode()
