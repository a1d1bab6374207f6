"""GitHub, asked while a visitor waits: in one or two requests, in seconds or not at all."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from stargaze.errors import BadDataError, CredentialsError, StargazeError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client, Reply, TooHeavyError
from stargaze.features.github.api.http_transport import NO_RETRY, HttpTransport
from stargaze.features.github.api.transport import Transport
from stargaze.features.github.crawl.by_name import answered_names
from stargaze.features.github.search.search import is_row
from stargaze.features.ingest import field_mapping as records
from stargaze.serve.lookup.github_cache import GithubCache

FRESH = 600.0
"""An answer is given again for so long without asking; later GitHub is asked whether it still holds, by its ETag [s]."""
TIMEOUT, PATIENCE = (1.5, 3.0), 2.5
"""Limits of a connection and of each part of an answer, and when no further request is begun [s]: some five in all."""
REST = 60.0
"""After a fault GitHub is left alone for so long: each visitor would wait for the next one [s]."""
MOST = 2_000
"""Repositories that a process remembers, some 2 kB each."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GithubReply:
    """What GitHub said of a name: a record, that there is none (``gone``), or nothing at all (``away``).

    A record beside ``away`` is of an earlier time.
    """

    record: Mapping[str, Any] | None = None
    gone: str = ""
    away: str = ""
    whole: bool = True
    """Whether counts and commits were told as well, which REST's one answer has not."""
    at: float = 0.0
    etag: str = ""


class WouldWaitError(Exception):
    """The next request would have to wait for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class NoWaitClock:
    """The time of day, for a client that must not wait."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def time(self) -> float:
        """Return seconds since 1970."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Refuse."""
        raise WouldWaitError(seconds)


def github(url: str, token: str, clock: NoWaitClock | None = None, heard: GithubCache | None = None) -> GitHub:
    """Return GitHub behind an address, with a token or, where that is empty, without."""
    clock = clock or NoWaitClock()
    transport = HttpTransport(url, token.strip(), clock, timeout=TIMEOUT, reconnect=NO_RETRY)
    return GitHub(transport, clock, with_token=bool(token.strip()), heard=heard)


