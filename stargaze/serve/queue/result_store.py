"""Jobs in the result store, with one round trip to Redis or one transaction; Celery's own results are disabled.

A job is stored as JSON, which is all that is read: what anybody else wrote into the store is a failed job.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from stargaze.serve.prediction_request import DONE, QUEUED, RESERVED, RUNNING, PredictionJob
from stargaze.serve.queue.backends import RESULT_STORE, RESULT_STORE_OPTIONS
from stargaze.system.sqlite import SqlitePool

StoredJob = tuple[str, Any]
"""Status and content of a job."""
BUSY_TIMEOUT = 3.0
"""How long a writer of SQLite waits for another [s]."""
_UNFINISHED = tuple(f'{{"status":"{status}",' for status in (RESERVED, QUEUED, RUNNING))
"""Prefixes of unfinished jobs, as :func:`_encode` writes them."""
_ADD = """
    local existing = redis.call("get", KEYS[1])
    if not existing then redis.call("set", KEYS[1], ARGV[1], "ex", ARGV[2]) end
    return existing
"""
_REPLACE = 'if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("set", KEYS[1], ARGV[2], "ex", ARGV[3]) end'
_DELETE = 'if redis.call("get", KEYS[1]) == ARGV[1] then redis.call("del", KEYS[1]) end'
_TABLE = "CREATE TABLE jobs (id TEXT PRIMARY KEY, job TEXT NOT NULL, stored_at REAL NOT NULL)"
_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"
log = logging.getLogger(__name__)
_to_text = partial(str, encoding="utf-8", errors="replace")


class ResultStore:
    """The result store that the app's settings name."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def save(self, jobs: Sequence[PredictionJob], status: str) -> None:
        """Store jobs with a status; existing ones are overwritten."""
        self._texts.put({job.id: _encode_job(job, status) for job in jobs})

    def add(self, job: PredictionJob, status: str) -> StoredJob | None:
        """Store a job unless its id exists; return the existing one, None if it was stored."""
        return _decode(job.id, self._texts.add(job.id, _encode_job(job, status)))

    def replace(self, job_id: str, old: StoredJob, new: PredictionJob) -> bool:
        """Replace a job that is still stored as ``old`` by a finished one; return whether it was."""
        return self._texts.replace(job_id, _encode(job_id, *old), _encode_job(new, DONE))

    def mark_queued(self, job: PredictionJob) -> None:
        """Change the status of a reserved job to queued; one that a worker has started is not changed."""
        self._texts.replace(job.id, _encode_job(job, RESERVED), _encode_job(job, QUEUED))

    def remove_reserved(self, job: PredictionJob) -> None:
        """Remove a reserved job, unless another process has reserved it since."""
        self._texts.remove(job.id, _encode_job(job, RESERVED))

    def get(self, job_id: str) -> StoredJob | None:
        """Return a stored job; None if the id is unknown."""
        return self.get_many([job_id], with_unfinished=True)[job_id]

    def get_many(self, job_ids: Collection[str], *, with_unfinished: bool = False) -> dict[str, StoredJob | None]:
        """Return the jobs of these ids with one query, None for unknown ids; unfinished jobs are left out without decoding."""
        texts = self._texts.get(list(job_ids)) if job_ids else {}
        return {
            job_id: _decode(job_id, text)
            for job_id, text in texts.items()
            if with_unfinished or not (text or "").startswith(_UNFINISHED)
        }

    def check(self) -> None:
        """Write a value, or raise the error of writing."""
        self._texts.check()

    def warm_up(self, connections: int) -> None:
        """Open so many connections to Redis, or one to SQLite."""
        self._texts.warm_up(connections)

    def cleanup(self) -> None:
        """Remove expired jobs; Redis does that itself."""
        self._texts.cleanup()

    @cached_property
    def _texts(self) -> _RedisTexts | _SqliteTexts:
        location = self._app.conf[RESULT_STORE]
        if isinstance(location, Path):
            return _SqliteTexts(location, self._app.conf.result_expires)
        pool = redis.BlockingConnectionPool.from_url(location, **self._app.conf[RESULT_STORE_OPTIONS])
        return _RedisTexts(redis.Redis(connection_pool=pool), self._app.conf.result_expires)


