"""Live lookups on GitHub, over HTTP to servers on loopback."""

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

import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup import github_repositories
from stargaze.serve.lookup.github_history import GithubStarHistories
from stargaze.serve.lookup.github_repositories import REPOSITORY, GithubRepositories
from stargaze.serve.lookup.github_requests import FAIR_TIME, LEAST_TIME, GithubRequests
from stargaze.serve.lookup.github_resource import MAX_AGE, NoWaitClock
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.lookup.pauses import BACKOFF
from tests.waiting import not_blocked

NOW = datetime.now(UTC)  # the fake servers date their responses
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
    "subscribers_count": 6,
}
CONTRIBUTORS = "/repos/new/thing/contributors?per_page=1&anon=true"
Reply = tuple[int, dict[str, str], Any]


@dataclass
class FakeGithub:
    """Replies of a small GitHub by path; ``requests`` holds method, path and ETag of each request."""

    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    graphql: Callable[[dict[str, Any]], Any] = lambda _body: {"data": {}}

    @property
    def lookups(self) -> list[tuple[str, str, str]]:
        """The requests of repositories, without those of their contributors."""
        return [request for request in self.requests if "/contributors" not in request[1]]

    def reply(self, path: str, body: bytes) -> Reply:
        if path == "/graphql":
            return 200, {}, self.graphql(json.loads(body))
        return self.replies.get(path, (404, {}, {"message": "Not Found"}))


@pytest.fixture
def fake_github() -> FakeGithub:
    return FakeGithub()


@pytest.fixture
def url(fake_github: FakeGithub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            etag = self.headers.get("If-None-Match", "")
            fake_github.requests.append((self.command, self.path, etag))
            status, headers, data = fake_github.reply(self.path, body)
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
class ManualClock:
    """A clock that the test sets."""

    now: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bundle(bundle_folder: Any) -> Bundle:
    return Bundle.load(bundle_folder)


def create_lookup(bundle: Bundle, url: str, clock: ManualClock, token: str = "") -> GithubLookup:
    """Return a lookup without a file for cache and rate limits."""
    return GithubLookup(bundle, GithubRepositories(GithubRequests(url, token, NoWaitClock(clock))))


@pytest.fixture
def lookup(bundle: Bundle, url: str, clock: ManualClock) -> GithubLookup:
    return create_lookup(bundle, url, clock)


def test_an_unknown_name_is_requested_from_github(lookup: GithubLookup, fake_github: FakeGithub) -> None:
    fake_github.replies["/repos/new/thing"] = 200, {}, ROW

    result = lookup.find(["new/thing"], NOW)

    row = result.frame.iloc[result.rows["new/thing"]]
    assert (row["full_name"], row["stars"], row["forks"]) == ("new/thing", 42, 5)
    assert result.source == {"new/thing": "github"}
    assert result.notes == {"new/thing": []}


def test_without_a_token_known_names_cost_no_request(
    lookup: GithubLookup, bundle: Bundle, fake_github: FakeGithub
) -> None:
    name = bundle.known["full_name"].iloc[3]

    result = lookup.find([name], NOW)

    assert (result.source[name.lower()], fake_github.requests) == ("bundle", [])


def test_a_renamed_repository_has_a_note(lookup: GithubLookup, fake_github: FakeGithub) -> None:
    fake_github.replies["/repos/old/name"] = 200, {}, ROW

    assert lookup.find(["old/name"], NOW).notes["old/name"] == ["was renamed: you entered old/name"]


@pytest.mark.parametrize(
    ("change", "note"),
    [({"fork": True}, "is a fork"), ({"archived": True}, "is archived"), ({"size": 0}, "is empty")],
)
def test_unusual_repositories_have_a_note(
    lookup: GithubLookup, fake_github: FakeGithub, change: dict[str, Any], note: str
) -> None:
    fake_github.replies["/repos/new/thing"] = 200, {}, {**ROW, **change}

    assert note in lookup.find(["new/thing"], NOW).notes["new/thing"]


def test_a_deleted_repository_is_an_error(lookup: GithubLookup) -> None:
    error = lookup.find(["gone/thing"], NOW).errors["gone/thing"]

    assert "no public repository of this name" in error["message"]
    assert "enter its metrics" in error["hint"]


def test_a_private_repository_looks_like_a_missing_one(lookup: GithubLookup, fake_github: FakeGithub) -> None:
    fake_github.replies["/repos/new/thing"] = 200, {}, {**ROW, "private": True}

    assert lookup.find(["new/thing"], NOW).errors == {
        "new/thing": {
            **lookup.find(["gone/thing"], NOW).errors["gone/thing"],
            "message": "new/thing: GitHub has no public repository of this name: it was deleted or renamed, or is private",
        }
    }


def test_a_reply_is_cached_and_later_revalidated_by_its_etag(
    lookup: GithubLookup, fake_github: FakeGithub, clock: ManualClock
) -> None:
    fake_github.replies["/repos/new/thing"] = 200, {"ETag": 'W/"abc"'}, ROW

    lookup.find(["new/thing"], NOW)
    clock.now += MAX_AGE - 1
    lookup.find(["new/thing"], NOW)
    assert len(fake_github.lookups) == 1
    clock.now += 2
    again = lookup.find(["new/thing"], NOW)

    assert fake_github.lookups[1] == ("GET", "/repos/new/thing", 'W/"abc"')
    assert again.frame.iloc[again.rows["new/thing"]]["stars"] == 42


def test_a_rate_limit_is_an_error_with_its_end_and_nobody_waits(
    lookup: GithubLookup, fake_github: FakeGithub, clock: ManualClock
) -> None:
    headers = {
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(clock.now) + 900),
        "X-RateLimit-Resource": "core",
    }
    fake_github.replies["/repos/new/thing"] = 403, headers, {"message": "API rate limit exceeded for 127.0.0.1"}

    with not_blocked():
        error = lookup.find(["new/thing"], NOW).errors["new/thing"]
        lookup.find(["new/other"], NOW)

    assert "rate limited by GitHub until" in error["message"]
    assert error["hint"] == "enter its metrics instead"
    assert len(fake_github.requests) == 1


