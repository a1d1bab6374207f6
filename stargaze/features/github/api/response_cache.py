"""Every answer that was paid for, on disk before the next is asked: one SQLite file below the store.

A gather that was stopped is walked again from its beginning; what is here is answered from here. Pages of a search belong
to a gather (what was asked for) and its generation (``--update`` begins a new one). What was asked about a single
repository or owner belongs to the server, so that every gather can use what is not older than itself, and details to the
repository's state as well.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError
from stargaze.system.files import convert_disk_errors

LAYOUT = 2
"""Of the tables below; raise it with every change that an older file does not have."""
TABLES = """
CREATE TABLE IF NOT EXISTS pages (gather TEXT, ask TEXT, at INTEGER, etag TEXT, body BLOB, PRIMARY KEY (gather, ask));
CREATE TABLE IF NOT EXISTS details (
    server TEXT, id INTEGER, kind TEXT, stamp TEXT, at INTEGER, body TEXT, PRIMARY KEY (server, id, kind)
);
CREATE TABLE IF NOT EXISTS gathers (
    digest TEXT, generation INTEGER, began INTEGER, done INTEGER, PRIMARY KEY (digest, generation)
);
"""
CHUNK = 500
"""Repositories looked up in one statement; SQLite takes at least 999 values."""
FORESEEN = timedelta(hours=1)
"""Counts that a plan asked for serve a gather that begins within this time."""
SHARED = timedelta(days=1)
"""A gather that is no update takes what another asked about a repository so long before it began."""
SEARCH = "search "
"""How the names of pages begin that belong to one gather."""
ABANDONED = timedelta(days=7)
"""A gather that was left unfinished for so long is begun anew by ``--update``, not gone on with."""


@dataclass(frozen=True)
class CachedResponse:
    """One stored page: when GitHub answered it, its mark, and the JSON."""

    at: datetime
    etag: str
    body: bytes

    @property
    def data(self) -> Any:
        """The page, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True)
class CrawlRun:
    """One run towards one aim: what stays the same however often it is stopped."""

    digest: str
    generation: int
    began: datetime
    done: bool

    @property
    def key(self) -> str:
        """What its pages are filed under."""
        return f"{self.digest}.{self.generation}"


