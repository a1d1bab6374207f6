"""Every answer that was paid for, on disk before the next is asked: one SQLite file below the store.

A gather that was stopped is walked again from its beginning; what is here is answered from here. Pages belong to a
gather (what was asked for) and its generation (``--update`` begins a new one). What was asked about a single repository
belongs to the repository of a server and its state, so that every gather can use it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stargaze.artifacts import outside_disk
from stargaze.errors import OutsideError

LAYOUT = 2
"""Of the tables below; raise it with every change that an older file does not have."""
TABLES = """
CREATE TABLE IF NOT EXISTS pages (gather TEXT, ask TEXT, at INTEGER, etag TEXT, body BLOB, PRIMARY KEY (gather, ask));
CREATE TABLE IF NOT EXISTS details (
    server TEXT, id INTEGER, kind TEXT, stamp TEXT, at INTEGER, body TEXT, PRIMARY KEY (server, id, kind)
);
CREATE TABLE IF NOT EXISTS gathers (digest TEXT PRIMARY KEY, generation INTEGER, began INTEGER, done INTEGER);
"""
CHUNK = 500
"""Repositories looked up in one statement; SQLite takes at least 999 values."""
FORESEEN = timedelta(hours=1)
"""Counts that a plan asked for serve a gather that begins within this time."""
ABANDONED = timedelta(days=7)
"""A gather that was left unfinished for so long is begun anew by ``--update``, not gone on with."""


@dataclass(frozen=True)
class Kept:
    """One stored page: when GitHub answered it, its mark, and the JSON."""

    at: datetime
    etag: str
    body: bytes

    @property
    def data(self) -> Any:
        """The page, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Gather:
    """One run towards one aim: what stays the same however often it is stopped."""

    digest: str
    generation: int
    began: datetime
    done: bool

    @property
    def key(self) -> str:
        """What its pages are filed under."""
        return f"{self.digest}.{self.generation}"


