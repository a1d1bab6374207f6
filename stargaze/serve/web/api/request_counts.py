"""The counted requests of each client in its present time window: in SQLite on one machine, in Redis for several nodes."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stargaze.config import ServeSection
from stargaze.serve.queue.backends import N_CONNECTIONS
from stargaze.serve.runtime.settings import results_tls, results_url
from stargaze.store import Store
from stargaze.system.sqlite import SqlitePool

WINDOW = 60
"""It begins with the first counted request [s]."""
TIMEOUT = 0.5
"""After this time without an answer the counts are unavailable [s]."""
COUNT_ERRORS = (sqlite3.Error, redis.RedisError)
_TABLE = "CREATE TABLE IF NOT EXISTS counts (client TEXT PRIMARY KEY, used INTEGER, ends_at REAL) WITHOUT ROWID"
_COUNT = """
    INSERT INTO counts VALUES (:client, 1, :now + :window) ON CONFLICT (client) DO UPDATE SET
    used = iif(PRESENT, used + 1, 1), ends_at = iif(PRESENT, ends_at, :now + :window) RETURNING used, ends_at - :now
"""
_READ = "SELECT used, ends_at - :now FROM counts WHERE client = :client AND PRESENT"
_CLEAN = "DELETE FROM counts WHERE NOT (PRESENT)"
_PRESENT = "ends_at > :now AND ends_at < :now + 2 * :window"
"""Whether a window has not ended. None ends much later than a new one, unless the clock was set back."""
_COUNT_IN_REDIS = """
    local used = redis.call("incr", KEYS[1])
    if redis.call("ttl", KEYS[1]) < 0 then redis.call("expire", KEYS[1], ARGV[1]) end
    return {used, redis.call("ttl", KEYS[1])}
"""


@dataclass(frozen=True)
class Count:
    """Counted requests of the present window, and the time until it ends [s]."""

    used: int = 0
    ends_in: float = WINDOW


class RequestCounts(Protocol):
    """The counts of all processes; raises one of COUNT_ERRORS."""

    def count(self, client: str) -> Count:
        """Count one more request, and return the new count."""

    def read(self, client: str) -> Count:
        """Return the count as it is."""


class SqliteCounts(SqlitePool):
    """The counts in a file: one statement each, which is atomic, and no waiting for the disk."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path, TIMEOUT, synchronous="OFF")
        self._clock = clock
        self._turn = threading.Lock()
        self._next_cleanup = 0.0

    def count(self, client: str) -> Count:
        """Count one more request, and return the new count; expired ones are removed once per window."""
        if time.monotonic() >= self._next_cleanup:
            self._next_cleanup = time.monotonic() + WINDOW
            self._fetch(_CLEAN, "")
        return self._fetch(_COUNT, client)

    def read(self, client: str) -> Count:
        """Return the count as it is."""
        return self._fetch(_READ, client)

    def _fetch(self, statement: str, client: str) -> Count:
        values = {"client": client, "now": self._clock(), "window": WINDOW}
        # SQLite lets writers retry in no order: of many threads at once, one could wait until its timeout.
        if not self._turn.acquire(timeout=TIMEOUT):
            raise sqlite3.OperationalError("another thread waits for the file")
        try:
            rows = self._run(lambda db: db.execute(statement.replace("PRESENT", _PRESENT), values).fetchall())
        finally:
            self._turn.release()
        return Count(rows[0][0], min(rows[0][1], WINDOW)) if rows else Count()

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(_TABLE)


class OwnCounts:
    """The counts of this process alone, while those of all are unavailable."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}

    def count(self, client: str) -> Count:
        """Count one more request, and return the new count."""
        now = self._clock()
        with self._lock:
            if client not in self._counts:
                self._counts = {name: count for name, count in self._counts.items() if count[1] > now}
            used, ends_at = self._counts.get(client, (0, 0.0))
            used, ends_at = (used + 1, ends_at) if ends_at > now else (1, now + WINDOW)
            self._counts[client] = used, ends_at
        return Count(used, ends_at - now)


class RedisCounts:
    """The counts in Redis, one key for each client, which expires with its window."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=N_CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        self._client: Any = redis.Redis(connection_pool=pool)
        self._count = self._client.register_script(_COUNT_IN_REDIS)

    def count(self, client: str) -> Count:
        """Count one more request, and return the new count."""
        used, seconds = self._count([_redis_key(client)], [WINDOW])
        return Count(int(used), seconds)

    def read(self, client: str) -> Count:
        """Return the count as it is."""
        with self._client.pipeline(transaction=True) as pipe:
            used, seconds = pipe.get(_redis_key(client)).ttl(_redis_key(client)).execute()
        return Count(int(used), seconds) if used is not None else Count()


def open_request_counts(section: ServeSection, store: Store, environ: Mapping[str, str]) -> RequestCounts:
    """Return the counts where the results are: in Redis if the config names one, otherwise in the store."""
    if url := results_url(section, environ):
        return RedisCounts(url, results_tls(url, environ))
    return SqliteCounts(store.request_counts)


def _redis_key(client: str) -> str:
    return f"stargaze-requests-{client}"
