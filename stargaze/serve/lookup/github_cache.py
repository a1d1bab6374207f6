"""What the processes of a machine share about GitHub, in one SQLite file: replies, and how much of each rate limit is left."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.system.sqlite import open_transaction

TABLES = (
    """CREATE TABLE IF NOT EXISTS replies (
        server TEXT, name TEXT, received_at REAL, reply TEXT, PRIMARY KEY (server, name)
    )""",
    "CREATE INDEX IF NOT EXISTS by_age ON replies (received_at)",
    """CREATE TABLE IF NOT EXISTS rate_limits (
        server TEXT, resource TEXT, remaining INTEGER, until REAL, PRIMARY KEY (server, resource)
    )""",
)
MAX_ROWS = 20_000
"""Maximum number of replies, of some 2 kB each; the oldest ones are deleted."""
LOCK_TIMEOUT = 0.5
"""Timeout for locks of other processes [s]; a request to GitHub takes about as long."""
SAME_WINDOW = 10.0
"""Ends of a rate limit's window that differ by less are the same one [s]: clocks and rounding differ."""
FAULTS = (sqlite3.Error, StargazeError, ValueError)
log = logging.getLogger(__name__)


class GithubCache:
    """Replies as JSON by key, of one server; a fault is logged and is a cache miss. The file may be deleted at any time."""

    def __init__(self, path: Path, server: str) -> None:
        self._path, self._server = path, server

    def load(self, keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return the cached replies for these keys."""
        if not keys or not self._path.is_file():
            return {}
        placeholders, replies = ", ".join("?" * len(keys)), dict[str, Mapping[str, Any]]()
        with _logged_faults(self._path, "read"), open_transaction(self._path, LOCK_TIMEOUT) as db:
            rows = db.execute(
                f"SELECT name, reply FROM replies WHERE server = ? AND name IN ({placeholders})",  # noqa: S608 # only "?"
                (self._server, *keys),
            ).fetchall()
            replies |= {key: json.loads(reply) for key, reply in rows}
        return replies

    def save(self, replies: Mapping[str, Mapping[str, Any]], received_at: float) -> None:
        """Store replies that were received at this time [s since 1970]."""
        with _logged_faults(self._path, "written"), open_transaction(self._path, LOCK_TIMEOUT, TABLES) as db:
            rows = [(self._server, key, received_at, json.dumps(reply)) for key, reply in replies.items()]
            db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", rows)
            db.execute(
                "DELETE FROM replies WHERE received_at <"
                " (SELECT received_at FROM replies ORDER BY received_at DESC LIMIT 1 OFFSET ?)",
                (MAX_ROWS,),
            )

    def delete(self, exclusions: Exclusions) -> None:
        """Delete the replies about repositories that must not be recorded, also under former names, of all servers."""
        if not self._path.is_file() or exclusions == NO_EXCLUSIONS:
            return
        with _logged_faults(self._path, "written"), open_transaction(self._path, LOCK_TIMEOUT, TABLES) as db:
            rows = db.execute(
                "SELECT rowid, name, json_extract(reply, '$.value.record.full_name') FROM replies WHERE json_valid(reply)"
            ).fetchall()
            excluded = [
                (row,) for row, key, name in rows if any(map(exclusions.match, (key.rpartition(" ")[2], name or "")))
            ]
            db.executemany("DELETE FROM replies WHERE rowid = ?", excluded)


class SharedRateLimit:
    """GitHub's rate limits of one server, as the last responses to any process of this machine stated them.

    Without a token the limits count per address, so all processes share them. A fault is logged, and the request is allowed:
    GitHub then refuses it itself.
    """

    def __init__(self, path: Path, server: str, *, counts_unchanged: bool) -> None:
        self._path, self._server = path, server
        self._counts_unchanged = counts_unchanged

    def take(
        self, resource: str, reserve: int, now: float, default: tuple[int, float] | None = None, cost: int = 1
    ) -> float:
        """Take one request if more than ``reserve`` remain; return 0, or when the window ends [s since 1970].

        ``default`` is limit and window [s] as long as no response has stated them. A cost of 0 takes nothing.
        """
        key = (self._server, resource)
        with _logged_faults(self._path, "written"), open_transaction(self._path, LOCK_TIMEOUT, TABLES) as db:
            row = self._read(db, resource, now)
            if row is None and default:
                db.execute(
                    "INSERT OR REPLACE INTO rate_limits VALUES (?, ?, ?, ?)", (*key, default[0] - 1, now + default[1])
                )
            elif row is not None:
                remaining, until = row
                if remaining <= reserve:
                    return until
                db.execute(
                    "UPDATE rate_limits SET remaining = remaining - ? WHERE server = ? AND resource = ?", (cost, *key)
                )
        return 0.0

    def update(self, resource: str, remaining: int, until: float, now: float) -> None:
        """Store what a response stated; responses may arrive in another order than their requests."""
        with _logged_faults(self._path, "written"), open_transaction(self._path, LOCK_TIMEOUT, TABLES) as db:
            before = self._read(db, resource, now)
            if before is not None and until < before[1] - SAME_WINDOW:
                return
            if before is not None and self._counts_unchanged and until < before[1] + SAME_WINDOW:
                remaining = min(remaining, before[0])  # requests that were taken meanwhile
            db.execute(
                "INSERT OR REPLACE INTO rate_limits VALUES (?, ?, ?, ?)", (self._server, resource, remaining, until)
            )

    def _read(self, db: sqlite3.Connection, resource: str, now: float) -> tuple[int, float] | None:
        """Return what remains, and the end of the window [s since 1970]; None if no window is open."""
        row = db.execute(
            "SELECT remaining, until FROM rate_limits WHERE server = ? AND resource = ? AND until > ?",
            (self._server, resource, now),
        ).fetchone()
        return None if row is None else (int(row[0]), float(row[1]))


@contextlib.contextmanager
def _logged_faults(path: Path, action: str) -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        log.warning("%s: cannot be %s: %s", path, action, error)
