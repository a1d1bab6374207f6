"""A GitHub of a few thousand repositories in memory, used as the client's transport: REST and the three queries."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stargaze.features.github.api import graphql
from stargaze.features.github.api.http_transport import Request, Response
from tests.features.github.conftest import NOW, FakeClock, make_response

BEGIN = 1_300_000_000


def _format_time(second: int) -> str:
    return f"{datetime.fromtimestamp(second, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


class SmallGitHub:
    """Responds as GitHub does; tests change its repositories and its faults. ``requests`` holds every request as text."""

    def __init__(self, clock: FakeClock, count: int = 3_000, min_stars: int = 10, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.clock = clock
        self.requests: list[str] = []
        self.too_heavy = 10**9
        """A query of more repositories than this times out."""
        self.hopeless: set[int | str] = set()
        """Ids and names of repositories whose query times out even alone."""
        self.refused: dict[int, list[tuple[str, str, str]]] = {}
        """By id: type and message of an error, and the dotted field that it concerns; empty for the node itself."""
        self.gone: dict[str, int] = {}
        self.renamed: dict[str, str] = {}
        self.token = True
        self.search_override: dict[str, Any] = {}
        """Overrides these keys of every search response."""
        self.rows = {
            number: {
                "id": number,
                "stars": int(stars),
                "created": int(moment),
                "name": f"owner{number % 97}/name{number}",
                "issues": int(number % 50),
                "language": ["Python", "Rust", "C"][number % 3],
                "readme": 77,
            }
            for number, stars, moment in zip(
                range(1, count + 1),
                np.floor(min_stars * random.random(count) ** (-1 / 1.1)),
                random.integers(BEGIN, int(NOW) - 10, count),
                strict=True,
            )
        }

    @property
    def best(self) -> dict[str, Any]:
        """The row of the repository with the most stars, which a test may change."""
        return max(self.rows.values(), key=lambda row: int(row["stars"]))

    def send(self, request: Request) -> Response:
        self.requests.append(_describe(request))
        self.clock.now += 0.5
        if request.body is not None:
            return self._graphql(json.loads(request.body))
        if request.path == "/search/repositories":
            return self._search(str(request.params["q"]), int(request.params["page"]), request)
        if request.path == "/rate_limit":
            limits = {"search": 30, "core": 5000, "graphql": 5000}
            return self._ok({"resources": {name: {"limit": limit} for name, limit in limits.items()}})
        return self._resource(request)

    def _search(self, query: str, page: int, request: Request) -> Response:
        rows = list(self.rows.values())
        for name in ("stars", "created"):
            match = re.search(rf"{name}:(\S+)", query)
            if match:
                low, high = _parse_range(match[1])
                rows = [row for row in rows if low <= row[name] <= high]
        language = re.search(r"language:(\w+)", query)
        rows = [row for row in rows if not language or row["language"].lower() == language[1].lower()]
        rows.sort(key=lambda row: (-row["stars"], row["id"] * 7919 % 10_007))
        if page > 10:
            return make_response(422, {"message": "Only the first 1000 search results are available"})
        items = [rest(row) for row in rows[(page - 1) * 100 : page * 100]]
        return self._with_etag(
            {"total_count": len(rows), "incomplete_results": False, "items": items, **self.search_override}, request
        )

    def _resource(self, request: Request) -> Response:
        match = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", request.path)
        number = request.path.rpartition("/repositories/")[2]
        if number.isdigit():
            return self._with_etag(rest(self.rows[int(number)]), request)
        if match is None:
            return self._ok({"followers": 12})
        name, suffix = match[1], match[2] or ""
        row = next((row for row in self.rows.values() if row["name"] == self.renamed.get(name, name)), None)
        if name in self.gone or row is None:
            status = self.gone.get(name, 404)
            blocked = {"message": "Repository access blocked", "block": {"reason": "tos"}}
            return make_response(status, blocked if status == 403 else {"message": "Not Found"}, date=self.clock.now)
        return self._redirect(row) if name in self.renamed else self._subresource(row, suffix, request)

    def _redirect(self, row: dict[str, Any]) -> Response:
        location = f"https://api.github.com/repositories/{row['id']}"
        return make_response(301, {"message": "Moved Permanently"}, date=self.clock.now, location=location)

    def _subresource(self, row: dict[str, Any], suffix: str, request: Request) -> Response:
        if suffix == "/contributors":
            pages = ", ".join(
                f'<https://api.github.com/x?page={n}>; rel="{rel}"' for n, rel in ((2, "next"), (31, "last"))
            )
            return self._ok([{"login": "a"}], link=pages)
        if suffix == "/stargazers/history":
            return self._history(row, int(request.params["page"]))
        return self._ok({"size": 4321}) if suffix else self._with_etag({**rest(row), "subscribers_count": 9}, request)

    def _history(self, row: dict[str, Any], page: int) -> Response:
        if row["id"] % 5 == 0:
            return make_response(403, {"message": "Star history is not available"}, date=self.clock.now)
        shown = range((page - 1) * 30, min(page * 30, 70))
        return self._ok([{"week": 1_757_203_200 - 604_800 * n, "total": 7, "days": [1] * 7} for n in shown])

    def _with_etag(self, record: dict[str, Any], request: Request) -> Response:
        """Return the record with an ETag, or 304 if the request has the same ETag."""
        etag = f'"{hash(json.dumps(record))}"'
        return make_response(304, raw=b"", date=self.clock.now) if request.etag == etag else self._ok(record, etag=etag)

    def _graphql(self, body: dict[str, Any]) -> Response:
        if not self.token:
            return make_response(401, {"message": "Bad credentials"})
        variables = body["variables"]
        if body["query"] == graphql.ALIVE_QUERY:
            return self._health()
        numbers = [self._number(node) for node in variables.get("ids", [])]
        names = (
            [f"{variables[f'o{n}']}/{variables[f'n{n}']}" for n in range(len(variables) // 2)] if not numbers else []
        )
        if len(numbers) + len(names) > self.too_heavy or {*numbers, *names} & self.hopeless:
            return _timeout()
        errors: list[dict[str, Any]] = []
        nodes: dict[str | int, Any] = {}
        by_name = {row["name"]: row for row in self.rows.values()}
        for index, key in enumerate(numbers or names):
            path = ["nodes", index] if numbers else [f"r{index}"]
            row = self.rows.get(key) if numbers else by_name.get(self.renamed.get(key, key))
            error = self._error(row, body["query"])
            if error:
                errors.append({**error, "path": [*path, *error["path"]]})
            nodes[path[-1]] = None if row is None or error else _node(row, body["query"])
        data: dict[str, Any] = {"nodes": list(nodes.values())} if numbers else dict(nodes)
        return self._ok({"data": data, **({"errors": errors} if errors else {})})

    def _error(self, row: dict[str, Any] | None, query: str) -> dict[str, Any] | None:
        """Return the error that makes a node null: it does not exist, it is refused, or a non-null field below it is refused."""
        if row is None or row["name"] in self.gone:
            return {"type": "NOT_FOUND", "path": [], "message": "Could not resolve"}
        for kind, message, field in self.refused.get(row["id"], []):
            path = field.split(".") if field else []
            if not path or path[-1] in query:
                return {"type": kind, "path": path, "message": message}
        return None

    def _health(self) -> Response:
        """Respond to the health query as an Enterprise server without the example repository."""
        error = {"type": "NOT_FOUND", "path": ["repository"], "message": "Could not resolve"}
        return self._ok({"data": {"repository": None}, "errors": [error]}) if self.too_heavy else _timeout()

    def _number(self, node: str) -> int:
        return int(base64.b64decode(node).decode().removeprefix("010:Repository"))

    def _ok(self, data: Any, **headers: str) -> Response:
        return make_response(200, data, date=self.clock.now, **headers)


def _timeout() -> Response:
    return make_response(502, {"data": None, "errors": [{"message": "Something went wrong: timeout"}]})


class InterruptingTransport:
    """A transport that interrupts the program at one request, before it is sent or after its response."""

    def __init__(self, github: SmallGitHub, at: int, *, after: bool) -> None:
        self.github, self.at, self.after, self.count = github, at, after, 0

    def send(self, request: Request) -> Response:
        self.count += 1
        if self.count > self.at and not self.after:
            raise KeyboardInterrupt
        response = self.github.send(request)
        if self.count > self.at:
            raise KeyboardInterrupt
        return response


def _describe(request: Request) -> str:
    if request.body is not None:
        return request.body.decode()
    return (
        f"{request.path}?{'&'.join(f'{name}={value}' for name, value in request.params.items())} {request.etag}".strip()
    )


def _parse_range(text: str) -> tuple[float, float]:
    if text.startswith(">="):
        return float(text[2:]), np.inf
    parts = text.split("..")
    values = [
        float(part) if part.isdigit() else datetime.fromisoformat(part).timestamp() for part in (parts[0], parts[-1])
    ]
    return values[0], values[1]


def _id(number: int) -> str:
    return base64.b64encode(f"010:Repository{number}".encode()).decode()


def rest(row: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the REST API."""
    return {
        "id": row["id"],
        "node_id": _id(row["id"]),
        "full_name": row["name"],
        "owner": {"login": row["name"].partition("/")[0], "id": 5, "type": _owner_type(row)},
        "description": "a thing",
        "created_at": _format_time(row["created"]),
        "updated_at": _format_time(int(NOW) - 50),
        "pushed_at": _format_time(int(NOW) - 100),
        "stargazers_count": row["stars"],
        "watchers_count": row["stars"],
        "forks_count": row["stars"] // 5,
        "open_issues_count": row["issues"] + 2,
        "language": row["language"],
        "topics": ["x", "y"],
        "license": {"key": "mit"},
    }


