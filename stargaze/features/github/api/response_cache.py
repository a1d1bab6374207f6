"""Cache of GitHub responses in one SQLite file; each response is stored before the next request.

A stopped crawl starts again and reads cached responses. Search pages belong to a crawl run and its generation
(``--update`` starts a new one). Pages of a repository or owner are shared by all runs of the server, if recent enough;
details also belong to the state of the repository.
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
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.crawl_run import SEARCH_PREFIX, CrawlRun
from stargaze.features.github.api.replies import Reply
from stargaze.system.sqlite import connect_database, is_damage, move_damaged

SCHEMA_VERSION = 3
"""Version of the tables; raise it with every incompatible change."""
TABLES = """
CREATE TABLE IF NOT EXISTS pages (scope TEXT, key TEXT, at INTEGER, etag TEXT, body BLOB, PRIMARY KEY (scope, key));
CREATE TABLE IF NOT EXISTS details (
    server TEXT, id INTEGER, kind TEXT, stamp TEXT, at INTEGER, body TEXT, PRIMARY KEY (server, id, kind)
);
CREATE TABLE IF NOT EXISTS runs (
    digest TEXT, generation INTEGER, began INTEGER, done INTEGER, PRIMARY KEY (digest, generation)
);
"""
CHUNK = 500
"""Repositories per SELECT; SQLite accepts at least 999 values."""
TIMEOUT = 5.0
"""How long to wait for another process [s]."""
PLAN_MAX_AGE = timedelta(hours=1)
"""A run that starts within this time uses the counts fetched by a plan."""
ABANDONED_AFTER = timedelta(days=7)
"""``--update`` restarts an unfinished run of this age instead of continuing it."""


@dataclass(frozen=True)
class CachedResponse:
    """A stored response: its date, ETag and JSON."""

    at: datetime
    etag: str
    body: bytes

    @property
    def data(self) -> Any:
        """The parsed JSON."""
        return json.loads(self.body)


class ResponseCache:
    """The cache; use :func:`open_response_cache`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, server: str) -> None:
        self._db = connection
        self._path = path
        self._server = server

    def start_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return the run to resume, or a new one; ``update`` starts a new generation after a finished run.

        ``now`` is called only for a new run and for an update.
        """
        run, is_new = self._find_run(digest, now, update=update)
        if is_new:
            with self._transaction():
                values = (digest, run.generation, int(run.began.timestamp()), 0)
                self._db.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", values)
        return run

    def plan_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> CrawlRun:
        """Return the run that :meth:`start_run` would return, without starting it."""
        return self._find_run(digest, now, update=update)[0]

    def delete_run(self, run: CrawlRun, keys: Iterable[str]) -> None:
        """Delete a run without results and these shared pages, so that the next run starts from the beginning."""
        with self._transaction():
            self._db.execute("DELETE FROM pages WHERE scope = ?", (run.key,))
            self._db.executemany("DELETE FROM pages WHERE scope = ? AND key = ?", [(self._server, key) for key in keys])
            self._db.execute("DELETE FROM runs WHERE digest = ? AND generation = ?", (run.digest, run.generation))

    def finish_run(self, run: CrawlRun) -> None:
        """Mark the run as done and delete earlier generations."""
        values = (run.digest, run.generation)
        old = [f"{run.digest}.{number}" for number in range(1, run.generation)]
        with self._transaction():
            self._db.execute("UPDATE runs SET done = 1 WHERE digest = ? AND generation = ?", values)
            self._db.execute("DELETE FROM runs WHERE digest = ? AND generation < ?", values)
            self._db.executemany("DELETE FROM pages WHERE scope = ?", [(key,) for key in old])

    def get_page(self, run: CrawlRun, key: str) -> CachedResponse | None:
        """Return a page of this generation, or a shared page that is recent enough."""
        page = self._read_page(self._scope(run, key), key)
        return page if page and (key.startswith(SEARCH_PREFIX) or page.at >= run.valid_since) else None

    def get_previous(self, run: CrawlRun, key: str) -> CachedResponse | None:
        """Return the outdated version of a page, to revalidate it."""
        before = replace(run, generation=run.generation - 1)
        return self._read_page(self._scope(before, key), key)

    def store_pages(self, run: CrawlRun, pages: Mapping[str, CachedResponse]) -> None:
        """Store pages in one transaction; they are on disk when the call returns."""
        values = [
            (self._scope(run, key), key, int(page.at.timestamp()), page.etag, zlib.compress(page.body))
            for key, page in pages.items()
        ]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", values)

    def count_search_pages(self, run: CrawlRun) -> int:
        """Count the search pages of this generation."""
        (count,) = self._db.execute("SELECT count(*) FROM pages WHERE scope = ?", (run.key,)).fetchone()
        return int(count)

    def count_shared_pages(self, run: CrawlRun, prefix: str) -> int:
        """Count the shared pages with this key prefix that the run can use."""
        since = int(run.valid_since.timestamp())
        values = (self._server, len(prefix), prefix, since)
        count = "SELECT count(*) FROM pages WHERE scope = ? AND substr(key, 1, ?) = ? AND at >= ?"
        return int(self._db.execute(count, values).fetchone()[0])

    def last_response_time(self, run: CrawlRun) -> datetime:
        """Return the date of the last response, by GitHub's clock."""
        keys = (run.key, self._server)
        (timestamp,) = self._db.execute("SELECT max(at) FROM pages WHERE scope IN (?, ?)", keys).fetchone()
        return run.began if timestamp is None else _from_timestamp(timestamp)

    def store_details(self, kind: str, rows: Iterable[tuple[int, str, dict[str, Any]]], at: datetime) -> None:
        """Store details of repositories: id, state stamp, fields."""
        timestamp = int(at.timestamp())
        values = [(self._server, number, kind, stamp, timestamp, json.dumps(fields)) for number, stamp, fields in rows]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?, ?, ?)", values)

    def get_stamps(self, kind: str, since: datetime | None = None) -> dict[int, str]:
        """Return the state stamps by repository id of the details of this kind stored after ``since``."""
        values = (self._server, kind, int(since.timestamp()) if since else 0)
        rows = self._db.execute("SELECT id, stamp FROM details WHERE server = ? AND kind = ? AND at >= ?", values)
        return dict(rows.fetchall())

    def get_details(self, kinds: Sequence[str], stamps: Mapping[int, str]) -> dict[int, dict[str, Any]]:
        """Return the details of repositories in these states, merged over all kinds; later kinds take precedence."""
        details: dict[int, dict[str, Any]] = {}
        ids = list(stamps)
        for kind, start in itertools.product(kinds, range(0, len(ids), CHUNK)):
            chunk = ids[start : start + CHUNK]
            placeholders = ",".join("?" * len(chunk))
            rows = self._db.execute(
                f"SELECT id, stamp, body FROM details WHERE server = ? AND kind = ? AND id IN ({placeholders})",  # noqa: S608 # placeholders only
                (self._server, kind, *chunk),
            )
            for number, stamp, body in rows:
                if stamp == stamps[number]:
                    details.setdefault(number, {}).update(json.loads(body))
        return details

    def _find_run(self, digest: str, now: Callable[[], datetime], *, update: bool) -> tuple[CrawlRun, bool]:
        """Return the run to resume or a new one, and whether it is new; outdated pages of a plan are deleted."""
        row = self._db.execute(
            "SELECT generation, began, done FROM runs WHERE digest = ? ORDER BY generation DESC", (digest,)
        ).fetchone()
        latest = CrawlRun(digest, row[0], _from_timestamp(row[1]), bool(row[2])) if row else None
        if latest and not (update and (latest.done or now() - latest.began > ABANDONED_AFTER)):
            return latest, False
        new = CrawlRun(digest, latest.generation + 1 if latest else 1, now().replace(microsecond=0), done=False)
        old = int((new.began - PLAN_MAX_AGE).timestamp())
        with self._transaction():
            self._db.execute("DELETE FROM pages WHERE scope = ? AND at < ?", (new.key, old))
        return new, True

    def _scope(self, run: CrawlRun, key: str) -> str:
        """Return the scope of a key: the run or the server."""
        return run.key if key.startswith(SEARCH_PREFIX) else self._server

    def _read_page(self, scope: str, key: str) -> CachedResponse | None:
        row = self._db.execute("SELECT at, etag, body FROM pages WHERE scope = ? AND key = ?", (scope, key)).fetchone()
        return CachedResponse(_from_timestamp(row[0]), row[1], zlib.decompress(row[2])) if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write in one transaction."""
        with _convert_database_errors(self._path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield


@contextlib.contextmanager
def open_response_cache(path: Path, server: str) -> Iterator[ResponseCache]:
    """Open or create the cache of the API at the URL ``server``.

    A damaged one is moved aside. Raise ExternalError if the cache has another schema version or the disk fails.
    """
    if path.is_file():
        with contextlib.suppress(sqlite3.Error):  # damaged: it is created again
            _check_version(path)
    with (
        _convert_database_errors(path),
        contextlib.closing(connect_database(path, TIMEOUT, synchronous="FULL", isolation_level=None)) as connection,
    ):
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        yield ResponseCache(connection, path, server)


def _check_version(path: Path) -> None:
    """Refuse a database of another version or program, which is not changed."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise ExternalError(f"{path} is a database of another program", hint=f"move it away (mv {path} {path}.old)")
        if version not in (0, SCHEMA_VERSION):
            raise ExternalError(
                f"{path} has schema version {version}, created by "
                f"{'a newer' if version > SCHEMA_VERSION else 'an older'} stargaze; this one reads {SCHEMA_VERSION}",
                hint=f"use that version, or move the file away (mv {path} {path}.old) to fetch everything again",
            )


