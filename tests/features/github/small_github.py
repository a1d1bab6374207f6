"""A GitHub of a few thousand repositories in memory, behind the collector's own port: REST and the three queries."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stargaze.features.github.api import graphql
from stargaze.features.github.api.http_transport import Request, Response
from tests.features.github.conftest import NOW, FakeClock, answer

BEGIN = 1_300_000_000


def _day(second: int) -> str:
    return f"{datetime.fromtimestamp(second, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


class SmallGitHub:
    """Answers as GitHub does; tests change its repositories and its moods. ``asked`` holds every request."""

    def __init__(self, clock: FakeClock, count: int = 3_000, least: int = 10, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.clock = clock
        self.asked: list[str] = []
        self.too_heavy = 10**9
        """More repositories than that in one query are too many."""
        self.hopeless: set[int | str] = set()
        """Numbers and names of repositories that take too long alone."""
        self.refused: dict[int, list[tuple[str, str, str]]] = {}
        """By number: type and message of an error, and the field that has it, dotted; empty for the node itself."""
        self.gone: dict[str, int] = {}
        self.renamed: dict[str, str] = {}
        self.token = True
        self.odd: dict[str, Any] = {}
        """Stands in every search answer instead of what should."""
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
                np.floor(least * random.random(count) ** (-1 / 1.1)),
                random.integers(BEGIN, int(NOW) - 10, count),
                strict=True,
            )
        }

    @property
    def best(self) -> dict[str, Any]:
        """The most starred, to be changed."""
        return max(self.rows.values(), key=lambda row: int(row["stars"]))

    def send(self, ask: Request) -> Response:
        self.asked.append(_named(ask))
        self.clock.now += 0.5
        if ask.body is not None:
            return self._graphql(json.loads(ask.body))
        if ask.path == "/search/repositories":
            return self._search(str(ask.params["q"]), int(ask.params["page"]), ask)
        if ask.path == "/rate_limit":
            limits = {"search": 30, "core": 5000, "graphql": 5000}
            return self._ok({"resources": {name: {"limit": limit} for name, limit in limits.items()}})
        return self._one(ask)

    def _search(self, query: str, page: int, ask: Request) -> Response:
        rows = list(self.rows.values())
        for name in ("stars", "created"):
            match = re.search(rf"{name}:(\S+)", query)
            if match:
                low, high = _ends(match[1])
                rows = [row for row in rows if low <= row[name] <= high]
        language = re.search(r"language:(\w+)", query)
        rows = [row for row in rows if not language or row["language"].lower() == language[1].lower()]
        rows.sort(key=lambda row: (-row["stars"], row["id"] * 7919 % 10_007))
        if page > 10:
            return answer(422, {"message": "Only the first 1000 search results are available"})
        items = [rest(row) for row in rows[(page - 1) * 100 : page * 100]]
        return self._marked({"total_count": len(rows), "incomplete_results": False, "items": items, **self.odd}, ask)

    def _one(self, ask: Request) -> Response:
        match = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", ask.path)
        number = ask.path.rpartition("/repositories/")[2]
        if number.isdigit():
            return self._marked(rest(self.rows[int(number)]), ask)
        if match is None:
            return self._ok({"followers": 12})
        name, below = match[1], match[2] or ""
        row = next((row for row in self.rows.values() if row["name"] == self.renamed.get(name, name)), None)
        if name in self.gone or row is None:
            status = self.gone.get(name, 404)
            blocked = {"message": "Repository access blocked", "block": {"reason": "tos"}}
            return answer(status, blocked if status == 403 else {"message": "Not Found"}, date=self.clock.now)
        return self._moved(row) if name in self.renamed else self._below(row, below, ask)

    def _moved(self, row: dict[str, Any]) -> Response:
        where = f"https://api.github.com/repositories/{row['id']}"
        return answer(301, {"message": "Moved Permanently"}, date=self.clock.now, location=where)

    def _below(self, row: dict[str, Any], below: str, ask: Request) -> Response:
        if below == "/contributors":
            pages = ", ".join(
                f'<https://api.github.com/x?page={n}>; rel="{rel}"' for n, rel in ((2, "next"), (31, "last"))
            )
            return self._ok([{"login": "a"}], link=pages)
        if below == "/stargazers/history":
            return self._history(row, int(ask.params["page"]))
        return self._ok({"size": 4321}) if below else self._marked({**rest(row), "subscribers_count": 9}, ask)

    def _history(self, row: dict[str, Any], page: int) -> Response:
        if row["id"] % 5 == 0:
            return answer(403, {"message": "Star history is not available"}, date=self.clock.now)
        shown = range((page - 1) * 30, min(page * 30, 70))
        return self._ok([{"week": 1_757_203_200 - 604_800 * n, "total": 7, "days": [1] * 7} for n in shown])

    def _marked(self, record: dict[str, Any], ask: Request) -> Response:
        """Answer with an ETag, or that the earlier answer still holds."""
        etag = f'"{hash(json.dumps(record))}"'
        return answer(304, raw=b"", date=self.clock.now) if ask.etag == etag else self._ok(record, etag=etag)

    def _graphql(self, body: dict[str, Any]) -> Response:
        if not self.token:
            return answer(401, {"message": "Bad credentials"})
        variables = body["variables"]
        if body["query"] == graphql.ALIVE_QUERY:
            return self._alive()
        numbers = [self._number(node) for node in variables.get("ids", [])]
        names = (
            [f"{variables[f'o{n}']}/{variables[f'n{n}']}" for n in range(len(variables) // 2)] if not numbers else []
        )
        if len(numbers) + len(names) > self.too_heavy or {*numbers, *names} & self.hopeless:
            return _timeout()
        errors: list[dict[str, Any]] = []
        nodes: dict[str | int, Any] = {}
        by_name = {row["name"]: row for row in self.rows.values()}
        for place, key in enumerate(numbers or names):
            path = ["nodes", place] if numbers else [f"r{place}"]
            row = self.rows.get(key) if numbers else by_name.get(self.renamed.get(key, key))
            error = self._error(row, body["query"])
            if error:
                errors.append({**error, "path": [*path, *error["path"]]})
            nodes[path[-1]] = None if row is None or error else _node(row, body["query"])
        data: dict[str, Any] = {"nodes": list(nodes.values())} if numbers else dict(nodes)
        return self._ok({"data": data, **({"errors": errors} if errors else {})})

    def _error(self, row: dict[str, Any] | None, query: str) -> dict[str, Any] | None:
        """Return why a node is null: it is not there, or it is or has what is refused, and cannot be null itself."""
        if row is None or row["name"] in self.gone:
            return {"type": "NOT_FOUND", "path": [], "message": "Could not resolve"}
        for kind, message, field in self.refused.get(row["id"], []):
            path = field.split(".") if field else []
            if not path or path[-1] in query:
                return {"type": kind, "path": path, "message": message}
        return None

    def _alive(self) -> Response:
        """Count the example of the real GitHub's, which this one lacks, as an Enterprise server does."""
        error = {"type": "NOT_FOUND", "path": ["repository"], "message": "Could not resolve"}
        return self._ok({"data": {"repository": None}, "errors": [error]}) if self.too_heavy else _timeout()

    def _number(self, node: str) -> int:
        return int(base64.b64decode(node).decode().removeprefix("010:Repository"))

    def _ok(self, data: Any, **headers: str) -> Response:
        return answer(200, data, date=self.clock.now, **headers)