def test_an_unreachable_github_is_tried_once_a_minute(bundle: Bundle, clock: ManualClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    lookup = create_lookup(bundle, f"http://127.0.0.1:{port}", clock)

    errors = [lookup.find([name], NOW).errors[name] for name in ("a/one", "a/two")]

    assert all("GitHub cannot be reached" in error["message"] for error in errors)
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0.2)
        lookup.find(["a/three"], NOW)
        with pytest.raises(TimeoutError):
            listener.accept()
        clock.now += BACKOFF + 1
        thread = threading.Thread(target=lookup.find, args=(["a/four"], NOW))
        thread.start()
        listener.settimeout(5.0)
        listener.accept()[0].close()
        thread.join()


@pytest.mark.real  # it waits for seconds
def test_a_github_that_never_answers_does_not_block(bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        lookup = create_lookup(bundle, f"http://127.0.0.1:{silent.getsockname()[1]}", ManualClock())
        with not_blocked():
            result = lookup.find(["a/one", "a/two", bundle.known["full_name"].iloc[0]], NOW)

    assert set(result.errors) == {"a/one", "a/two"}
    assert len(result.rows) == 1


def graphql_reply(body: dict[str, Any]) -> Any:
    """Reply to queries of names and details as GitHub's GraphQL does."""
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


@pytest.mark.thorough  # it waits for a deadline
@pytest.mark.parametrize("token", ["", "a-token"])
def test_a_reply_after_the_deadline_answers_the_next_visitor(
    bundle: Bundle,
    url: str,
    fake_github: FakeGithub,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    token: str,
) -> None:
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", LEAST_TIME + 0.2)
    responds = threading.Event()
    reply = fake_github.reply

    def wait_and_reply(path: str, body: bytes) -> Reply:
        responds.wait(20)
        return reply(path, body)

    fake_github.replies["/repos/new/thing"] = 200, {}, ROW
    fake_github.graphql = graphql_reply
    monkeypatch.setattr(fake_github, "reply", wait_and_reply)
    lookup = create_lookup(bundle, url, clock, token)
    key = f"{REPOSITORY} new/thing"

    first = lookup.find(["new/thing"], NOW)
    requested = len(fake_github.requests)
    responds.set()
    end = time.monotonic() + 20
    while not lookup.github.requests.cached({key: 600}) and time.monotonic() < end:
        time.sleep(0.02)
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 60.0)
    second = lookup.find(["new/thing"], NOW)

    assert "GitHub did not respond in time" in first.errors["new/thing"]["message"]
    assert requested == 1
    assert second.frame.iloc[second.rows["new/thing"]]["stars"] == 42
    paths = [path for _, path, _ in fake_github.lookups]
    assert paths == (["/graphql"] * 3 if token else ["/repos/new/thing"])


