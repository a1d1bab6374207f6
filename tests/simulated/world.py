"""GitHub as a whole, in one thread at a time: who asks what, what it costs, what goes wrong, what is counted."""

from __future__ import annotations

import email.utils
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from graphql import GraphQLError

from tests.simulated import graphql, people
from tests.simulated.limits import Computing, Penalty, RunningClock, SimulatedClock, Window
from tests.simulated.population import NOW, Population
from tests.simulated.search import CAP, Index, RefusedError

SEARCHING, LOOKING = 0.8, 0.25
"""Seconds that a REST request takes."""
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
DOCS = "https://docs.github.com/rest"
HTML = b"<!DOCTYPE html><html><head><title>Unicorn!</title></head><body>This page is taking too long</body></html>"


@dataclass(frozen=True)
class Faults:
    """How often something goes wrong, each a probability a request; changes come every so many requests.

    ``heavy`` and ``refusing`` are shares: of repositories too heavy to count, of organizations that refuse their members.
    """

    unavailable: float = 0.0
    truncated: float = 0.0
    incomplete: float = 0.0
    dropped_row: float = 0.0
    secondary: float = 0.0
    partial: float = 0.0
    changes_every: int = 0
    history_refused: bool = False
    heavy: float = 0.0
    refusing: float = 0.0


MISHAPS = Faults(0.0006, 0.0004, 0.001, 0.001, 0.0004, 0.001, 50)
"""A GitHub on an ordinary day."""


