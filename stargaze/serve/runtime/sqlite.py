"""Transactions on a SQLite file that several processes write."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stargaze.system.files import convert_disk_errors

RETRY_DELAY = 0.01
"""Time between two attempts to open [s]."""


@contextlib.contextmanager
def open_transaction(path: Path, timeout: float, tables: Sequence[str] = ()) -> Iterator[sqlite3.Connection]:
    """Give a connection inside one transaction, committed if the block succeeds; it is closed then, so processes may fork.

    ``timeout`` [s] is for locks of other processes. ``tables`` are statements that create missing tables; without them the
    block may only read. A lock that is held for longer, or a file that is not a database, is a sqlite3.Error.
    """
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_begin_transaction(path, timeout, tables)) as db:
        yield db
        db.execute("COMMIT")


def _begin_transaction(path: Path, timeout: float, tables: Sequence[str]) -> sqlite3.Connection:
    """Open and begin; retries itself because SQLite's timeout does not cover the change to WAL and the last process's exit."""
    begin = ("BEGIN IMMEDIATE", *tables) if tables else ("BEGIN", "PRAGMA schema_version")  # which takes the snapshot
    deadline = time.monotonic() + timeout
    while True:
        db = sqlite3.connect(path, timeout=timeout, isolation_level=None)
        try:
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *begin):
                db.execute(statement)
        except sqlite3.Error as error:
            db.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_DELAY)
        else:
            return db
