"""A SQLite file that all processes of the page write: opened for one transaction, and waited for where it is taken."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stargaze.system.files import convert_disk_errors

PAUSE = 0.01
"""Between two tries to open [s]."""


@contextlib.contextmanager
def open_transaction(path: Path, patience: float, tables: Sequence[str] = ()) -> Iterator[sqlite3.Connection]:
    """Give a connection inside one transaction, committed if the block ends well; it lives no longer, so processes may fork.

    Parameters
    ----------
    path : Path
        Made where it is missing, its folder too.
    patience : float
        How long another process is waited for [s].
    tables : sequence of str
        Statements that make what is missing in it; without them the block may only read.

    Raises
    ------
    sqlite3.Error
        If another process holds the file for longer, or it is no database.
    StargazeError
        If the disk refuses.
    """
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_begun(path, patience, tables)) as db:
        yield db
        db.execute("COMMIT")


def _begun(path: Path, patience: float, tables: Sequence[str]) -> sqlite3.Connection:
    """Open and begin. SQLite's own wait leaves out two moments: the first change to WAL, and the last process's leaving."""
    begin = ("BEGIN IMMEDIATE", *tables) if tables else ("BEGIN", "PRAGMA schema_version")  # which takes the snapshot
    until = time.monotonic() + patience
    while True:
        db = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *begin):
                db.execute(statement)
        except sqlite3.Error as error:
            db.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(PAUSE)
        else:
            return db
