"""Repositories found on GitHub while a visitor waits, over HTTP to servers on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.github import FRESH, REST, NoWaitClock, github
from stargaze.serve.lookup.live import GithubLookup

NOW = datetime.now(UTC)  # the servers of the tests date their answers
ROW = {
    "id": 7,
    "node_id": "R_kgDO7",
    "full_name": "new/thing",
    "private": False,
    "owner": {"login": "new", "id": 3, "type": "User"},
    "description": "<script>alert(1)</script>",
    "fork": False,
    "created_at": "2020-01-01T00:00:00Z",
    "pushed_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "stargazers_count": 42,
    "forks_count": 5,
    "size": 10,
    "language": "Python",
    "open_issues_count": 3,
}
Reply = tuple[int, dict[str, str], Any]


@dataclass
class Answers:
    """What a small GitHub answers, by path; ``asked`` holds method, path and ETag of each request."""

    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    graphql: Callable[[dict[str, Any]], Any] = lambda _body: {"data": {}}

    def of(self, path: str, body: bytes) -> Reply:
        if path == "/graphql":
            return 200, {}, self.graphql(json.loads(body))
        return self.replies.get(path, (404, {}, {"message": "Not Found"}))


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def url(answers: Answers) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            etag = self.headers.get("If-None-Match", "")
            answers.asked.append((self.command, self.path, etag))
            status, headers, data = answers.of(self.path, body)
            if etag and headers.get("ETag") == etag:
                status, data = 304, None
            content = b"" if data is None else json.dumps(data).encode()
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@dataclass
class Hand:
    """A clock that the test moves."""

    now: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def bundle(bundle_folder: Any) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture
def live(bundle: Bundle, url: str, hand: Hand) -> GithubLookup:
    return GithubLookup(bundle, github(url, "", NoWaitClock(hand)), with_token=False)


def test_an_unknown_name_is_asked_of_github(live: GithubLookup, answers: Answers) -> None:
    answers.replies["/repos/new/thing"] = 200, {}, ROW

    found = live.find(["new/thing"], NOW)

    row = found.frame.iloc[found.rows["new/thing"]]
    assert (row["full_name"], row["stars"], row["forks"]) == ("new/thing", 42, 5)
    assert found.source == {"new/thing": "github"}
    assert found.remarks == {"new/thing": []}


def test_without_a_token_known_names_cost_no_question(live: GithubLookup, bundle: Bundle, answers: Answers) -> None:
    name = bundle.known["full_name"].iloc[3]

    found = live.find([name], NOW)

    assert (found.source[name.lower()], answers.asked) == ("known", [])


def test_a_renamed_repository_says_what_was_asked(live: GithubLookup, answers: Answers) -> None:
    answers.replies["/repos/old/name"] = 200, {}, ROW

    assert live.find(["old/name"], NOW).remarks["old/name"] == ["was renamed: you asked for old/name"]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"fork": True}, "is a fork"), ({"archived": True}, "is archived"), ({"size": 0}, "is empty")],
)
def test_what_a_visitor_may_not_expect_is_said(
    live: GithubLookup, answers: Answers, change: dict[str, Any], words: str
) -> None:
    answers.replies["/repos/new/thing"] = 200, {}, {**ROW, **change}

    assert words in live.find(["new/thing"], NOW).remarks["new/thing"]


def test_a_deleted_repository_is_told_so(live: GithubLookup) -> None:
    error = live.find(["gone/thing"], NOW).errors["gone/thing"]

    assert "no public repository of this name" in error["message"]
    assert "type its figures" in error["hint"]


def test_a_private_repository_looks_as_one_that_is_not_there(live: GithubLookup, answers: Answers) -> None:
    answers.replies["/repos/new/thing"] = 200, {}, {**ROW, "private": True}

    assert live.find(["new/thing"], NOW).errors == {
        "new/thing": {
            **live.find(["gone/thing"], NOW).errors["gone/thing"],
            "message": "new/thing: GitHub has no public repository of this name: it was deleted or renamed, or is private",
        }
    }


def test_an_answer_is_given_again_without_asking_and_later_asked_by_its_etag(
    live: GithubLookup, answers: Answers, hand: Hand
) -> None:
    answers.replies["/repos/new/thing"] = 200, {"ETag": 'W/"abc"'}, ROW

    live.find(["new/thing"], NOW)
    hand.now += FRESH - 1
    live.find(["new/thing"], NOW)
    assert len(answers.asked) == 1
    hand.now += 2
    again = live.find(["new/thing"], NOW)

    assert answers.asked[1] == ("GET", "/repos/new/thing", 'W/"abc"')
    assert again.frame.iloc[again.rows["new/thing"]]["stars"] == 42


def test_a_limit_is_told_with_its_end_and_nobody_waits(live: GithubLookup, answers: Answers, hand: Hand) -> None:
    headers = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(hand.now) + 900),
        "X-RateLimit-Resource": "core",
    }
    answers.replies["/repos/new/thing"] = 403, headers, {"message": "API rate limit exceeded for 127.0.0.1"}
    begun = time.monotonic()

    error = live.find(["new/thing"], NOW).errors["new/thing"]
    live.find(["new/other"], NOW)

    assert "GitHub limits us until" in error["message"]
    assert error["hint"] == "type its figures instead"
    assert len(answers.asked) == 1
    assert time.monotonic() - begun < 3


def test_github_out_of_reach_is_asked_once_a_minute(bundle: Bundle, hand: Hand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    live = GithubLookup(bundle, github(f"http://127.0.0.1:{port}", "", NoWaitClock(hand)), with_token=False)

    errors = [live.find([name], NOW).errors[name] for name in ("a/one", "a/two")]

    assert all("GitHub cannot be reached" in error["message"] for error in errors)
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0.2)
        live.find(["a/three"], NOW)
        with pytest.raises(TimeoutError):
            listener.accept()
        hand.now += REST + 1
        asking = threading.Thread(target=live.find, args=(["a/four"], NOW))
        asking.start()
        listener.settimeout(5.0)
        listener.accept()[0].close()
        asking.join()


@pytest.mark.real  # it waits for seconds
def test_a_github_that_never_answers_holds_nobody_for_long(bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        live = GithubLookup(
            bundle, github(f"http://127.0.0.1:{silent.getsockname()[1]}", "", NoWaitClock()), with_token=False
        )
        begun = time.monotonic()

        found = live.find(["a/one", "a/two", bundle.known["full_name"].iloc[0]], NOW)

    assert time.monotonic() - begun < 8
    assert set(found.errors) == {"a/one", "a/two"}
    assert len(found.rows) == 1


def graph(body: dict[str, Any]) -> Any:
    """Answer names and details as GitHub's GraphQL does."""
    node = {
        "id": "R_kgDO7",
        "databaseId": 7,
        "nameWithOwner": "new/thing",
        "createdAt": "2020-01-01T00:00:00Z",
        "pushedAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "stargazerCount": 42,
        "forkCount": 5,
        "owner": {"__typename": "User", "login": "new", "databaseId": 3},
    }
    if "ids" not in body["variables"]:
        names = [body["variables"][f"n{place}"] for place in range(len(body["variables"]) // 2)]
        data = {
            f"r{place}": {**node, "isPrivate": name == "secret"} if name != "gone" else None
            for place, name in enumerate(names)
        }
        lost = [place for place, name in enumerate(names) if name == "gone"]
        return {
            "data": data,
            "errors": [{"type": "NOT_FOUND", "path": [f"r{place}"], "message": "no"} for place in lost],
        }
    return {"data": {"nodes": [{**node, "releases": {"totalCount": 4}, "openIssues": {"totalCount": 2}}]}}


def test_with_a_token_all_is_asked_in_three_requests(bundle: Bundle, url: str, answers: Answers, hand: Hand) -> None:
    answers.graphql = graph
    live = GithubLookup(bundle, github(url, "a-token", NoWaitClock(hand)), with_token=True)

    found = live.find(["new/thing", "x/gone", "x/secret"], NOW)

    row = found.frame.iloc[found.rows["new/thing"]]
    assert (row["stars"], row["releases"], len(answers.asked)) == (42, 4, 3)
    assert found.errors["x/secret"]["message"].partition(":")[2] == found.errors["x/gone"]["message"].partition(":")[2]


def test_counts_that_github_does_not_tell_are_the_known_ones(
    bundle: Bundle, url: str, answers: Answers, hand: Hand
) -> None:
    known = bundle.known.iloc[3]
    row = {**ROW, "full_name": known["full_name"], "stargazers_count": 77}

    def half(body: dict[str, Any]) -> Any:
        if "ids" in body["variables"]:
            return {"data": {"nodes": [None]}}
        answer = graph(body)
        answer["data"]["r0"] |= {"nameWithOwner": row["full_name"], "stargazerCount": 77}
        return answer

    answers.graphql = half
    live = GithubLookup(bundle, github(url, "a-token", NoWaitClock(hand)), with_token=True)

    found = live.find([known["full_name"]], NOW)

    got = found.frame.iloc[found.rows[known["full_name"].lower()]]
    assert got["stars"] == 77
    assert got["contributors"] == known["contributors"]
    assert "counts that GitHub did not tell" in found.remarks[known["full_name"].lower()][0]
