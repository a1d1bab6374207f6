"""Recent replies of GitHub on disk: shared by all workers, and kept when a worker restarts."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.runtime.sqlite import open_transaction

TABLES = (
    """CREATE TABLE IF NOT EXISTS replies (
        server TEXT, name TEXT, received_at REAL, reply TEXT, PRIMARY KEY (server, name)
    )""",
    "CREATE INDEX IF NOT EXISTS by_age ON replies (received_at)",
)
MAX_ROWS = 20_000
"""Of some 2 kB each; the oldest rows beyond are deleted."""
TIMEOUT = 0.5
"""How long to wait for another process; a request to GitHub takes about as long [s]."""
FAULTS = (sqlite3.Error, StargazeError, ValueError)
log = logging.getLogger(__name__)


class GithubCache:
    """JSON by repository name, of one server; a fault is logged and is a cache miss. The file may be deleted at any time."""

    def __init__(self, path: Path, server: str) -> None:
        self._path, self._server = path, server

    def load(self, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return the cached replies for these names."""
        if not names or not self._path.is_file():
            return {}
        placeholders = ", ".join("?" * len(names))
        try:
            with open_transaction(self._path, TIMEOUT) as db:
                rows = db.execute(
                    f"SELECT name, reply FROM replies WHERE server = ? AND name IN ({placeholders})",  # noqa: S608 # only "?"
                    (self._server, *names),
                ).fetchall()
            return {name: json.loads(reply) for name, reply in rows}
        except FAULTS as error:
            log.warning("%s: cannot be read: %s", self._path, error)
            return {}

    def save(self, replies: Mapping[str, Mapping[str, Any]], received_at: float) -> None:
        """Store replies that were received at this time [s since 1970]."""
        try:
            with open_transaction(self._path, TIMEOUT, TABLES) as db:
                rows = [(self._server, name, received_at, json.dumps(reply)) for name, reply in replies.items()]
                db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", rows)
                db.execute(
                    "DELETE FROM replies WHERE received_at <"
                    " (SELECT received_at FROM replies ORDER BY received_at DESC LIMIT 1 OFFSET ?)",
                    (MAX_ROWS,),
                )
        except FAULTS as error:
            log.warning("%s: cannot be written: %s", self._path, error)