class GitHub:
    """Asks for repositories by name and remembers what was said; after a fault it is not asked for a while.

    Parameters
    ----------
    transport : Transport
        With short limits of its own.
    clock : NoWaitClock
    with_token : bool
        With one all is asked by GraphQL at once, without one name by name.
    """

    def __init__(
        self, transport: Transport, clock: NoWaitClock, *, with_token: bool, heard: GithubCache | None = None
    ) -> None:
        self._heard = heard
        self._client = Client(transport, clock)
        self._clock = clock
        self._with_token = with_token
        self._kept: OrderedDict[str, GithubReply] = OrderedDict()
        self._closed: tuple[float, str] = (0.0, "")
        self._begun = 0.0

    def ask(self, names: Sequence[str]) -> dict[str, GithubReply]:
        """Return what GitHub says of each name, by the name in lower case; never raises."""
        self._recall([name.lower() for name in names])
        known = {name.lower(): self._kept.get(name.lower()) for name in names}
        fresh = {key: told for key, told in known.items() if told and self._clock.time() - told.at < FRESH}
        todo = [name for name in dict.fromkeys(names) if name.lower() not in fresh]
        found = self._asked(todo) if todo else {}
        new = {key: told for key, told in found.items() if not told.away}
        for key, told in new.items():
            self._keep(key, told)
        if self._heard and new:
            self._heard.keep({key: asdict(told) for key, told in new.items()}, self._clock.time())
        return {**fresh, **found}

    def _recall(self, keys: Sequence[str]) -> None:
        """Take over what another process heard more lately."""
        now = self._clock.time()
        stale = [key for key in keys if key not in self._kept or now - self._kept[key].at >= FRESH]
        for key, values in (self._heard.recall(stale) if self._heard else {}).items():
            try:
                told = GithubReply(**values)
            except TypeError:  # of another version
                continue
            if key not in self._kept or self._kept[key].at < told.at <= now:
                self._keep(key, told)

    def _asked(self, names: Sequence[str]) -> dict[str, GithubReply]:
        until, why = self._closed
        found: dict[str, GithubReply] = {}
        if self._clock.time() >= until:
            self._begun, refused = self._clock.time(), self._client.tally.refused
            try:
                if self._with_token:
                    return self._by_graphql(names)
                for name in names:
                    self._check_time()
                    found[name.lower()] = self._by_rest(name)
            except (StargazeError, WouldWaitError, TooHeavyError) as error:
                why = self._close(error, limited=self._client.tally.refused > refused)
                log.warning("GitHub is not asked for a while: %s", error)
        earlier = {name.lower(): replace(self._kept.get(name.lower(), GithubReply()), away=why) for name in names}
        return earlier | found

    def _close(self, error: Exception, *, limited: bool = False) -> str:
        """Note how long GitHub is left alone, and say why."""
        now = self._clock.time()
        wait = error.seconds if isinstance(error, WouldWaitError) else 0.0
        limited = limited or any(limit.remaining <= 0 and limit.until > now for limit in self._client.limits.values())
        seconds = max(wait, REST) if limited else REST
        lifted = datetime.fromtimestamp(now + seconds, UTC)
        token = isinstance(error, CredentialsError)
        away = "GitHub does not take this server's token" if token else "GitHub cannot be reached at the moment"
        why = f"GitHub limits us until {lifted:%H:%M} UTC" if limited else away
        self._closed = (now + seconds, why)
        return why

    def _by_rest(self, name: str) -> GithubReply:
        before = self._kept.get(name.lower())
        reply = self._client.get(f"/repos/{name}", etag=before.etag if before else "", forgiving=True)
        if reply.same and before:
            return replace(before, at=self._clock.time())
        if reply.gone or not is_row(reply.data) or reply.data.get("private"):
            return GithubReply(gone=reply.gone or "Not Found", at=self._clock.time())
        return self._read(reply.data, {}, reply, whole=False)

    def _by_graphql(self, names: Sequence[str]) -> dict[str, GithubReply]:
        text = graphql.names_query(len(names), also="isPrivate isEmpty")
        reply = self._client.query(text, graphql.names_variables(list(names)))
        nodes = answered_names(list(names), reply)
        public = {name: node for name, node in nodes.items() if "gone" not in node and not node.get("isPrivate")}
        details, whole = self._details({str(node["id"]): name for name, node in public.items()})
        found = {}
        for name in names:
            if name in public:
                found[name.lower()] = self._read(public[name], details.get(name, {}), reply, whole=name in whole)
            else:
                found[name.lower()] = GithubReply(
                    gone=str(nodes.get(name, {}).get("gone") or "Not Found"), at=self._clock.time()
                )
        return found

    def _details(self, ids: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """Return counts and commits by name, and of which names all; what GitHub does not get to in time is not known."""
        found: dict[str, dict[str, Any]] = {}
        told: Counter[str] = Counter()
        for kind in graphql.KINDS if ids else ():
            try:
                self._check_time()
                reply = self._client.query(kind.text, {"ids": list(ids)})
            except TooHeavyError as error:
                log.warning("GitHub told no %s: %s", kind.name, error)
                continue
            except (StargazeError, WouldWaitError) as error:
                self._close(error)
                log.warning("GitHub told no %s, and is not asked for a while: %s", kind.name, error)
                break
            nodes = reply.data["data"].get("nodes") or []
            for number, node in zip(ids, nodes, strict=False):
                if isinstance(node, dict) and "nameWithOwner" in node:
                    found.setdefault(ids[number], {}).update(graphql.fields(node))
                    told[ids[number]] += 1
        return found, {name for name, number in told.items() if number == len(graphql.KINDS)}

    def _check_time(self) -> None:
        if self._clock.time() - self._begun > PATIENCE:
            raise WouldWaitError(0.0)

    def _read(self, item: Mapping[str, Any], details: Mapping[str, Any], reply: Reply, *, whole: bool) -> GithubReply:
        at = self._clock.time()
        try:
            row = records.map_record({**item, "_collected_at": reply.at.isoformat()})
        except BadDataError as error:
            return GithubReply(gone=error.message, at=at)
        return GithubReply({**row, **details}, whole=whole, at=at, etag=reply.etag)

    def _keep(self, key: str, told: GithubReply) -> None:
        self._kept[key] = told
        self._kept.move_to_end(key)
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