class ResponseCache:
    """The file; use :func:`opened`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, server: str) -> None:
        self._db = connection
        self._path = path
        self._server = server

    def begin(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return the gather to go on with, or a new one; ``update`` begins a new generation after one that was done.

        ``now`` is asked only for a new one, and for an update.
        """
        gather, is_new = self._due(digest, now, update=update)
        if is_new:
            with self._writing():
                values = (digest, gather.generation, int(gather.began.timestamp()), 0)
                self._db.execute("INSERT INTO gathers VALUES (?, ?, ?, ?)", values)
        return gather

    def foresee(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return what :meth:`begin` would, and begin nothing."""
        return self._due(digest, now, update=update)[0]

    def forget(self, gather: CrawlRun, asks: Iterable[str]) -> None:
        """Drop a gather that found nothing, and these pages that it shares with others: the next is a new one."""
        with self._writing():
            self._db.execute("DELETE FROM pages WHERE gather = ?", (gather.key,))
            self._db.executemany(
                "DELETE FROM pages WHERE gather = ? AND ask = ?", [(self._server, ask) for ask in asks]
            )
            self._db.execute(
                "DELETE FROM gathers WHERE digest = ? AND generation = ?", (gather.digest, gather.generation)
            )

    def finish(self, gather: CrawlRun) -> None:
        """Mark it as done, and drop the generations that nobody needs any more."""
        values = (gather.digest, gather.generation)
        old = [f"{gather.digest}.{number}" for number in range(1, gather.generation)]
        with self._writing():
            self._db.execute("UPDATE gathers SET done = 1 WHERE digest = ? AND generation = ?", values)
            self._db.execute("DELETE FROM gathers WHERE digest = ? AND generation < ?", values)
            self._db.executemany("DELETE FROM pages WHERE gather = ?", [(key,) for key in old])

    def page(self, gather: CrawlRun, ask: str) -> CachedResponse | None:
        """Return a page that was answered in this generation, or by another gather in its time."""
        kept = self._page(self._key(gather, ask), ask)
        return kept if kept and (ask.startswith(SEARCH) or kept.at >= self._since(gather)) else None

    def page_before(self, gather: CrawlRun, ask: str) -> CachedResponse | None:
        """Return the same page of an earlier time, to ask GitHub whether it still holds."""
        before = replace(gather, generation=gather.generation - 1)
        return self._page(self._key(before, ask), ask)

    def keep(self, gather: CrawlRun, pages: Mapping[str, CachedResponse]) -> None:
        """Put pages on the disk, all or none, for good: the call returns when they are there."""
        values = [
            (self._key(gather, ask), ask, int(page.at.timestamp()), page.etag, zlib.compress(page.body))
            for ask, page in pages.items()
        ]
        with self._writing():
            self._db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", values)

    def searched(self, gather: CrawlRun) -> int:
        """Count the pages of its search that were answered in this generation."""
        (count,) = self._db.execute("SELECT count(*) FROM pages WHERE gather = ?", (gather.key,)).fetchone()
        return int(count)

    def shared(self, gather: CrawlRun, begin: str) -> int:
        """Count the pages of repositories whose names begin so and that this gather can use."""
        since = int(self._since(gather).timestamp())
        values = (self._server, len(begin), begin, since)
        count = "SELECT count(*) FROM pages WHERE gather = ? AND substr(ask, 1, ?) = ? AND at >= ?"
        return int(self._db.execute(count, values).fetchone()[0])

    def latest(self, gather: CrawlRun) -> datetime:
        """Return when GitHub answered last, by its own clock."""
        keys = (gather.key, self._server)
        (second,) = self._db.execute("SELECT max(at) FROM pages WHERE gather IN (?, ?)", keys).fetchone()
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

    def _due(self, digest: str, now: Callable[[], datetime], *, update: bool) -> tuple[CrawlRun, bool]:
        """Return the gather to go on with, or a new one, and which of it; what was foreseen for it long ago is dropped."""
        row = self._db.execute(
            "SELECT generation, began, done FROM gathers WHERE digest = ? ORDER BY generation DESC", (digest,)
        ).fetchone()
        known = CrawlRun(digest, row[0], _moment(row[1]), bool(row[2])) if row else None
        if known and not (update and (known.done or now() - known.began > ABANDONED)):
            return known, False
        new = CrawlRun(digest, known.generation + 1 if known else 1, now().replace(microsecond=0), done=False)
        old = int((new.began - FORESEEN).timestamp())
        with self._writing():
            self._db.execute("DELETE FROM pages WHERE gather = ? AND at < ?", (new.key, old))
        return new, True

    def _since(self, gather: CrawlRun) -> datetime:
        """Return from when on an answer about a repository serves this gather."""
        return gather.began - (SHARED if gather.generation == 1 else timedelta())

    def _key(self, gather: CrawlRun, ask: str) -> str:
        """Return what a page is filed under: the gather, or the server."""
        return gather.key if ask.startswith(SEARCH) else self._server

    def _page(self, key: str, ask: str) -> CachedResponse | None:
        row = self._db.execute("SELECT at, etag, body FROM pages WHERE gather = ? AND ask = ?", (key, ask)).fetchone()
        return CachedResponse(_moment(row[0]), row[1], zlib.decompress(row[2])) if row else None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Write in one transaction, whole or not at all."""
        with _readable(self._path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield


@contextlib.contextmanager
def opened(path: Path, server: str) -> Iterator[ResponseCache]:
    """Open the file, or make it; ``server`` is the address of the API whose repositories they are.

    Raises
    ------
    ExternalError
        If it is of another layout, broken, or the disk does not take it.
    """
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _readable(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        if layout == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise ExternalError(f"{path} is a database of something else", hint=f"move it away (mv {path} {path}.old)")
        if layout not in (0, LAYOUT):
            raise ExternalError(
                f"{path} is of layout {layout}, made by {'a newer' if layout > LAYOUT else 'an older'} stargaze; "
                f"this one reads {LAYOUT}",
                hint=f"use that version, or move the file away (mv {path} {path}.old) to ask GitHub anew",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
        yield ResponseCache(connection, path, server)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one clear line."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise ExternalError(
                f"{path}: the disk is full or fails; every page before is kept",
                hint=f"free some space, then the same command goes on; df -h {path.parent}",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise ExternalError(f"{path}: {text}", hint="point store.path to a folder that you own") from error
        raise ExternalError(
            f"{path}: cannot be read: {text}", hint=f"move it away (mv {path} {path}.old) to ask GitHub anew"
        ) from error


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, tz=UTC)