@dataclass(frozen=True)
class CrawlSession:
    """The API client and the response cache of one crawl run."""

    client: Client
    cache: ResponseCache
    run: CrawlRun

    def get_page(self, key: str) -> CachedResponse | None:
        """Return the cached page, None without a valid one."""
        return self.cache.get_page(self.run, key)

    def get(
        self,
        key: str,
        path: str,
        params: Mapping[str, str | int],
        to_cached: Callable[[Reply], CachedResponse],
        *,
        allow_refusal: bool = True,
    ) -> CachedResponse:
        """Return the cached page ``key``, or GET it from GitHub; an outdated page is revalidated with its ETag.

        ``to_cached`` converts a new reply into the response to store, or raises. Errors are those of :meth:`Client.get`.
        """
        page = self.get_page(key)
        if page is None:
            before = self.cache.get_previous(self.run, key)
            reply = self.client.get(path, params, etag=before.etag if before else "", allow_refusal=allow_refusal)
            page = replace(before, at=reply.at) if reply.not_modified and before else to_cached(reply)
            self.cache.store_pages(self.run, {key: page})
        return page


@contextlib.contextmanager
def _convert_database_errors(path: Path) -> Iterator[None]:
    """Convert SQLite errors to ExternalError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise ExternalError(
                f"{path}: the disk is full or fails; stored responses are kept",
                hint=f"free some space, then run the same command; df -h {path.parent}",
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise ExternalError(f"{path}: {text}", hint="set store.path to a folder that you own") from error
        if is_damage(error):
            move_damaged(path)
            raise ExternalError(
                f"{path} was damaged, and was moved aside",
                hint="the same command (stargaze fetch) fetches everything again",
            ) from error
        raise ExternalError(
            f"{path}: cannot be read: {text}", hint=f"move it away (mv {path} {path}.old) to fetch everything again"
        ) from error


def _from_timestamp(timestamp: int) -> datetime:
    return datetime.fromtimestamp(timestamp, tz=UTC)