@dataclass(frozen=True)
class Response:
    """An answer; ``cut`` sends half of the body and closes."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class Counts:
    """What was asked, by kind and status; the requests that brought nothing; what was asked again after an answer."""

    by_kind: Counter[tuple[str, int]] = field(default_factory=Counter)
    wasted: int = 0
    repeats: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    log: list[tuple[str, bytes]] = field(default_factory=list)
    """URL and body of every request, in their order."""

    @property
    def requests(self) -> int:
        """All of them."""
        return self.by_kind.total()


class World:
    """A simulated GitHub; ``tokens`` says what each is worth: good, expired or scopeless."""

    def __init__(
        self,
        repositories: int = 300_000,
        *,
        least: int = 130,
        seed: int = 0,
        faults: Faults | None = None,
        skew: float = 0.0,
        tokens: Mapping[str, str] | None = None,
        clock: SimulatedClock | RunningClock | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.people = Population(repositories, least, seed)
        self.people.burden(self.faults.heavy, self.faults.refusing, seed)
        self.index = Index(self.people)
        self.clock = clock or SimulatedClock(float(NOW), skew)
        self.tokens = dict(tokens or {"good": "good"})
        self.counts = Counts()
        self.penalty = Penalty()
        self._random = np.random.default_rng([seed, 9])
        self._windows: dict[tuple[bool, str], Window] = {}
        self._computing = Computing()
        self._lock = threading.Lock()

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer a request, one at a time."""
        with self._lock:
            path = urlsplit(url).path
            if path.startswith("/_sim/"):
                return self._control(path, dict(parse_qsl(urlsplit(url).query)))
            path = path.removeprefix("/api/v3").replace("/api/graphql", "/graphql")
            kind = "search" if path.startswith("/search/") else "graphql" if path == "/graphql" else "core"
            self.counts.log.append((url, body))
            response = self._dated(self._judged(method, path, url, kind, headers, body))
            self._count(kind, f"{method} {url} {hashlib.sha1(body).hexdigest()}", response)  # a name
            return response

    def window(self, name: str, *, known: bool) -> Window:
        """Return a limit, of the token or of nobody."""
        sizes = {"search": (30, 10, 60), "core": (5000, 60, 3600), "graphql": (5000, 0, 3600)}[name]
        return self._windows.setdefault((known, name), Window(name, sizes[0 if known else 1], sizes[2]))

    def _judged(self, method: str, path: str, url: str, kind: str, headers: Mapping[str, str], body: bytes) -> Response:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        worth = self.tokens.get(token, "expired") if token else ""
        if worth == "expired" or (kind == "graphql" and not token):
            return _json(401, {"message": "Bad credentials", "documentation_url": DOCS})
        if path == "/rate_limit":
            return self._limits(known=bool(token))
        window = self.window(kind, known=bool(token))
        refused = self._refused(kind, window)
        if refused:
            return refused
        self._change()
        if kind == "graphql":
            window.used -= 1  # points are taken when they are known
            return self._graphql(json.loads(body), window, worth)
        return self._by_rest(path, url, kind, window, headers)

    def _refused(self, kind: str, window: Window) -> Response | None:
        if self.penalty.in_force(self.clock.now):
            return self._secondary(kind, window)
        if not window.take(self.clock.now):
            message = {"message": "API rate limit exceeded for user ID 1.", "documentation_url": DOCS}
            if kind == "graphql":
                return _json(200, {"errors": [{"type": "RATE_LIMITED", **message}]}, window.headers())
            return _json(403, message, window.headers())
        return self._secondary(kind, window) if self._by_chance(self.faults.secondary) else None

    def _by_rest(self, path: str, url: str, kind: str, window: Window, headers: Mapping[str, str]) -> Response:
        self.clock.sleep(SEARCHING if kind == "search" else LOOKING)
        if self._by_chance(self.faults.unavailable):
            return Response(502, HTML, {**window.headers(), "content-type": "text/html"})
        response = self._rest(path, dict(parse_qsl(urlsplit(url).query)), headers)
        if response.status == 304:
            window.used -= 1
        cut = response.status == 200 and self._by_chance(self.faults.truncated)
        return Response(response.status, response.body, {**response.headers, **window.headers()}, cut=cut)

    def _rest(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        if path == "/search/repositories":
            return self._search(query, headers)
        parts = path.strip("/").split("/")
        if parts[0] == "repos" and len(parts) > 2:
            return self._repository("/".join(parts[1:3]), "/".join(parts[3:]), query, headers)
        if parts[0] == "repositories" and len(parts) == 2 and parts[1].isdigit():
            row = self.people.place.get(int(parts[1]))
            return self._record(row if row is not None and self.people.here[row] else None, headers)
        if parts[0] in ("users", "orgs") and len(parts) == 2:
            return _json(200, (people.user if parts[0] == "users" else people.organization)(parts[1]))
        return _missing()

    def _repository(self, name: str, rest: str, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        row = self.people.find(name)
        if row is None:
            return _missing()
        if rest:
            return self._below(row, rest, query)
        return self._moved(row) if name.lower() in self.people.renamed else self._record(row, headers)

    def _search(self, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        page, size = int(query.get("page", 1)), min(int(query.get("per_page", 30)), 100)
        if page * size > CAP:
            only = "Only the first 1000 search results are available"
            return _json(422, {"message": only, "documentation_url": DOCS})
        try:
            rows = self.index.find(query.get("q", ""))
        except RefusedError as error:
            why = [{"resource": "Search", "field": "q", "code": "invalid", "message": str(error)}]
            return _json(422, {"message": "Validation Failed", "errors": why, "documentation_url": DOCS})
        shown = [int(row) for row in rows[(page - 1) * size : page * size]]
        incomplete, total = self._by_chance(self.faults.incomplete), len(rows)
        if incomplete:  # it gave up, and counts and shows what it came to
            total = int(self._random.integers(total + 1)) if self._by_chance(0.5) else 0
            shown = shown[: max(total - (page - 1) * size, 0)]
        elif shown and self._by_chance(self.faults.dropped_row):
            shown.pop(int(self._random.integers(len(shown))))
        items = [self.people.record(row) for row in shown]
        return _marked({"total_count": total, "incomplete_results": incomplete, "items": items}, headers)

    def _record(self, row: int | None, headers: Mapping[str, str]) -> Response:
        if row is None:
            return _missing()
        record = self.people.record(row)
        whole = {**record, "subscribers_count": record["forks_count"] // 3 + 1, "network_count": record["forks_count"]}
        return _marked(whole, headers)

    def _moved(self, row: int) -> Response:
        where = f"https://api.github.com/repositories/{self.people.id[row]}"
        body = {"message": "Moved Permanently", "url": where, "documentation_url": DOCS}
        return _json(301, body, {"location": where})

    def _below(self, row: int, rest: str, query: dict[str, str]) -> Response:
        number = int(self.people.id[row])
        if rest == "contributors":
            last = number % 400 + 1
            link = f'<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page={last}>; rel="last"'
            person = {**people.account("somebody"), "contributions": 3}
            return _json(200, [person], {"link": link} if last > 1 else {})
        if rest in ("commits", "issues", "pulls", "releases"):
            link = f'<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page={number % 90 + 2}>; rel="last"'
            return _json(200, [{"id": 1}], {"link": link})
        if rest == "readme":
            return _json(200, people.readme(self.people.name(row), number % 20_000))
        if rest == "stargazers/history" and not self.faults.history_refused:
            weeks, page = number % 200 + 1, int(query.get("page", 1))
            shown = range((page - 1) * 30, min(page * 30, weeks))
            begin = NOW - NOW % 604_800
            return _json(200, [{"week": begin - 604_800 * one, "total": 7, "days": [1] * 7} for one in shown])
        return _json(403, {"message": "Resource not accessible"}) if rest == "stargazers/history" else _missing()

    def _graphql(self, body: dict[str, Any], window: Window, worth: str) -> Response:
        if worth == "scopeless":
            message = "Resource not accessible by personal access token"
            return _json(200, {"data": None, "errors": [{"type": "FORBIDDEN", "message": message}]}, window.headers())
        if self._computing.over(self.clock.now):
            return self._secondary("graphql", window)
        try:
            data, run = graphql.execute(self.people, body["query"], body.get("variables") or {})
        except (GraphQLError, KeyError) as error:
            return _json(200, {"errors": [{"message": str(error)}]}, window.headers())
        window.take(self.clock.now, run.points)
        seconds = min(run.seconds, graphql.LONGEST)
        self._computing.add(self.clock.now, seconds)
        self.clock.sleep(seconds)
        if run.seconds > graphql.LONGEST:
            message = "Something went wrong while executing your query. This may be the result of a timeout."
            failed = {"data": None, "errors": [{"message": message}]}
            return (
                _json(502, failed, window.headers()) if self._by_chance(0.8) else Response(504, HTML, window.headers())
            )
        errors = run.errors
        if isinstance(data.get("nodes"), list) and len(data["nodes"]) > 1 and self._by_chance(self.faults.partial):
            half = len(data["nodes"]) // 2
            data["nodes"][half:] = [None] * (len(data["nodes"]) - half)
            errors = [
                *errors,
                {"type": "RESOURCE_LIMITS_EXCEEDED", "message": "Resource limits for this query exceeded."},
            ]
        return _json(200, {"data": data, **({"errors": errors} if errors else {})}, window.headers())

    def _secondary(self, kind: str, window: Window) -> Response:
        """Refuse in one of the ways that GitHub has."""
        if self.clock.now >= self.penalty.until:
            self.penalty.begin(self.clock.now, 60)
        way = int(self._random.integers(4 if kind == "graphql" else 3))
        rest = str(max(int(self.penalty.until - self.clock.now) + 1, 1))
        stated = {} if way == 2 else {"retry-after": rest}
        message = {"message": SECONDARY, "documentation_url": DOCS}
        return _json((403, 429, 403, 200)[way], message, {**window.headers(), **stated})

    def _limits(self, *, known: bool) -> Response:
        resources = {}
        for name in ("core", "search", "graphql"):
            window = self.window(name, known=known)
            window.look(self.clock.now)
            left = window.limit - window.used
            resources[name] = {
                "limit": window.limit,
                "used": window.used,
                "remaining": left,
                "reset": int(window.until),
            }
        return _json(200, {"resources": resources, "rate": resources["core"]})

    def _change(self) -> None:
        """Delete one, rename another, give a star to a third, now and then."""
        every = self.faults.changes_every
        if not every or self.counts.requests % every != every - 1:
            return
        gone, renamed, starred = (int(row) for row in self._random.integers(0, len(self.people), 3))
        self.people.here[gone] = False
        self.people.rename(renamed)
        self.people.stars[starred] += 1
        self.index.forget()

    def _by_chance(self, probability: float) -> bool:
        return bool(probability) and bool(self._random.random() < probability)

    def _dated(self, response: Response) -> Response:
        date = email.utils.formatdate(int(self.clock.now), usegmt=True)
        kind = {"content-type": "application/json; charset=utf-8"} if response.body[:1] != b"<" else {}
        return Response(response.status, response.body, {"date": date, **kind, **response.headers}, response.cut)

    def _count(self, kind: str, what: str, response: Response) -> None:
        self.counts.by_kind[kind, response.status] += 1
        good = response.status in (200, 304, 301, 404) and not response.cut and b"rate limit" not in response.body[:200]
        if what in self.counts.answered and kind != "core":
            self.counts.repeats.append(what)
        if not good or what in self.counts.answered:
            self.counts.wasted += 1
        if good:
            self.counts.answered.add(what)

    def _control(self, path: str, query: dict[str, str]) -> Response:
        """Let a client in another process see and pass the time."""
        if path == "/_sim/sleep":
            self.clock.sleep(float(query["s"]))
        return _json(200, {"time": self.clock.time(), "repeats": len(self.counts.repeats)})


def _marked(data: Any, headers: Mapping[str, str]) -> Response:
    """Answer with an ETag, or that the earlier answer still holds."""
    etag = f'"{hashlib.sha1(json.dumps(data).encode()).hexdigest()}"'  # a mark
    return (
        Response(304, b"", {"etag": etag}) if headers.get("if-none-match") == etag else _json(200, data, {"etag": etag})
    )


def _json(status: int, data: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, json.dumps(data).encode(), dict(headers or {}))


def _missing() -> Response:
    return _json(404, {"message": "Not Found", "documentation_url": DOCS, "status": "404"})
