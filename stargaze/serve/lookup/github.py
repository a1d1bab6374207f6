"""GitHub's client for the page, with a cache: one or two requests within seconds while a visitor waits, or none."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.errors import BadDataError, CredentialsError, StargazeError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client, Reply, TooHeavyError
from stargaze.features.github.api.http_transport import NO_RETRY, HttpTransport, Transport
from stargaze.features.github.api.limited_http import ResponseLimits
from stargaze.features.github.crawl.details import parse_names_reply
from stargaze.features.github.search.search import is_repository
from stargaze.features.ingest.field_mapping import map_record
from stargaze.system.sqlite import open_transaction

CACHE_TTL = 600.0
"""Time for which a reply is reused without a request; afterwards it is revalidated by its ETag [s]."""
TIMEOUT, TIME_LIMIT = (1.5, 3.0), 2.5
"""Timeouts of connecting and reading, and when no further request is sent [s]: about five in all."""
MAX_REPLY = 4 * 1024 * 1024
"""Largest response: those about a few repositories have less than 100 kB [byte]."""
BACKOFF = 60.0
"""No request is sent for this long after a fault, because every visitor would wait for the next one [s]."""
MAX_CACHED = 2_000
"""Replies in memory, some 2 kB each."""
log = logging.getLogger(__name__)
TABLES = (
    """CREATE TABLE IF NOT EXISTS replies (
        server TEXT, name TEXT, received_at REAL, reply TEXT, PRIMARY KEY (server, name)
    )""",
    "CREATE INDEX IF NOT EXISTS by_age ON replies (received_at)",
)
MAX_ROWS = 20_000
"""Maximum number of rows, of some 2 kB each; the oldest ones are deleted."""
LOCK_TIMEOUT = 0.5
"""Timeout for locks of other processes [s]; a request to GitHub takes about as long."""
CACHE_FAULTS = (sqlite3.Error, StargazeError, ValueError)


@dataclass(frozen=True)
class GithubReply:
    """A record, why there is none (``gone``), or why GitHub was ``unavailable``: the record is then from an earlier reply."""

    record: Mapping[str, Any] | None = None
    gone: str = ""
    unavailable: str = ""
    is_complete: bool = True
    """Whether the record contains counts and commits, which a single REST response lacks."""
    received_at: float = 0.0
    etag: str = ""


class WaitRequiredError(Exception):
    """The next request would have to wait for this many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class NoWaitClock:
    """The time of day for a client that must not wait."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def time(self) -> float:
        """Return seconds since 1970."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Raise WaitRequiredError."""
        raise WaitRequiredError(seconds)


def connect_github(
    url: str, token: str, clock: NoWaitClock | None = None, cache: GithubCache | None = None
) -> GithubRepositories:
    """Return the client of a GitHub server."""
    clock, token = clock or NoWaitClock(), token.strip()
    transport = HttpTransport(
        url, token, clock, timeout=TIMEOUT, reconnect=NO_RETRY, limits=ResponseLimits(MAX_REPLY, sum(TIMEOUT))
    )
    return GithubRepositories(transport, clock, with_token=bool(token), cache=cache)


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
            with open_transaction(self._path, LOCK_TIMEOUT) as db:
                rows = db.execute(
                    f"SELECT name, reply FROM replies WHERE server = ? AND name IN ({placeholders})",  # noqa: S608 # only "?"
                    (self._server, *names),
                ).fetchall()
            return {name: json.loads(reply) for name, reply in rows}
        except CACHE_FAULTS as error:
            log.warning("%s: cannot be read: %s", self._path, error)
            return {}

    def save(self, replies: Mapping[str, Mapping[str, Any]], received_at: float) -> None:
        """Store replies that were received at this time [s since 1970]."""
        try:
            with open_transaction(self._path, LOCK_TIMEOUT, TABLES) as db:
                rows = [(self._server, name, received_at, json.dumps(reply)) for name, reply in replies.items()]
                db.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", rows)
                db.execute(
                    "DELETE FROM replies WHERE received_at <"
                    " (SELECT received_at FROM replies ORDER BY received_at DESC LIMIT 1 OFFSET ?)",
                    (MAX_ROWS,),
                )
        except CACHE_FAULTS as error:
            log.warning("%s: cannot be written: %s", self._path, error)


