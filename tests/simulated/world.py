"""The simulated GitHub: authorization, limits, cost and faults of each request, and counts of all requests."""

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

from tests.simulated import accounts, graphql
from tests.simulated.limits import ComputeLimit, RunningClock, SecondaryLimit, SimulatedClock, Window
from tests.simulated.population import NOW, Population
from tests.simulated.responses import DOCS, Response, json_response, not_found, with_etag
from tests.simulated.search import MAX_RESULTS, Index, RefusedError
from tests.simulated.subresources import subresource_response

SEARCH_SECONDS, REST_SECONDS = 0.8, 0.25
"""Seconds that a REST request takes."""
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
HTML = b"<!DOCTYPE html><html><head><title>Unicorn!</title></head><body>This page is taking too long</body></html>"


@dataclass(frozen=True)
class Faults:
    """Probability of each fault per request; repositories change every ``changes_every`` requests.

    ``heavy`` is the share of repositories too heavy to count, ``refusing`` that of organizations that hide their members.
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


COMMON_FAULTS = Faults(0.0006, 0.0004, 0.001, 0.001, 0.0004, 0.001, 50)
"""The faults of an ordinary day."""


@dataclass
class Counts:
    """Requests by kind and status, those without a useful response, and those repeated after a good response."""

    by_kind: Counter[tuple[str, int]] = field(default_factory=Counter)
    wasted: int = 0
    repeats: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    log: list[tuple[str, bytes]] = field(default_factory=list)
    """URL and body of every request, in order."""

    @property
    def requests(self) -> int:
        """The total number of requests."""
        return self.by_kind.total()


class World:
    """A simulated GitHub; ``tokens`` maps each token to its state: good, owner (of private ones too), expired, scopeless."""

    def __init__(
        self,
        repositories: int = 300_000,
        *,
        min_stars: int = 130,
        seed: int = 0,
        faults: Faults | None = None,
        skew: float = 0.0,
        tokens: Mapping[str, str] | None = None,
        clock: SimulatedClock | RunningClock | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self.population = Population(repositories, min_stars, seed)
        self.population.assign_faults(self.faults.heavy, self.faults.refusing, seed)
        self.index = Index(self.population)
        self.clock = clock or SimulatedClock(float(NOW), skew)
        self.tokens = dict(tokens or {"good": "good"})
        self.counts = Counts()
        self.secondary_limit = SecondaryLimit()
        self._random = np.random.default_rng([seed, 9])
        self._windows: dict[tuple[bool, str], Window] = {}
        self._compute_limit = ComputeLimit()
        self._lock = threading.Lock()
        self._delay = 0.0

    def respond(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Return the response to a request, one at a time."""
        response, seconds = self._respond(method, url, headers, body)
        if seconds:  # a real server computes several responses at the same time
            self.clock.sleep(seconds)
        return response

    def _respond(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[Response, float]:
        """Return the response, and the seconds that remain until it is sent."""
        with self._lock:
            self._delay = 0.0
            path = urlsplit(url).path
            if path.startswith("/_sim/"):
                return self._control(path, dict(parse_qsl(urlsplit(url).query))), 0.0
            path = path.removeprefix("/api/v3").replace("/api/graphql", "/graphql")
            kind = "search" if path.startswith("/search/") else "graphql" if path == "/graphql" else "core"
            self.counts.log.append((url, body))
            response = self._with_date(self._authorize(method, path, url, kind, headers, body))
            self._count(kind, f"{method} {url} {hashlib.sha1(body).hexdigest()}", response)  # an identifier
            return response, self._delay

    def _spend(self, seconds: float) -> None:
        if isinstance(self.clock, RunningClock):
            self._delay += seconds
        else:
            self.clock.sleep(seconds)

    def window(self, name: str, *, known: bool) -> Window:
        """Return a limit, with or without a token."""
        sizes = {"search": (30, 10, 60), "core": (5000, 60, 3600), "graphql": (5000, 0, 3600)}[name]
        return self._windows.setdefault((known, name), Window(name, sizes[0 if known else 1], sizes[2]))

    def _authorize(
        self, method: str, path: str, url: str, kind: str, headers: Mapping[str, str], body: bytes
    ) -> Response:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        token_state = self.tokens.get(token, "expired") if token else ""
        if token_state == "expired" or (kind == "graphql" and not token):
            return json_response(401, {"message": "Bad credentials", "documentation_url": DOCS})
        if path == "/rate_limit":
            return self._rate_limits(known=bool(token))
        window = self.window(kind, known=bool(token))
        refusal = self._check_limits(kind, window)
        if refusal:
            return refusal
        self._change()
        if kind == "graphql":
            window.used -= 1  # points are subtracted after the execution
            return self._graphql(json.loads(body), window, token_state)
        return self._handle_rest(path, url, kind, window, headers)

    def _check_limits(self, kind: str, window: Window) -> Response | None:
        if self.secondary_limit.is_active(self.clock.now):
            return self._secondary(kind, window)
        if not window.take(self.clock.now):
            message = {"message": "API rate limit exceeded for user ID 1.", "documentation_url": DOCS}
            if kind == "graphql":
                return json_response(200, {"errors": [{"type": "RATE_LIMITED", **message}]}, window.headers())
            return json_response(403, message, window.headers())
        return self._secondary(kind, window) if self._chance(self.faults.secondary) else None

    def _handle_rest(self, path: str, url: str, kind: str, window: Window, headers: Mapping[str, str]) -> Response:
        self._spend(SEARCH_SECONDS if kind == "search" else REST_SECONDS)
        if self._chance(self.faults.unavailable):
            return Response(502, HTML, {**window.headers(), "content-type": "text/html"})
        response = self._route_rest(path, dict(parse_qsl(urlsplit(url).query)), headers)
        if response.status == 304 and "authorization" in headers:  # without a token it counts
            window.used -= 1
        truncated = response.status == 200 and self._chance(self.faults.truncated)
        return Response(response.status, response.body, {**response.headers, **window.headers()}, truncated=truncated)

    def _route_rest(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        if path == "/search/repositories":
            return self._search(query, headers)
        parts = path.strip("/").split("/")
        if parts[0] == "repos" and len(parts) > 2:
            return self._repository("/".join(parts[1:3]), "/".join(parts[3:]), query, headers)
        if parts[0] == "repositories" and len(parts) == 2 and parts[1].isdigit():
            row = self.population.row_by_id.get(int(parts[1]))
            if row is not None and self.population.private[row] and not self._reads_private(headers):
                return not_found()
            return self._record(row if row is not None and self.population.exists[row] else None, headers)
        if parts[0] in ("users", "orgs") and len(parts) == 2:
            return json_response(200, (accounts.user if parts[0] == "users" else accounts.organization)(parts[1]))
        return not_found()

    def _repository(self, name: str, subresource: str, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        row = self.population.find(name)
        if row is None or (self.population.private[row] and not self._reads_private(headers)):
            return not_found()
        if subresource:
            return subresource_response(
                self.population,
                row,
                subresource,
                query,
                headers,
                now=self.clock.now,
                has_history=not self.faults.history_refused,
            )
        return self._redirect(row) if name.lower() in self.population.renamed else self._record(row, headers)

    def _reads_private(self, headers: Mapping[str, str]) -> bool:
        return self.tokens.get(headers.get("authorization", "").removeprefix("Bearer ")) == "owner"

    def _search(self, query: dict[str, str], headers: Mapping[str, str]) -> Response:
        page, size = int(query.get("page", 1)), min(int(query.get("per_page", 30)), 100)
        if page * size > MAX_RESULTS:
            only = "Only the first 1000 search results are available"
            return json_response(422, {"message": only, "documentation_url": DOCS})
        try:
            rows = self.index.find(query.get("q", ""))
        except RefusedError as error:
            errors = [{"resource": "Search", "field": "q", "code": "invalid", "message": str(error)}]
            return json_response(422, {"message": "Validation Failed", "errors": errors, "documentation_url": DOCS})
        shown = [int(row) for row in rows[(page - 1) * size : page * size]]
        incomplete, total = self._chance(self.faults.incomplete), len(rows)
        if incomplete:  # the search timed out and returns a part
            total = int(self._random.integers(total + 1)) if self._chance(0.5) else 0
            shown = shown[: max(total - (page - 1) * size, 0)]
        elif shown and self._chance(self.faults.dropped_row):
            shown.pop(int(self._random.integers(len(shown))))
        items = [self.population.record(row) for row in shown]
        return with_etag({"total_count": total, "incomplete_results": incomplete, "items": items}, headers)

    def _record(self, row: int | None, headers: Mapping[str, str]) -> Response:
        if row is None:
            return not_found()
        record = self.population.record(row)
        whole = {
            **record,
            "subscribers_count": int(self.population.subscribers[row]),
            "network_count": record["forks_count"],
        }
        return with_etag(whole, headers)

    def _redirect(self, row: int) -> Response:
        url = f"https://api.github.com/repositories/{self.population.id[row]}"
        body = {"message": "Moved Permanently", "url": url, "documentation_url": DOCS}
        return json_response(301, body, {"location": url})

    def _graphql(self, body: dict[str, Any], window: Window, token_state: str) -> Response:
        if token_state == "scopeless":
            message = "Resource not accessible by personal access token"
            return json_response(
                200, {"data": None, "errors": [{"type": "FORBIDDEN", "message": message}]}, window.headers()
            )
        if self._compute_limit.is_exceeded(self.clock.now):
            return self._secondary("graphql", window)
        try:
            data, run = graphql.execute(
                self.population, body["query"], body.get("variables") or {}, reads_private=token_state == "owner"
            )
        except (GraphQLError, KeyError) as error:
            return json_response(200, {"errors": [{"message": str(error)}]}, window.headers())
        window.take(self.clock.now, run.points)
        seconds = min(run.seconds, graphql.TIMEOUT)
        self._compute_limit.add(self.clock.now, seconds)
        self._spend(seconds)
        if run.seconds > graphql.TIMEOUT:
            message = "Something went wrong while executing your query. This may be the result of a timeout."
            failed = {"data": None, "errors": [{"message": message}]}
            return (
                json_response(502, failed, window.headers())
                if self._chance(0.8)
                else Response(504, HTML, window.headers())
            )
        errors = run.errors
        if isinstance(data.get("nodes"), list) and len(data["nodes"]) > 1 and self._chance(self.faults.partial):
            half = len(data["nodes"]) // 2
            data["nodes"][half:] = [None] * (len(data["nodes"]) - half)
            errors = [
                *errors,
                {"type": "RESOURCE_LIMITS_EXCEEDED", "message": "Resource limits for this query exceeded."},
            ]
        return json_response(200, {"data": data, **({"errors": errors} if errors else {})}, window.headers())

    def _secondary(self, kind: str, window: Window) -> Response:
        """Refuse in one of GitHub's variants."""
        if self.clock.now >= self.secondary_limit.until:
            self.secondary_limit.start(self.clock.now, 60)
        variant = int(self._random.integers(4 if kind == "graphql" else 3))
        seconds = str(max(int(self.secondary_limit.until - self.clock.now) + 1, 1))
        retry = {} if variant == 2 else {"retry-after": seconds}
        message = {"message": SECONDARY, "documentation_url": DOCS}
        return json_response((403, 429, 403, 200)[variant], message, {**window.headers(), **retry})

    def _rate_limits(self, *, known: bool) -> Response:
        resources = {}
        for name in ("core", "search", "graphql"):
            window = self.window(name, known=known)
            window.renew(self.clock.now)
            remaining = window.limit - window.used
            resources[name] = {
                "limit": window.limit,
                "used": window.used,
                "remaining": remaining,
                "reset": int(window.until),
            }
        return json_response(200, {"resources": resources, "rate": resources["core"]})

    def _change(self) -> None:
        """Sometimes delete a repository, rename another, and add a star to a third."""
        every = self.faults.changes_every
        if not every or self.counts.requests % every != every - 1:
            return
        gone, renamed, starred = (int(row) for row in self._random.integers(0, len(self.population), 3))
        self.population.exists[gone] = False
        self.population.rename(renamed)
        self.population.stars[starred] += 1
        self.index.clear()

    def _chance(self, probability: float) -> bool:
        return bool(probability) and bool(self._random.random() < probability)

    def _with_date(self, response: Response) -> Response:
        date = email.utils.formatdate(int(self.clock.now), usegmt=True)
        kind = {"content-type": "application/json; charset=utf-8"} if response.body[:1] != b"<" else {}
        return Response(response.status, response.body, {"date": date, **kind, **response.headers}, response.truncated)

    def _count(self, kind: str, request: str, response: Response) -> None:
        self.counts.by_kind[kind, response.status] += 1
        good = (
            response.status in (200, 304, 301, 404)
            and not response.truncated
            and b"rate limit" not in response.body[:200]
        )
        if request in self.counts.answered and kind != "core":
            self.counts.repeats.append(request)
        if not good or request in self.counts.answered:
            self.counts.wasted += 1
        if good:
            self.counts.answered.add(request)

    def _control(self, path: str, query: dict[str, str]) -> Response:
        """Let a client in another process read and advance the time."""
        if path == "/_sim/sleep":
            self.clock.sleep(float(query["s"]))
        return json_response(200, {"time": self.clock.time(), "repeats": len(self.counts.repeats)})