@pytest.mark.thorough  # it waits for a deadline
def test_counts_that_are_late_are_missing_and_those_of_others_are_requested(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", FAIR_TIME + 1.0)
    responds = threading.Event()

    def wait_and_reply(body: dict[str, Any]) -> Any:
        if "ids" in body["variables"]:
            responds.wait(20)
        return graphql_reply(body)

    fake_github.graphql = wait_and_reply
    lookup = create_lookup(bundle, url, clock, "a-token")

    late = lookup.find(["new/thing"], NOW)
    responds.set()
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 60.0)
    other = lookup.find(["new/other"], NOW)

    assert not late.errors
    assert late.frame["stars"].tolist() == other.frame["stars"].tolist() == [42]
    assert pd.isna(late.frame["open_issues"].iloc[0])
    assert other.frame["open_issues"].tolist() == [2]


def test_the_reason_of_a_missing_history_is_that_of_the_missing_record(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = 403, {"Retry-After": "1800"}, {"message": "You have exceeded a secondary rate limit"}
    monkeypatch.setattr(fake_github, "reply", lambda _path, _body: limited)
    lookup = create_lookup(bundle, url, clock, "a-token")
    name = bundle.known["full_name"].iloc[0]

    result = lookup.find([name], NOW)
    history = GithubStarHistories(lookup.github).fetch([name])[name.lower()]

    assert result.notes[name.lower()][-1].startswith(history.reason)
    assert history.reason.startswith("rate limited by GitHub until ")


def test_with_a_token_all_names_take_three_queries(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock
) -> None:
    fake_github.graphql = graphql_reply
    lookup = create_lookup(bundle, url, clock, "a-token")

    result = lookup.find(["new/thing", "x/gone", "x/secret"], NOW)

    row = result.frame.iloc[result.rows["new/thing"]]
    assert (row["stars"], row["releases"], len(fake_github.lookups)) == (42, 4, 3)
    assert (
        result.errors["x/secret"]["message"].partition(":")[2] == result.errors["x/gone"]["message"].partition(":")[2]
    )


def test_many_names_are_queried_in_parts(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_repositories, "QUERY_SIZE", 4)
    sizes = []

    def count_names(body: dict[str, Any]) -> Any:
        if "ids" not in body["variables"]:
            sizes.append(len(body["variables"]) // 2)
        return graphql_reply(body)

    fake_github.graphql = count_names

    result = create_lookup(bundle, url, clock, "a-token").find([f"x/name{number}" for number in range(9)], NOW)

    assert (sorted(sizes), len(result.rows)) == ([1, 4, 4], 9)


def test_missing_counts_are_filled_from_the_bundle(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock
) -> None:
    known = bundle.known.iloc[3]
    row = {**ROW, "full_name": known["full_name"], "stargazers_count": 77}

    def incomplete(body: dict[str, Any]) -> Any:
        if "ids" in body["variables"]:
            return {"data": {"nodes": [None]}}
        answer = graphql_reply(body)
        answer["data"]["r0"] |= {"nameWithOwner": row["full_name"], "stargazerCount": 77}
        return answer

    fake_github.graphql = incomplete
    lookup = create_lookup(bundle, url, clock, "a-token")

    result = lookup.find([known["full_name"]], NOW)

    got = result.frame.iloc[result.rows[known["full_name"].lower()]]
    assert got["stars"] == 77
    assert got["contributors"] == known["contributors"]
    assert "counts that GitHub did not return" in result.notes[known["full_name"].lower()][0]


@pytest.mark.parametrize(
    ("reply", "contributors"),
    [
        (
            (
                200,
                {
                    "Link": '<https://api.github.com/x?page=2>; rel="next", <https://api.github.com/x?page=57>; rel="last"'
                },
                [{}],
            ),
            57,
        ),
        ((200, {}, [{"login": "new"}]), 1),
        ((204, {}, None), 0),
        (
            (403, {}, {"message": "The history or contributor list is too large to list contributors via the API."}),
            None,
        ),
        ((502, {}, {"message": "Server Error"}), None),
        ((200, {}, {"unexpected": 1}), None),
    ],
    ids=["many", "one", "empty repository", "too many", "fault", "malformed"],
)
@pytest.mark.parametrize("token", ["", "a-token"])
def test_contributors_take_one_request_and_are_missing_if_github_does_not_count_them(
    bundle: Bundle,
    url: str,
    fake_github: FakeGithub,
    clock: ManualClock,
    reply: Reply,
    contributors: int | None,
    token: str,
) -> None:
    fake_github.graphql = graphql_reply
    fake_github.replies = {"/repos/new/thing": (200, {}, ROW), CONTRIBUTORS: reply}

    result = create_lookup(bundle, url, clock, token).find(["new/thing"], NOW)

    value = result.frame.iloc[result.rows["new/thing"]]["contributors"]
    assert (None if pd.isna(value) else value) == contributors
    assert [path for _, path, _ in fake_github.requests].count(CONTRIBUTORS) == 1


def test_a_repository_without_contributors_holds_back_no_other_one_but_three_in_a_row_do(
    lookup: GithubLookup, fake_github: FakeGithub, clock: ManualClock
) -> None:
    names = [f"new/thing{number}" for number in range(5)]
    for name in names:
        fake_github.replies[f"/repos/{name}"] = 200, {}, {**ROW, "full_name": name}
        fake_github.replies[CONTRIBUTORS.replace("new/thing", name)] = 502, {}, {"message": "Server Error"}

    results = [lookup.find([name], NOW) for name in (names[0], *names)]

    requested = [path for _, path, _ in fake_github.requests if "/contributors" in path]
    assert requested == [CONTRIBUTORS.replace("new/thing", name) for name in names[:3]]
    assert all(len(result.rows) == 1 for result in results)
    (note,) = results[-1].notes[names[-1]]
    assert note == "the number of contributors is missing: GitHub cannot be reached at the moment"


def test_what_was_received_before_a_failure_is_used(lookup: GithubLookup, fake_github: FakeGithub) -> None:
    fake_github.replies = {"/repos/new/thing": (200, {}, ROW), "/repos/new/bad": (502, {}, {"message": "Server Error"})}

    result = lookup.find(["new/thing", "new/bad"], NOW)

    row = result.frame.iloc[result.rows["new/thing"]]
    assert (row["forks"], row["subscribers"], row["open_issues"]) == (5, 6, 3)
    assert result.errors["new/bad"]["code"] == "github_unavailable"


@pytest.mark.parametrize("value", [-5, "many", 1e300])
def test_an_impossible_value_is_an_error_with_a_code(lookup: GithubLookup, fake_github: FakeGithub, value: Any) -> None:
    fake_github.replies["/repos/new/thing"] = 200, {}, {**ROW, "forks_count": value}

    assert lookup.find(["new/thing"], NOW).errors["new/thing"]["code"] == "invalid_github_data"


@pytest.mark.parametrize("value", [-5, "many"])
def test_the_bundle_answers_for_a_known_repository_whose_values_from_github_are_impossible(
    bundle: Bundle, url: str, fake_github: FakeGithub, clock: ManualClock, value: Any
) -> None:
    known, unknown = bundle.known["full_name"].iloc[3], "new/thing"

    def impossible(body: dict[str, Any]) -> Any:
        answer = graphql_reply(body)
        if "ids" not in body["variables"]:
            answer["data"]["r0"] |= {"nameWithOwner": known, "forkCount": value}
            answer["data"]["r1"] |= {"forkCount": value}
        else:
            answer["data"]["nodes"][0].pop("forkCount")
        return answer

    fake_github.graphql = impossible

    result = create_lookup(bundle, url, clock, "a-token").find([known, unknown], NOW)

    assert result.source[known.lower()] == "bundle"
    assert result.frame.iloc[result.rows[known.lower()]]["full_name"] == known
    assert "the values from GitHub are invalid: these are the values of" in result.notes[known.lower()][-1]
    assert result.errors[unknown]["code"] == "invalid_github_data"


@pytest.mark.parametrize(
    "reply",
    [
        (302, {"Location": "http://login.example/"}, {"message": "Found"}),
        (403, {}, {"message": "Request forbidden by administrative rules"}),
        (418, {}, {"message": "I'm a teapot"}),
    ],
)
def test_a_refusal_by_a_proxy_does_not_mean_that_there_is_no_such_repository(
    lookup: GithubLookup, fake_github: FakeGithub, reply: Reply
) -> None:
    fake_github.replies["/repos/new/thing"] = reply

    refused = lookup.find(["new/thing"], NOW).errors["new/thing"]
    fake_github.replies["/repos/new/thing"] = 200, {}, ROW
    after = lookup.find(["new/thing"], NOW)

    assert refused["code"] == "github_unavailable"
    assert after.rows
