"""SQLite files that several processes share: private, and created again while in use if they are deleted or damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from stargaze.errors import StargazeError
from stargaze.system.files import convert_disk_errors, create_private_file
from stargaze.system.locks import file_lock

RETRY_DELAY = 0.01
"""Time between two attempts to open [s]."""
MODE = 0o600
"""SQLite gives its log and its index the mode of the database."""
SIDECARS = ("-wal", "-shm", "-journal")
MAX_IDLE = 4
"""A process keeps so many connections to a file open."""
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
log = logging.getLogger(__name__)

FileIds = tuple[int, ...]
Result = TypeVar("Result")


@contextlib.contextmanager
def open_transaction(path: Path, timeout: float, tables: Sequence[str] = ()) -> Iterator[sqlite3.Connection]:
    """Give a connection inside one transaction, committed if the block succeeds; it is closed then, so processes may fork.

    ``timeout`` [s] is for locks of other processes. ``tables`` are statements that create missing tables; without them the
    block may only read. A lock that is held for longer is a sqlite3.Error. A damaged file is moved aside: if that is noticed
    inside the block, its error is raised and the next transaction uses a new file.
    """
    begin = ("BEGIN IMMEDIATE", *tables) if tables else ("BEGIN", "PRAGMA schema_version")  # which takes the snapshot
    try:
        with contextlib.closing(connect_database(path, timeout, begin, isolation_level=None)) as db:
            yield db
            db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            move_damaged(path)
        raise


def connect_database(
    path: Path, timeout: float, statements: Sequence[str] = (), *, synchronous: str = "NORMAL", **options: object
) -> sqlite3.Connection:
    """Connect to a database, which is created if it is missing, and again if it is damaged; then run statements.

    Retries itself because SQLite's timeout does not cover the change to WAL and the last process's exit.
    """
    deadline = time.monotonic() + timeout
    while True:
        file = _prepare_file(path)
        db: sqlite3.Connection = sqlite3.connect(path, timeout=timeout, **options)  # type: ignore[call-overload]  # options of sqlite3
        try:
            for statement in ("PRAGMA journal_mode = WAL", f"PRAGMA synchronous = {synchronous}", *statements):
                db.execute(statement)
        except sqlite3.Error as error:
            db.close()
            code = _code(error) & 0xFF
            can_retry = code == sqlite3.SQLITE_BUSY
            if is_damage(error) or code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
                # Another process may have been first, also between the opening of the file and that of its log.
                can_retry = move_damaged(path) or is_damage(error) or file_ids(path)[0] != file
            if not can_retry or time.monotonic() >= deadline:
                raise
            time.sleep(RETRY_DELAY)
        else:
            return db


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error of SQLite says that the file is not a valid database, or that its log is too short."""
    return _code(error) & 0xFF in DAMAGE or _code(error) == sqlite3.SQLITE_IOERR_SHORT_READ


def move_damaged(path: Path) -> bool:
    """Move a damaged database and its log aside, if no other process did; return whether there is none in its place now."""
    with file_lock(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            return True
        if not _is_damaged(path):
            return False
        target = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
        with convert_disk_errors(path):
            # The log first: it must never be applied to a new database.
            for suffix in (*SIDECARS, ""):
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(target.with_name(target.name + suffix))
    log.warning("%s was damaged: it is now %s, and a new one is created", path, target.name)
    return True


def file_ids(path: Path) -> FileIds:
    """Return numbers that change when a database, its log or its index is deleted or replaced under an open connection."""
    name, ids = str(path), []
    for suffix in ("", "-wal", "-shm"):
        try:
            ids.append(os.stat(name + suffix).st_ino)  # noqa: PTH116 - three times faster, with every transaction
        except OSError:
            ids.append(0)
    return tuple(ids)


class SqlitePool(ABC):
    """A few open connections to one file for all threads of a process.

    The file may be deleted, replaced or damaged while processes use it.

    ``timeout`` [s] is for locks of other processes; ``statements`` are those of :func:`connect_database`.
    """

    def __init__(
        self, path: Path, timeout: float, *, statements: Sequence[str] = (), synchronous: str = "NORMAL"
    ) -> None:
        self._path, self._timeout, self._statements, self._synchronous = path, timeout, statements, synchronous
        self._idle: dict[int, list[tuple[sqlite3.Connection, FileIds]]] = {}
        """By process: after a fork the child must neither use nor close the connections of its parent."""

    @abstractmethod
    def _prepare(self, db: sqlite3.Connection) -> None:
        """Create the tables of a new connection, inside its first transaction."""

    def _run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run an action in one transaction; again in a new file if it notices that this one was damaged or emptied."""
        try:
            try:
                return self._try(action)
            except sqlite3.DatabaseError as error:
                if is_damage(error):
                    move_damaged(self._path)
                elif "no such table" not in str(error):
                    raise
                return self._try(action, is_retry=True)
        except StargazeError as error:  # of the disk: callers expect those of SQLite
            raise sqlite3.OperationalError(error.message) from error

    def _try(self, action: Callable[[sqlite3.Connection], Result], *, is_retry: bool = False) -> Result:
        idle = self._idle.setdefault(os.getpid(), [])
        db, files = self._take(idle, () if is_retry else file_ids(self._path))
        try:
            with db:
                result = action(db)
        except BaseException:
            db.close()
            raise
        if len(idle) < MAX_IDLE:
            idle.append((db, files))
        else:
            db.close()
        return result

    def _take(
        self, idle: list[tuple[sqlite3.Connection, FileIds]], present: FileIds
    ) -> tuple[sqlite3.Connection, FileIds]:
        """Return an idle connection to the present file, or a new one; close those to other files."""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                db, files = idle.pop()
                if files == present:
                    return db, files
                db.close()
        files = file_ids(self._path)
        with contextlib.ExitStack() as stack:
            while True:
                db = self._connect()
                before, files = files, file_ids(self._path)
                if files == before:  # so these are the files that it has opened
                    return db, files
                stack.callback(db.close)  # not yet: the last connection removes log and index

    def _connect(self) -> sqlite3.Connection:
        db = connect_database(
            self._path, self._timeout, self._statements, synchronous=self._synchronous, check_same_thread=False
        )
        try:
            with db:
                self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db


def _code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))


def _prepare_file(path: Path) -> int:
    """Create the file if it is missing; make it readable for its owner only. Return its number."""
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            move_damaged(path)
        with contextlib.suppress(FileNotFoundError):  # another process has just moved a damaged one aside
            return _create_file(path)
        return _create_file(path)


def _create_file(path: Path) -> int:
    if not path.exists():
        create_private_file(path)  # whose descriptor is closed by then: closing one releases SQLite's locks
    status = path.stat()
    if status.st_mode & 0o777 != MODE and status.st_uid == os.geteuid():
        path.chmod(MODE)
    return status.st_ino


def _is_damaged(path: Path) -> bool:
    for suffix in ("", *SIDECARS):
        with contextlib.suppress(FileNotFoundError):  # SQLite deletes its log and its journal
            if not stat.S_ISREG(path.with_name(path.name + suffix).stat().st_mode):
                return True  # a folder, a pipe
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1.0)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
    except sqlite3.Error as error:
        return is_damage(error)