def _owner_type(row: dict[str, Any]) -> str:
    """Return the type of the owner: even-numbered owners are organizations."""
    number = row["name"].partition("/")[0].removeprefix("owner")
    return "Organization" if number.isdigit() and int(number) % 2 == 0 else "User"


def _node(row: dict[str, Any], query: str) -> dict[str, Any]:
    named = {"id": _id(row["id"]), "databaseId": row["id"], "nameWithOwner": row["name"]}
    if query.startswith("query Counts"):
        counts = {"watchers": 9, "releases": 3, "openIssues": row["issues"], "closedIssues": 4, "openPullRequests": 2}
        owner = {"followers" if _owner_type(row) == "User" else "membersWithRole": {"totalCount": 15}}
        readme = {"byteSize": row["readme"]} if row["readme"] else None
        lists = {name: {"totalCount": count} for name, count in counts.items()}
        return {**named, **lists, "readme": readme, "owner": owner}
    if query.startswith("query Readmes"):
        text = f"# Tool {row['id']}\n![badge](https://ci.test/b.svg)\nReads logs. " + "More. " * 5_000
        return {**named, "readme": {"byteSize": row["readme"], "text": text} if row["readme"] else None}
    if query.startswith("query Commits"):
        return {**named, "defaultBranchRef": {"target": {"history": {"totalCount": row["id"] + 1}}}}
    core = {
        "createdAt": _format_time(row["created"]),
        "stargazerCount": row["stars"],
        "owner": {"__typename": _owner_type(row)},
    }
    return {**named, **core, "pushedAt": _format_time(int(NOW) - 100)}