class GithubRepositories:
    """Fetches repositories by name and caches the replies; after a fault no request is sent for a while.

    With a token all names are requested at once by GraphQL, without one by one with REST.
    """

    def __init__(
        self, transport: Transport, clock: NoWaitClock, *, with_token: bool, cache: GithubCache | None = None
    ) -> None:
        self._shared_cache = cache
        self._client = Client(transport, clock)
        self._clock = clock
        self._with_token = with_token
        self._cache: OrderedDict[str, GithubReply] = OrderedDict()
        self._paused_until, self._pause_reason = 0.0, ""
        self._started_at = 0.0

    def fetch(self, names: Sequence[str]) -> dict[str, GithubReply]:
        """Return a reply for each name, by the name in lower case; never raises."""
        keys = [name.lower() for name in names]
        self._load_shared([key for key in keys if not self._is_fresh(key)])
        cached = {key: self._cache[key] for key in keys if self._is_fresh(key)}
        missing = [name for name in dict.fromkeys(names) if name.lower() not in cached]
        fetched = self._fetch_missing(missing) if missing else {}
        new = {key: reply for key, reply in fetched.items() if not reply.unavailable}
        for key, reply in new.items():
            self._cache_reply(key, reply)
        if self._shared_cache and new:
            self._shared_cache.save({key: asdict(reply) for key, reply in new.items()}, self._clock.time())
        return {**cached, **fetched}

    def _is_fresh(self, key: str) -> bool:
        return key in self._cache and self._clock.time() - self._cache[key].received_at < CACHE_TTL

    def _load_shared(self, keys: Sequence[str]) -> None:
        """Copy newer replies of other processes."""
        for key, values in (self._shared_cache.load(keys) if self._shared_cache else {}).items():
            try:
                reply = GithubReply(**values)
            except TypeError:  # written by another version
                continue
            if key not in self._cache or self._cache[key].received_at < reply.received_at <= self._clock.time():
                self._cache_reply(key, reply)

    def _fetch_missing(self, names: Sequence[str]) -> dict[str, GithubReply]:
        fetched: dict[str, GithubReply] = {}
        if self._clock.time() >= self._paused_until:
            self._started_at, refused = self._clock.time(), self._client.stats.refused
            try:
                if self._with_token:
                    return self._fetch_by_graphql(names)
                for name in names:
                    self._check_time_limit()
                    fetched[name.lower()] = self._fetch_by_rest(name)
            except (StargazeError, WaitRequiredError, TooHeavyError) as error:
                self._pause(error, is_limited=self._client.stats.refused > refused)
                log.warning("no requests to GitHub for a while: %s", error)
        reason = self._pause_reason
        earlier = {name.lower(): self._cache.get(name.lower(), GithubReply()) for name in names}
        return {key: replace(reply, unavailable=reason) for key, reply in earlier.items()} | fetched

    def _pause(self, error: Exception, *, is_limited: bool = False) -> None:
        """Send no request for a while, and store the reason."""
        now = self._clock.time()
        wait = error.seconds if isinstance(error, WaitRequiredError) else 0.0
        limits = self._client.limits.values()
        is_limited = is_limited or any(limit.remaining <= 0 and limit.until > now for limit in limits)
        self._paused_until = now + (max(wait, BACKOFF) if is_limited else BACKOFF)
        if is_limited:
            end = datetime.fromtimestamp(self._paused_until, UTC)
            self._pause_reason = f"rate limited by GitHub until {end:%H:%M} UTC"
        elif isinstance(error, CredentialsError):
            self._pause_reason = "GitHub rejects this server's token"
        else:
            self._pause_reason = "GitHub cannot be reached at the moment"

    def _fetch_by_rest(self, name: str) -> GithubReply:
        before = self._cache.get(name.lower())
        reply = self._client.get(f"/repos/{name}", etag=before.etag if before else "", allow_refusal=True)
        if reply.not_modified and before:
            return replace(before, received_at=self._clock.time())
        if reply.gone or not is_repository(reply.data) or reply.data.get("private"):
            return GithubReply(gone=reply.gone or "Not Found", received_at=self._clock.time())
        return self._parse(reply.data, {}, reply, is_complete=False)

    def _fetch_by_graphql(self, names: Sequence[str]) -> dict[str, GithubReply]:
        text = graphql.names_query(len(names), extra="isPrivate isEmpty")
        reply = self._client.query(text, graphql.names_variables(list(names)))
        nodes = parse_names_reply(list(names), reply)
        public = {name: node for name, node in nodes.items() if "gone" not in node and not node.get("isPrivate")}
        details, complete = self._fetch_details({str(node["id"]): name for name, node in public.items()})
        replies = {}
        for name in names:
            gone = str(nodes.get(name, {}).get("gone") or "Not Found")
            replies[name.lower()] = GithubReply(gone=gone, received_at=self._clock.time())
            if name in public:
                values = public[name], details.get(name, {})
                replies[name.lower()] = self._parse(*values, reply, is_complete=name in complete)
        return replies

    def _fetch_details(self, ids: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """Return counts and commits by name, and the names that have all of them; timeouts leave some out."""
        details: dict[str, dict[str, Any]] = {}
        received: Counter[str] = Counter()
        for kind in graphql.KINDS if ids else ():
            try:
                self._check_time_limit()
                reply = self._client.query(kind.text, {"ids": list(ids)})
            except TooHeavyError as error:
                log.warning("no %s from GitHub: %s", kind.name, error)
                continue
            except (StargazeError, WaitRequiredError) as error:
                self._pause(error)
                log.warning("no %s from GitHub, and no requests for a while: %s", kind.name, error)
                break
            nodes = reply.data["data"].get("nodes") or []
            for node_id, node in zip(ids, nodes, strict=False):
                if isinstance(node, dict) and "nameWithOwner" in node:
                    details.setdefault(ids[node_id], {}).update(graphql.parse_fields(node))
                    received[ids[node_id]] += 1
        return details, {name for name, count in received.items() if count == len(graphql.KINDS)}

    def _check_time_limit(self) -> None:
        if self._clock.time() - self._started_at > TIME_LIMIT:
            raise WaitRequiredError(0.0)

    def _parse(
        self, item: Mapping[str, Any], details: Mapping[str, Any], reply: Reply, *, is_complete: bool
    ) -> GithubReply:
        now = self._clock.time()
        try:
            row = map_record({**item, "_collected_at": reply.at.isoformat()})
        except BadDataError as error:
            return GithubReply(gone=error.message, received_at=now)
        return GithubReply({**row, **details}, is_complete=is_complete, received_at=now, etag=reply.etag)

    def _cache_reply(self, key: str, reply: GithubReply) -> None:
        self._cache[key] = reply
        self._cache.move_to_end(key)
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
