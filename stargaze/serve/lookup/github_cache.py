"""What GitHub said lately, on disk: shared by all workers, and still there when one begins anew."""

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
    "CREATE TABLE IF NOT EXISTS heard (server TEXT, name TEXT, at REAL, told TEXT, PRIMARY KEY (server, name))",
    "CREATE INDEX IF NOT EXISTS heard_at ON heard (at)",
)
MOST = 20_000
"""Repositories, some 2 kB each; of more the oldest go."""
PATIENCE = 0.5
"""How long another process is waited for: GitHub is asked sooner [s]."""
FAULTS = (sqlite3.Error, StargazeError, ValueError)
log = logging.getLogger(__name__)


class GithubCache:
    """Keeps JSON by name, of one server and one kind of visitor; a fault is logged, and then nothing was heard.

    Parameters
    ----------
    path : Path
        SQLite; it may be removed at any time.
    server : str
        What one server told does not hold for another.
    """

    def __init__(self, path: Path, server: str) -> None:
        self._path, self._server = path, server

    def recall(self, names: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Return what is kept of these names."""
        if not names or not self._path.is_file():
            return {}
        marks = ", ".join("?" * len(names))
        try:
            with open_transaction(self._path, PATIENCE) as db:
                rows = db.execute(
                    f"SELECT name, told FROM heard WHERE server = ? AND name IN ({marks})",  # noqa: S608 # only marks
                    (self._server, *names),
                ).fetchall()
            return {name: json.loads(told) for name, told in rows}
        except FAULTS as error:
            log.warning("%s: cannot be read: %s", self._path, error)
            return {}

    def keep(self, told: Mapping[str, Mapping[str, Any]], at: float) -> None:
        """Keep what was told at this moment [s since 1970]."""
        try:
            with open_transaction(self._path, PATIENCE, TABLES) as db:
                rows = [(self._server, name, at, json.dumps(one)) for name, one in told.items()]
                db.executemany("INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?)", rows)
                db.execute(
                    "DELETE FROM heard WHERE at < (SELECT at FROM heard ORDER BY at DESC LIMIT 1 OFFSET ?)", (MOST,)
                )
        except FAULTS as error:
            log.warning("%s: cannot be written: %s", self._path, error)