class _RedisTexts:
    """Texts by id, which expire some time after they were written; one client for all threads."""

    def __init__(self, client: Any, ttl: float) -> None:
        self._client, self._ttl = client, int(ttl)

    def put(self, texts: Mapping[str, str]) -> None:
        with self._client.pipeline(transaction=False) as pipe:
            for key, text in texts.items():
                pipe.set(_redis_key(key), text, ex=self._ttl)
            pipe.execute()

    def add(self, key: str, text: str) -> str | None:
        existing = self._client.eval(_ADD, 1, _redis_key(key), text, self._ttl)
        return existing if existing is None else _to_text(existing)

    def replace(self, key: str, old: str, new: str) -> bool:
        return bool(self._client.eval(_REPLACE, 1, _redis_key(key), old, new, self._ttl))

    def remove(self, key: str, old: str) -> None:
        self._client.eval(_DELETE, 1, _redis_key(key), old)

    def get(self, keys: Sequence[str]) -> Mapping[str, str | None]:
        texts = self._client.mget([_redis_key(key) for key in keys])
        return {key: text if text is None else _to_text(text) for key, text in zip(keys, texts, strict=True)}

    def check(self) -> None:
        self._client.set(b"stargaze-readiness", b"1", ex=60)

    def warm_up(self, connections: int) -> None:
        pool, opened = self._client.connection_pool, list[Any]()
        try:
            for _ in range(connections):
                opened.append(pool.get_connection())  # which connects
        finally:
            for connection in opened:
                pool.release(connection)

    def cleanup(self) -> None:
        """Do nothing."""


class _SqliteTexts(SqlitePool):
    """The same in one SQLite file."""

    def __init__(self, path: Path, ttl: float) -> None:
        super().__init__(path, BUSY_TIMEOUT, statements=("BEGIN IMMEDIATE", _OBJECTS))
        self._ttl = ttl

    def put(self, texts: Mapping[str, str]) -> None:
        rows = [(key, text, time.time()) for key, text in texts.items()]
        self._run(lambda db: db.executemany("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)", rows))

    def add(self, key: str, text: str) -> str | None:
        existing = self.get([key])[key]
        if existing is None and not self._write("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?)", key, text, time.time()):
            existing = self.get([key])[key]  # another process was faster
        return existing

    def replace(self, key: str, old: str, new: str) -> bool:
        return self._write(
            "UPDATE jobs SET job = ?, stored_at = ? WHERE id = ? AND job = ?", new, time.time(), key, old
        )

    def remove(self, key: str, old: str) -> None:
        self._write("DELETE FROM jobs WHERE id = ? AND job = ?", key, old)

    def get(self, keys: Sequence[str]) -> Mapping[str, str | None]:
        query = "SELECT id, iif(typeof(job) = 'text', job, '') FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        rows = self._run(lambda db: db.execute(query, [json.dumps(keys)]).fetchall())
        return dict.fromkeys(keys) | dict(rows)

    def check(self) -> None:
        self.put({"readiness": ""})

    def warm_up(self, connections: int) -> None:
        self.check()

    def cleanup(self) -> None:
        self._write("DELETE FROM jobs WHERE stored_at < ?", time.time() - self._ttl)

    def _write(self, statement: str, *values: str | float) -> bool:
        return self._run(lambda db: db.execute(statement, values).rowcount > 0)

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.text_factory = _to_text
        self._create_table(db)

    def _create_table(self, db: sqlite3.Connection) -> None:
        """Create the table, and drop all else unread: tables of Celery, which contained pickles, and what somebody else wrote."""
        for kind, name, sql in db.execute(_OBJECTS).fetchall():
            if sql != _TABLE:
                log.warning("%s: the %s %s is not of this version, and is removed", self._path.name, kind, name)
                quoted = name.replace('"', '""')
                db.execute(f'DROP {kind} IF EXISTS "{quoted}"')
        db.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))


def _redis_key(job_id: str) -> str:
    return f"celery-task-meta-{job_id}"  # Celery's name, as earlier versions used it


def _encode_job(job: PredictionJob, status: str) -> str:
    return _encode(job.id, status, job.to_json())


def _encode(job_id: str, status: str, content: Any) -> str:
    return json.dumps({"status": status, "result": content, "task_id": job_id}, separators=(",", ":"))


def _decode(job_id: str, text: str | None) -> StoredJob | None:
    """Return the job that :func:`_encode` wrote. Another text is that of a failed job, so that its request can be sent again."""
    if text is None:
        return None
    with contextlib.suppress(KeyError, TypeError, ValueError, RecursionError):
        value = json.loads(text)
        status, content = value["status"], value["result"]
        # An unfinished job is replaced only by comparing the text with what is encoded again.
        if status == DONE or (status in (RESERVED, QUEUED, RUNNING) and _encode(job_id, status, content) == text):
            return status, content
    log.warning("the result store contains no valid job %s: it has failed", job_id)
    return DONE, None