class Spool:
    """The file; use :func:`opened`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, server: str) -> None:
        self._db = connection
        self._path = path
        self._server = server

    def begin(self, digest: str, now: Callable[[], datetime], *, update: bool) -> Gather:
        """Return the gather to go on with, or a new one; ``update`` begins a new generation after one that was done.

        ``now`` is asked only for a new one, and for an update.
        """
        known = self._gather(digest)
        if known and not (update and (known.done or now() - known.began > ABANDONED)):
            return known
        new = Gather(digest, known.generation + 1 if known else 1, _whole(now()), done=False)
        with self._writing():
            old = int((new.began - FORESEEN).timestamp())
            self._db.execute("DELETE FROM pages WHERE gather = ? AND at < ?", (new.key, old))
            values = (digest, new.generation, int(new.began.timestamp()), 0)
            self._db.execute("INSERT OR REPLACE INTO gathers VALUES (?, ?, ?, ?)", values)
        return new

    def foresee(self, digest: str, now: Callable[[], datetime], *, update: bool) -> Gather:
        """Return what :meth:`begin` would, and begin nothing."""
        known = self._gather(digest)
        if known and not (update and known.done):
            return known
        return Gather(digest, known.generation + 1 if known else 1, _whole(now()), done=False)

    def forget(self, gather: Gather) -> None:
        """Drop a gather that found nothing: the next is a new one."""
        with self._writing():
            self._db.execute("DELETE FROM pages WHERE gather LIKE ?", (f"{gather.digest}.%",))
            self._db.execute("DELETE FROM gathers WHERE digest = ?", (gather.digest,))

    def finish(self, gather: Gather) -> None:
        """Mark it as done, and drop the generations that nobody needs any more."""
        old = [f"{gather.digest}.{number}" for number in range(1, gather.generation)]
        with self._writing():
            self._db.execute("UPDATE gathers SET done = 1 WHERE digest = ?", (gather.digest,))
            self._db.executemany("DELETE FROM pages WHERE gather = ?", [(key,) for key in old])

    def page(self, gather: Gather, ask: str) -> Kept | None:
        """Return a page that was answered in this generation."""
        return self._page(gather.key, ask)

    def page_before(self, gather: Gather, ask: str) -> Kept | None:
        """Return the same page of the generation before, to ask GitHub whether it still holds."""
        return self._page(f"{gather.digest}.{gather.generation - 1}", ask)

    def keep(self, gather: Gather, pages: Mapping[str, Kept]) -> None:
        """Put pages on the disk, all or none, for good: the call returns when they are there."""
        values = [
            (gather.key, ask, int(page.at.timestamp()), page.etag, zlib.compress(page.body))
            for ask, page in pages.items()
        ]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", values)

    def asks(self, gather: Gather) -> list[str]:
        """List what was answered in this generation, in the order in which it came."""
        rows = self._db.execute("SELECT ask FROM pages WHERE gather = ? ORDER BY rowid", (gather.key,))
        return [ask for (ask,) in rows]

    def latest(self, gather: Gather) -> datetime:
        """Return when GitHub answered last, by its own clock."""
        (second,) = self._db.execute("SELECT max(at) FROM pages WHERE gather = ?", (gather.key,)).fetchone()
        return gather.began if second is None else _moment(second)

    def keep_details(self, kind: str, rows: Iterable[tuple[int, str, dict[str, Any]]], at: datetime) -> None:
        """Put what was learned of repositories on the disk: number, state they were in, fields."""
        second = int(at.timestamp())
        values = [(self._server, number, kind, stamp, second, json.dumps(fields)) for number, stamp, fields in rows]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?, ?, ?)", values)

    def stamps(self, kind: str, since: datetime | None = None) -> dict[int, str]:
        """Return of every repository the state in which this kind was learned, ``since`` then."""
        values = (self._server, kind, int(since.timestamp()) if since else 0)
        rows = self._db.execute("SELECT id, stamp FROM details WHERE server = ? AND kind = ? AND at >= ?", values)
        return dict(rows.fetchall())

    def details(self, kinds: Sequence[str], stamps: Mapping[int, str]) -> dict[int, dict[str, Any]]:
        """Return what is known of repositories in these states: all kinds together, the later of them over the earlier."""
        found: dict[int, dict[str, Any]] = {}
        ids = list(stamps)
        for kind, start in itertools.product(kinds, range(0, len(ids), CHUNK)):
            some = ids[start : start + CHUNK]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT id, stamp, body FROM details WHERE server = ? AND kind = ? AND id IN ({marks})",  # noqa: S608 # marks only
                (self._server, kind, *some),
            )
            for number, stamp, body in rows:
                if stamp == stamps[number]:
                    found.setdefault(number, {}).update(json.loads(body))
        return found

    def _gather(self, digest: str) -> Gather | None:
        row = self._db.execute("SELECT generation, began, done FROM gathers WHERE digest = ?", (digest,)).fetchone()
        return Gather(digest, row[0], _moment(row[1]), bool(row[2])) if row else None

    def _page(self, key: str, ask: str) -> Kept | None:
        row = self._db.execute("SELECT at, etag, body FROM pages WHERE gather = ? AND ask = ?", (key, ask)).fetchone()
        return Kept(_moment(row[0]), row[1], zlib.decompress(row[2])) if row else None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write in one transaction, whole or not at all."""
        with _readable(self._path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield


@contextlib.contextmanager
def opened(path: Path, server: str) -> Iterator[Spool]:
    """Open the file, or make it; ``server`` is the address of the API whose repositories they are.

    Raises
    ------
    OutsideError
        If it is of another layout, broken, or the disk does not take it.
    """
    with outside_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _readable(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        if layout == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise OutsideError(f"{path} is a database of something else", hint=f"move it away (mv {path} {path}.old)")
        if layout not in (0, LAYOUT):
            raise OutsideError(
                f"{path} is of layout {layout}, made by {'a newer' if layout > LAYOUT else 'an older'} stargaze; "
                f"this one reads {LAYOUT}",
                hint=f"use that version, or move the file away (mv {path} {path}.old) to ask GitHub anew",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        yield Spool(connection, path, server)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one clear line."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise OutsideError(
                f"{path}: the disk is full or fails; every page before is kept",
                hint=f"free some space, then the same command goes on; df -h {path.parent}",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise OutsideError(f"{path}: {text}", hint="point store.path to a folder that you own") from error
        raise OutsideError(
            f"{path}: cannot be read: {text}", hint=f"move it away (mv {path} {path}.old) to ask GitHub anew"
        ) from error


def _whole(moment: datetime) -> datetime:
    """Cut off what the file does not keep."""
    return moment.replace(microsecond=0)


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=UTC)