def _timeout() -> Response:
    return answer(502, {"data": None, "errors": [{"message": "Something went wrong: timeout"}]})


class Stops:
    """A way to GitHub that ends the program at one request, before it is sent or when it is answered."""

    def __init__(self, github: SmallGitHub, at: int, *, after: bool) -> None:
        self.github, self.at, self.after, self.count = github, at, after, 0

    def send(self, ask: Request) -> Response:
        self.count += 1
        if self.count > self.at and not self.after:
            raise KeyboardInterrupt
        answer = self.github.send(ask)
        if self.count > self.at:
            raise KeyboardInterrupt
        return answer


def _named(ask: Request) -> str:
    if ask.body is not None:
        return ask.body.decode()
    return f"{ask.path}?{'&'.join(f'{name}={value}' for name, value in ask.params.items())} {ask.etag}".strip()


def _ends(text: str) -> tuple[float, float]:
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
    """Return the row of a search."""
    return {
        "id": row["id"],
        "node_id": _id(row["id"]),
        "full_name": row["name"],
        "owner": {"login": row["name"].partition("/")[0], "id": 5, "type": _owner(row)},
        "description": "a thing",
        "created_at": _day(row["created"]),
        "updated_at": _day(int(NOW) - 50),
        "pushed_at": _day(int(NOW) - 100),
        "stargazers_count": row["stars"],
        "watchers_count": row["stars"],
        "forks_count": row["stars"] // 5,
        "open_issues_count": row["issues"] + 2,
        "language": row["language"],
        "topics": ["x", "y"],
        "license": {"key": "mit"},
    }


def _owner(row: dict[str, Any]) -> str:
    """Tell what the owner is: of those with a number, every other one is an organization."""
    number = row["name"].partition("/")[0].removeprefix("owner")
    return "Organization" if number.isdigit() and int(number) % 2 == 0 else "User"


def _node(row: dict[str, Any], query: str) -> dict[str, Any]:
    named = {"id": _id(row["id"]), "databaseId": row["id"], "nameWithOwner": row["name"]}
    if query.startswith("query Counts"):
        counts = {"watchers": 9, "releases": 3, "openIssues": row["issues"], "closedIssues": 4, "openPullRequests": 2}
        owner = {"followers" if _owner(row) == "User" else "membersWithRole": {"totalCount": 15}}
        readme = {"byteSize": row["readme"]} if row["readme"] else None
        lists = {name: {"totalCount": count} for name, count in counts.items()}
        return {**named, **lists, "readme": readme, "owner": owner}
    if query.startswith("query Commits"):
        return {**named, "defaultBranchRef": {"target": {"history": {"totalCount": row["id"] + 1}}}}
    core = {"createdAt": _day(row["created"]), "stargazerCount": row["stars"], "owner": {"__typename": _owner(row)}}
    return {**named, **core, "pushedAt": _day(int(NOW) - 100)}
