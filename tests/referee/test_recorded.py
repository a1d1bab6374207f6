"""The client parses or obeys responses that were recorded from GitHub, 2012 to 2026, replayed over HTTP."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pandas as pd
import pytest

from stargaze.config import FetchSection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import USER_AGENT, HttpTransport, Response
from stargaze.features.github.api.rate_limit import classify_response
from stargaze.features.ingest.fetch_counts import FetchCounts
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.write_repositories import batch_rows, write_repositories
from stargaze.store import Store
from tests.features.github.conftest import FakeClock
from tests.referee.recorded import Exchange, exchanges
from tests.referee.replay import Replay, replaying

pytestmark = pytest.mark.referee

TOKEN = "ghp_not-a-real-token"


def recorded_in(file: str) -> list[Exchange]:
    recorded = [exchange for exchange in exchanges() if exchange.file == file]
    assert recorded, file
    return recorded


def make_client(server: Replay, clock: FakeClock) -> Client:
    return Client(HttpTransport(server.url, TOKEN, clock), clock)


def with_status(status: int) -> list[Exchange]:
    return [exchange for exchange in exchanges() if exchange.status == status and exchange.method == "GET"]


def test_all_published_recordings_are_read() -> None:
    assert len(exchanges()) > 3_400
    assert Counter(exchange.status for exchange in exchanges())[304] >= 28


def test_every_recorded_repository_is_mapped_and_valid(store: Store, clock: FakeClock) -> None:
    """The fields differ between 2012 and 2026; records from before GitHub had stars are rejected."""
    recorded = [exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200]
    with replaying(recorded) as server:
        client = make_client(server, clock)
        rows = [(0, position, map_record(client.get(exchange.path).data)) for position, exchange in enumerate(recorded)]
    counts = FetchCounts([store.github_cache], records=Counter({0: len(rows)}))
    now = datetime.now(UTC)
    summary = write_repositories(batch_rows(rows), counts, FetchSection(), store, now, lambda _step, _fraction: None)
    assert len(recorded) > 380
    assert summary.records == len(recorded)
    starless = [position for _, position, row in rows if "stars" not in row]
    assert [position for _, position, _ in summary.invalid] == starless
    assert all(b"stargazers_count" not in recorded[position].body for position in starless)
    table = pd.read_parquet(store.repositories)
    assert 50 < len(table) <= len({row["id"] for _, _, row in rows if "stars" in row})
    assert table[["id", "stars", "created_at", "owner_type"]].notna().all(axis=None)


def test_every_search_page_is_read(clock: FakeClock) -> None:
    pages = [exchange for exchange in exchanges() if exchange.path.startswith("/search/repositories")]
    with replaying(pages) as server:
        responses = [make_client(server, clock).get("/search/repositories", {"q": "x"}).data for _ in pages]
    assert [len(page["items"]) for page in responses] == [30, 30, 0, 8, 8]
    rows = [map_record(item) for page in responses for item in page["items"]]
    assert all(row["stars"] >= 0 and row["id"] for row in rows)


REDIRECTS = [
    "Repository.testGetRepositoryWith301Redirect.txt",
    "PullRequest2408.setUp.txt",
    "Repository_license.json",
    "Repository_stargazers.json",
]


@pytest.mark.parametrize("file", REDIRECTS)
def test_a_renamed_repository_is_followed_to_its_record(file: str, clock: FakeClock) -> None:
    moved = next(exchange for exchange in recorded_in(file) if exchange.status == 301)
    target = next(exchange for exchange in recorded_in(file) if exchange.status == 200 and exchange.is_repository)
    with replaying([moved, target]) as server:
        reply = make_client(server, clock).get(moved.path)
    assert map_record(reply.data)["full_name"]
    assert server.requests[1][1].startswith("/repositories/")
    assert server.requests[1][2]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("file", ["Requester.testBaseUrlHostRedirection.txt", "PublicReleaseAsset.testDownload.txt"])
def test_a_redirect_to_another_server_is_not_followed_and_gets_no_token(file: str, clock: FakeClock) -> None:
    """The other server is replaced by one on loopback, which receives no request."""
    moved = next(exchange for exchange in recorded_in(file) if exchange.status in rate_limit.REDIRECT_STATUS)
    target = urlsplit(moved.headers["location"])
    with replaying([]) as other:
        location = target._replace(scheme="http", netloc=urlsplit(other.url).netloc).geturl()
        moved = dataclasses.replace(moved, headers={**moved.headers, "location": location})
        with replaying([moved]) as server, pytest.raises(ExternalError, match="another server"):
            make_client(server, clock).get(moved.path)
        with replaying([moved]) as server:
            assert "another server" in make_client(server, clock).get(moved.path, allow_refusal=True).gone
    assert other.requests == []
    assert clock.slept == []


def test_a_not_modified_response_is_recognized(clock: FakeClock) -> None:
    (unmodified,) = [
        exchange for exchange in recorded_in("ConditionalRequestUpdate.testDidNotUpdate.txt") if exchange.status == 304
    ]
    with replaying([unmodified]) as server:
        reply = make_client(server, clock).get(unmodified.path, etag='"8600bedcb7fed1d8065e1693e05529ce"')
    assert reply.not_modified
    assert server.requests[0][2]["If-None-Match"] == '"8600bedcb7fed1d8065e1693e05529ce"'


@pytest.mark.parametrize(
    ("file", "pauses"),
    [("Retry.testReturnsRepoAfter1Retry.txt", [2]), ("Retry.testReturnsRepoAfter3Retries.txt", [2, 4, 8])],
)
def test_server_errors_are_retried(file: str, pauses: list[float], clock: FakeClock) -> None:
    with replaying(recorded_in(file)) as server:
        assert make_client(server, clock).get("/repos/PyGithub/PyGithub").data["full_name"] == "PyGithub/PyGithub"
    assert clock.slept == pauses


def test_a_web_page_of_an_overloaded_github_is_retried(clock: FakeClock) -> None:
    (page,) = [
        exchange for exchange in recorded_in("Exceptions.testNonJsonDataReturnedByGithub.txt") if exchange.status == 503
    ]
    repository = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    with replaying([page, repository]) as server:
        assert make_client(server, clock).get(page.path).data
    with replaying([page] * 8) as server, pytest.raises(ExternalError, match="a web page"):
        make_client(server, clock).get(page.path)


def test_rate_limits_are_waited_for(clock: FakeClock) -> None:
    """One response of 2013 has x-ratelimit-remaining 0, one of 2018 has Retry-After."""
    limits = [exchange for exchange in with_status(403) if b"Rate Limit" in exchange.body or b"abuse" in exchange.body]
    repository = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    assert len(limits) == 2
    for limit in limits:
        with replaying([limit, repository]) as server:
            client = make_client(server, clock)
            assert client.get(limit.path).data
            assert client.stats.refused == 1
    assert len(clock.slept) == 2
    assert all(1 <= pause <= 3601 for pause in clock.slept)


def test_a_rejected_token_raises_a_credentials_error() -> None:
    for exchange in with_status(401):
        with replaying([exchange]) as server, pytest.raises(CredentialsError):
            make_client(server, FakeClock()).get(exchange.path)


def test_a_404_response_is_returned_as_gone() -> None:
    """All 404 responses have a message, except those of ``/star``, which answer yes or no by the status alone."""
    gone = [exchange for exchange in with_status(404) if not exchange.path.endswith("/star")]
    assert len(gone) > 40
    with replaying(gone) as server:
        client = make_client(server, FakeClock())
        assert all(client.get(exchange.path).gone for exchange in gone)


EXPECTED = {
    200: {"ok"},
    201: {"ok"},
    202: {"ok"},
    204: {"ok"},
    304: {"not_modified"},
    301: {"redirect"},
    302: {"redirect"},
    400: {"refused"},
    401: {"unauthorized"},
    404: {"gone"},
    405: {"refused"},
    409: {"refused"},
    422: {"refused"},
    403: {"refused", "rate_limit"},
    500: {"failed"},
    502: {"too_heavy"},
    503: {"failed"},
}


def api_responses(recorded: Iterable[Exchange]) -> list[Exchange]:
    """Return the exchanges without downloads of files, which are not JSON and which the client never requests."""
    return [
        exchange
        for exchange in recorded
        if exchange.status >= 300 or exchange.status == 204 or exchange.body[:1] in (b"{", b"[")
    ]


def test_each_response_is_classified_by_its_status_and_message() -> None:
    """A client error without a message does not come from GitHub's API."""
    for exchange in api_responses(exchange for exchange in exchanges() if exchange.status != 205):
        try:
            message = rate_limit.error_message(json.loads(exchange.body or b"{}"))
        except ValueError:
            continue
        action = classify_response(Response(exchange.status, exchange.headers, exchange.body), local_time=0.0)
        expected = EXPECTED[exchange.status] if message or not 400 <= exchange.status < 500 else {"not_github"}
        assert action.kind in expected, exchange


def test_each_request_has_a_user_agent_and_the_token_in_one_header_only(clock: FakeClock) -> None:
    repository = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    with replaying([repository]) as server:
        make_client(server, clock).get("/repos/a/b", {"x": "y"})
    ((method, path, headers),) = server.requests
    assert (method, path, headers["User-Agent"]) == ("GET", "/repos/a/b?x=y", USER_AGENT)
    assert [name for name, value in headers.items() if TOKEN in value] == ["Authorization"]
    assert headers["Accept"] == "application/vnd.github+json"


def test_a_truncated_body_is_requested_again(clock: FakeClock) -> None:
    repository = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    truncated = dataclasses.replace(repository, body=repository.body[: len(repository.body) // 2])
    with replaying([truncated, repository]) as server:
        assert make_client(server, clock).get(repository.path).data["full_name"]
    assert clock.slept == [2]
