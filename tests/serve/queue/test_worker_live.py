"""Live lookups over real sockets: every kind of response of GitHub, and none."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.features.ingest.user_input import METRICS_HINT
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.live import GithubLookup, LookupResult
from stargaze.store import Store
from tests.simulated.server import running
from tests.simulated.world import World
from tests.waiting import not_blocked

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ROW = {
    "id": 7,
    "node_id": "R_7",
    "full_name": "own/name",
    "private": False,
    "owner": {"login": "own", "type": "User", "id": 3},
    "created_at": "2020-01-01T00:00:00Z",
    "pushed_at": "2021-01-01T00:00:00Z",
    "updated_at": "2021-01-01T00:00:00Z",
    "stargazers_count": 500,
    "forks_count": 60,
    "open_issues_count": 4,
    "size": 900,
    "fork": False,
    "archived": False,
    "disabled": False,
}


class FakeGithub(ThreadingHTTPServer):
    """Responds to every path with the configured values and records the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.headers = 200, dict[str, Any](ROW), dict[str, str]()
        self.requests: list[tuple[str, str]] = []
        self.pause = 0.0

    @property
    def lookups(self) -> list[tuple[str, str]]:
        """The requests of repositories, without those of their contributors."""
        return [request for request in self.requests if "/contributors" not in request[0]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeGithub

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("if-none-match", "")))
        time.sleep(self.server.pause)
        same = self.headers.get("if-none-match") == '"e1"' and self.server.status == 200
        body = b"" if same else json.dumps(self.server.body).encode()
        self.send_response(304 if same else self.server.status)
        for name, value in ({"etag": '"e1"', "content-type": "application/json"} | self.server.headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def github() -> Iterator[FakeGithub]:
    with FakeGithub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def silent_server() -> Iterator[socket.socket]:
    """A socket that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def closed_port() -> str:
    """A port that no process listens on."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


class Clock:
    """A clock that a test sets ahead."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def create_lookup(bundle: Bundle, url: str, store: Store, token: str = "", clock: Clock | None = None) -> GithubLookup:
    """Return the lookup of a worker."""
    return GithubLookup(bundle, GithubRepositories(open_github(url, token, store, clock or Clock())))


def stars(result: LookupResult, name: str) -> float:
    """Return the stars of a repository."""
    return float(result.frame["stars"].iloc[result.rows[name]])


@pytest.mark.parametrize("token", ["good", ""])
def test_a_repository_has_githubs_present_values(bundle: Bundle, store: Store, token: str) -> None:
    world = World(200)
    world.population.rename(5)
    name = world.population.name(3)
    old = next(iter(world.population.renamed))
    world.population.exists[9] = False
    with running(world) as url:
        result = create_lookup(bundle, url, store, token).find([name, old, world.population.name(9)], datetime.now(UTC))

    assert stars(result, name.lower()) == world.population.stars[3]
    assert set(result.source.values()) == {"github"}
    assert result.notes[old] == [f"was renamed: you entered {old}"]
    assert result.errors.keys() == {world.population.name(9).lower()}
    assert "deleted or renamed, or is private" in result.errors[world.population.name(9).lower()]["message"]
    assert METRICS_HINT in result.errors[world.population.name(9).lower()]["hint"]
    assert world.counts.requests <= 6


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({}, []),
        ({"fork": True}, ["is a fork"]),
        ({"archived": True}, ["is archived"]),
        ({"size": 0}, ["is empty"]),
        ({"full_name": "new/name"}, ["was renamed: you entered own/name"]),
    ],
    ids=["plain", "fork", "archived", "empty", "renamed"],
)
def test_an_unusual_repository_has_a_note(
    bundle: Bundle, store: Store, github: FakeGithub, values: dict[str, Any], notes: list[str]
) -> None:
    github.body |= values

    result = create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    assert (result.errors, result.notes["own/name"]) == ({}, notes)
    assert stars(result, "own/name") == 500


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"message": "Not Found"}, "deleted or renamed, or is private"),
        (200, ROW | {"private": True}, "deleted or renamed, or is private"),
        (451, {"message": "Repository access blocked"}, "GitHub blocks access to it"),
        (403, {"message": "Repository access blocked"}, "GitHub blocks access to it"),
    ],
    ids=["deleted", "private", "legal", "blocked"],
)
def test_an_inaccessible_repository_is_an_error(
    bundle: Bundle, store: Store, github: FakeGithub, status: int, body: dict[str, Any], message: str
) -> None:
    github.status, github.body = status, body

    result = create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    assert result.rows == {}
    assert message in result.errors["own/name"]["message"]
    assert METRICS_HINT in result.errors["own/name"]["hint"]


def test_homepage_and_license_are_parsed_as_by_fetch(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    github.body |= {"homepage": "https://name.example", "license": {"key": "mit", "name": "MIT License"}}

    result = create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    assert result.frame[["has_homepage", "license"]].iloc[0].tolist() == [1.0, "mit"]


def test_a_private_repository_is_an_error_even_if_the_token_can_read_it(
    bundle: Bundle, store: Store, github: FakeGithub
) -> None:
    node = {"id": "R_7", "databaseId": 7, "nameWithOwner": "own/name", "stargazerCount": 5, "isPrivate": True}
    github.body = {"data": {"r0": node}}

    result = create_lookup(bundle, github.url, store, "good").find(["own/name"], NOW)

    assert result.rows == {}
    assert "or is private" in result.errors["own/name"]["message"]
    assert len(github.requests) == 1


def test_without_a_token_a_known_repository_costs_no_request(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    name = str(bundle.known["full_name"].iloc[0])

    result = create_lookup(bundle, github.url, store).find([name], NOW)

    assert (result.source, github.requests) == ({name.lower(): "bundle"}, [])


def test_values_that_github_lacks_come_from_the_known_record_with_its_date(
    bundle: Bundle, store: Store, github: FakeGithub
) -> None:
    known = bundle.known[bundle.known["contributors"].notna() & bundle.known["fetched_at"].notna()].iloc[0]
    github.body["full_name"] = known["full_name"]

    result = create_lookup(bundle, github.url, store).find(["old/name-of-it"], NOW)

    row = result.frame.iloc[result.rows["old/name-of-it"]]
    assert (row["stars"], row["contributors"]) == (500, known["contributors"])
    assert result.notes["old/name-of-it"][-1].endswith(f"are of {known['fetched_at'].date()}")


@pytest.mark.parametrize("token", ["good", ""])
def test_a_rate_limit_is_an_immediate_error_with_its_end(
    bundle: Bundle, store: Store, github: FakeGithub, token: str
) -> None:
    reset = int(time.time()) + 1_800
    github.status, github.body = 403, {"message": "API rate limit exceeded for user ID 1."}
    github.headers = {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
    known = str(bundle.known["full_name"].iloc[0])
    clock = Clock()
    lookup = create_lookup(bundle, github.url, store, token, clock)

    result = lookup.find(["own/name", known], NOW)
    clock.ahead = 120.0
    lookup.find(["own/name"], NOW)

    assert len(github.requests) == 1
    assert "rate limited by GitHub until " in result.errors["own/name"]["message"]
    assert result.errors["own/name"]["hint"] == METRICS_HINT
    assert result.source[known.lower()] == "bundle"
    if token:
        assert "rate limited by GitHub until " in result.notes[known.lower()][-1]
        assert "these are the values of" in result.notes[known.lower()][-1]


def test_a_secondary_rate_limit_is_a_rate_limit(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    github.status, github.body = 429, {"message": "You have exceeded a secondary rate limit."}
    github.headers = {"retry-after": "90"}

    result = create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    assert "rate limited by GitHub until " in result.errors["own/name"]["message"]


def test_an_unreachable_github_is_detected_in_seconds(
    bundle: Bundle, store: Store, closed_port: str, github: FakeGithub
) -> None:
    clock = Clock()
    lookup = create_lookup(bundle, closed_port, store, clock=clock)

    with not_blocked():
        result = lookup.find(["own/name", "own/other"], NOW)

    assert all("GitHub cannot be reached at the moment" in error["message"] for error in result.errors.values())
    assert {error["hint"] for error in result.errors.values()} == {METRICS_HINT}


def test_after_an_error_github_is_not_requested_for_a_minute(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    clock = Clock()
    lookup = create_lookup(bundle, github.url, store, clock=clock)
    github.status, github.body = 502, {}

    assert lookup.find(["own/name"], NOW).rows == {}
    github.status, github.body = 200, dict(ROW)
    assert lookup.find(["own/name"], NOW).rows == {}
    clock.ahead = 61.0

    assert lookup.find(["own/name"], NOW).source == {"own/name": "github"}
    assert len(github.lookups) == 2


@pytest.mark.real  # it waits for seconds
@pytest.mark.parametrize("token", ["good", ""])
def test_an_unresponsive_github_delays_only_one_batch(
    bundle: Bundle, store: Store, silent_server: socket.socket, token: str
) -> None:
    known = str(bundle.known["full_name"].iloc[0])
    url = f"http://127.0.0.1:{silent_server.getsockname()[1]}"
    lookup = create_lookup(bundle, url, store, token)

    with not_blocked():
        result = lookup.find(["own/name", "own/other", known], NOW)
    silent_server.settimeout(0.0)
    with contextlib.suppress(BlockingIOError):
        while True:
            silent_server.accept()[0].close()
    lookup.find(["own/name", "own/more"], NOW)

    with pytest.raises(BlockingIOError):
        silent_server.accept()  # it was not requested again
    assert result.source == {known.lower(): "bundle"}


@pytest.mark.real  # it waits for seconds
def test_a_slow_github_is_requested_only_within_the_time_of_a_batch(
    bundle: Bundle, store: Store, github: FakeGithub
) -> None:
    github.pause = 2.0

    result = create_lookup(bundle, github.url, store).find([f"own/name{number}" for number in range(9)], NOW)

    assert len(result.rows) <= 5
    assert len(result.rows) + len(result.errors) == 9


def test_a_cached_repository_is_revalidated_later_by_its_etag(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    clock = Clock()
    lookup = create_lookup(bundle, github.url, store, clock=clock)

    lookup.find(["own/name"], NOW)
    lookup.find(["Own/Name"], NOW)
    assert len(github.lookups) == 1
    clock.ahead = 601.0
    result = lookup.find(["own/name"], NOW)

    assert [etag for _, etag in github.lookups] == ["", '"e1"']
    assert stars(result, "own/name") == 500


def test_workers_share_the_cache(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    result = create_lookup(bundle, github.url, store).find(["own/name"], NOW)

    assert (len(github.lookups), stars(result, "own/name")) == (1, 500)


def test_cached_values_are_used_while_github_is_unreachable(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    clock = Clock()
    lookup = create_lookup(bundle, github.url, store, clock=clock)
    lookup.find(["own/name"], NOW)
    github.status, github.body, clock.ahead = 502, {}, 601.0

    result = lookup.find(["own/name"], NOW)

    assert stars(result, "own/name") == 500
    assert result.notes["own/name"][-1].startswith("GitHub cannot be reached at the moment: these are the values of")


def test_a_broken_cache_file_costs_only_a_request(bundle: Bundle, store: Store, github: FakeGithub) -> None:
    store.root.mkdir(parents=True)
    (store.root / "github_lookups.sqlite").write_text("not a database " * 100)

    assert create_lookup(bundle, github.url, store).find(["own/name"], NOW).source == {"own/name": "github"}
