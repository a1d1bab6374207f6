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
from stargaze.features.github.api.client import Client, Reply
from stargaze.system.files import convert_disk_errors

SCHEMA_VERSION = 2
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
PLAN_MAX_AGE = timedelta(hours=1)
"""Counts that a plan asked for serve a gather that begins within this time."""
SHARED_MAX_AGE = timedelta(days=1)
"""A gather that is no update takes what another asked about a repository so long before it began."""
SEARCH_PREFIX = "search "
"""How the names of pages begin that belong to one gather."""
ABANDONED_AFTER = timedelta(days=7)
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

    def start_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return the gather to go on with, or a new one; ``update`` begins a new generation after one that was done.

        ``now`` is asked only for a new one, and for an update.
        """
        run, is_new = self._find_run(digest, now, update=update)
        if is_new:
            with self._transaction():
                values = (digest, run.generation, int(run.began.timestamp()), 0)
                self._db.execute("INSERT INTO gathers VALUES (?, ?, ?, ?)", values)
        return run

    def plan_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return what :meth:`begin` would, and begin nothing."""
        return self._find_run(digest, now, update=update)[0]

    def delete_run(self, run: CrawlRun, keys: Iterable[str]) -> None:
        """Drop a gather that found nothing, and these pages that it shares with others: the next is a new one."""
        with self._transaction():
            self._db.execute("DELETE FROM pages WHERE gather = ?", (run.key,))
            self._db.executemany(
                "DELETE FROM pages WHERE gather = ? AND ask = ?", [(self._server, key) for key in keys]
            )
            self._db.execute("DELETE FROM gathers WHERE digest = ? AND generation = ?", (run.digest, run.generation))

    def finish_run(self, run: CrawlRun) -> None:
        """Mark it as done, and drop the generations that nobody needs any more."""
        values = (run.digest, run.generation)
        old = [f"{run.digest}.{number}" for number in range(1, run.generation)]
        with self._transaction():
            self._db.execute("UPDATE gathers SET done = 1 WHERE digest = ? AND generation = ?", values)
            self._db.execute("DELETE FROM gathers WHERE digest = ? AND generation < ?", values)
            self._db.executemany("DELETE FROM pages WHERE gather = ?", [(key,) for key in old])

    def get_page(self, run: CrawlRun, key: str) -> CachedResponse | None:
        """Return a page that was answered in this generation, or by another gather in its time."""
        page = self._read_page(self._scope(run, key), key)
        return page if page and (key.startswith(SEARCH_PREFIX) or page.at >= self._valid_since(run)) else None

    def get_previous(self, run: CrawlRun, key: str) -> CachedResponse | None:
        """Return the same page of an earlier time, to ask GitHub whether it still holds."""
        before = replace(run, generation=run.generation - 1)
        return self._read_page(self._scope(before, key), key)

    def store_pages(self, run: CrawlRun, pages: Mapping[str, CachedResponse]) -> None:
        """Put pages on the disk, all or none, for good: the call returns when they are there."""
        values = [
            (self._scope(run, key), key, int(page.at.timestamp()), page.etag, zlib.compress(page.body))
            for key, page in pages.items()
        ]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", values)

    def count_search_pages(self, run: CrawlRun) -> int:
        """Count the pages of its search that were answered in this generation."""
        (count,) = self._db.execute("SELECT count(*) FROM pages WHERE gather = ?", (run.key,)).fetchone()
        return int(count)

    def count_shared_pages(self, run: CrawlRun, prefix: str) -> int:
        """Count the pages of repositories whose names begin so and that this gather can use."""
        since = int(self._valid_since(run).timestamp())
        values = (self._server, len(prefix), prefix, since)
        count = "SELECT count(*) FROM pages WHERE gather = ? AND substr(ask, 1, ?) = ? AND at >= ?"
        return int(self._db.execute(count, values).fetchone()[0])

    def last_response_time(self, run: CrawlRun) -> datetime:
        """Return when GitHub answered last, by its own clock."""
        keys = (run.key, self._server)
        (timestamp,) = self._db.execute("SELECT max(at) FROM pages WHERE gather IN (?, ?)", keys).fetchone()
        return run.began if timestamp is None else _from_timestamp(timestamp)

    def store_details(self, kind: str, rows: Iterable[tuple[int, str, dict[str, Any]]], at: datetime) -> None:
        """Put what was learned of repositories on the disk: number, state they were in, fields."""
        timestamp = int(at.timestamp())
        values = [(self._server, number, kind, stamp, timestamp, json.dumps(fields)) for number, stamp, fields in rows]
        with self._transaction():
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
            chunk = ids[start : start + CHUNK]
            placeholders = ",".join("?" * len(chunk))
            rows = self._db.execute(
                f"SELECT id, stamp, body FROM details WHERE server = ? AND kind = ? AND id IN ({placeholders})",  # noqa: S608 # marks only
                (self._server, kind, *chunk),
            )
            for number, stamp, body in rows:
                if stamp == stamps[number]:
                    found.setdefault(number, {}).update(json.loads(body))
        return found

    def _find_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> tuple[CrawlRun, bool]:
        """Return the gather to go on with, or a new one, and which of it; what was foreseen for it long ago is dropped."""
        row = self._db.execute(
            "SELECT generation, began, done FROM gathers WHERE digest = ? ORDER BY generation DESC", (digest,)
        ).fetchone()
        latest = CrawlRun(digest, row[0], _from_timestamp(row[1]), bool(row[2])) if row else None
        if latest and not (update and (latest.done or now() - latest.began > ABANDONED_AFTER)):
            return latest, False
        new = CrawlRun(digest, latest.generation + 1 if latest else 1, now().replace(microsecond=0), done=False)
        old = int((new.began - PLAN_MAX_AGE).timestamp())
        with self._transaction():
            self._db.execute("DELETE FROM pages WHERE gather = ? AND at < ?", (new.key, old))
        return new, True

    def _valid_since(self, run: CrawlRun) -> datetime:
        """Return from when on an answer about a repository serves this gather."""
        return run.began - (SHARED_MAX_AGE if run.generation == 1 else timedelta())

    def _scope(self, run: CrawlRun, key: str) -> str:
        """Return what a page is filed under: the gather, or the server."""
        return run.key if key.startswith(SEARCH_PREFIX) else self._server

    def _read_page(self, scope: str, key: str) -> CachedResponse | None:
        row = self._db.execute("SELECT at, etag, body FROM pages WHERE gather = ? AND ask = ?", (scope, key)).fetchone()
        return CachedResponse(_from_timestamp(row[0]), row[1], zlib.decompress(row[2])) if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write in one transaction, whole or not at all."""
        with _convert_database_errors(self._path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield


@contextlib.contextmanager
def open_response_cache(path: Path, server: str) -> Iterator[ResponseCache]:
    """Open the file, or make it; ``server`` is the address of the API whose repositories they are.

    Raises
    ------
    ExternalError
        If it is of another layout, broken, or the disk does not take it.
    """
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _convert_database_errors(path), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (layout,) = connection.execute("PRAGMA user_version").fetchone()
        if layout == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise ExternalError(f"{path} is a database of something else", hint=f"move it away (mv {path} {path}.old)")
        if layout not in (0, SCHEMA_VERSION):
            raise ExternalError(
                f"{path} is of layout {layout}, made by {'a newer' if layout > SCHEMA_VERSION else 'an older'} stargaze; "
                f"this one reads {SCHEMA_VERSION}",
                hint=f"use that version, or move the file away (mv {path} {path}.old) to ask GitHub anew",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        yield ResponseCache(connection, path, server)


def cached_get(
    key: str,
    path: str,
    params: Mapping[str, str | int],
    to_cached: Callable[[Reply], CachedResponse],
    client: Client,
    cache: ResponseCache,
    run: CrawlRun,
    *,
    allow_refusal: bool = True,
) -> CachedResponse:
    """Return the cached page ``key``, or GET it from GitHub; an outdated page is revalidated with its ETag.

    Parameters
    ----------
    key : str
        The cache key of the page.
    path, params : str, mapping
        The REST request.
    to_cached : callable
        Converts a new reply into the response to store, or raises.
    client, cache, run : Client, ResponseCache, CrawlRun
        The API client, the cache, and the run that needs the page.
    allow_refusal : bool
        As in :meth:`Client.get`, whose errors are raised.
    """
    page = cache.get_page(run, key)
    if page is None:
        before = cache.get_previous(run, key)
        reply = client.get(path, params, etag=before.etag if before else "", allow_refusal=allow_refusal)
        page = CachedResponse(reply.at, before.etag, before.body) if reply.not_modified and before else to_cached(reply)
        cache.store_pages(run, {key: page})
    return page


@contextlib.contextmanager
def _convert_database_errors(path: Path) -> Iterator[None]:
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


def _from_timestamp(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, tz=UTC)
