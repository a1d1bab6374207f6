"""What GitHub really answered, over fourteen years, is parsed or obeyed as it should be: over HTTP, by the real client."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pandas as pd
import pytest

from stargaze.config import FetchSection
from stargaze.errors import CredentialsError, ExternalError
from stargaze.features.github.api import rate_limit
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import USER_AGENT, HttpTransport
from stargaze.features.github.api.rate_limit import classify_response
from stargaze.features.github.api.transport import Response
from stargaze.features.ingest import field_mapping as records
from stargaze.features.ingest import write_repositories as assemble
from stargaze.features.ingest.fetch_summary import FetchCounts
from stargaze.store import Store
from tests.features.github.conftest import FakeClock
from tests.referee.recorded import Exchange, exchanges
from tests.referee.replay import Replay, replaying

pytestmark = pytest.mark.referee

TOKEN = "ghp_a-made-up-one"


def named(file: str) -> list[Exchange]:
    found = [exchange for exchange in exchanges() if exchange.file == file]
    assert found, file
    return found


def connected(server: Replay, clock: FakeClock) -> Client:
    return Client(HttpTransport(server.url, TOKEN, clock), clock)


def with_status(status: int) -> list[Exchange]:
    return [exchange for exchange in exchanges() if exchange.status == status and exchange.method == "GET"]


def test_there_are_as_many_as_were_published() -> None:
    assert len(exchanges()) > 3_400
    assert Counter(exchange.status for exchange in exchanges())[304] >= 28


def test_every_repository_that_github_ever_answered_is_read_and_can_be_true(store: Store, clock: FakeClock) -> None:
    """Records of 2012 have not what those of 2026 have, and the reverse; those of before there were stars are refused."""
    given = [exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200]
    with replaying(given) as server:
        client = connected(server, clock)
        rows = [(0, place, records.map_record(client.get(exchange.path).data)) for place, exchange in enumerate(given)]
    ledger = FetchCounts([store.github_cache], records=Counter({0: len(rows)}))
    now = datetime.now(UTC)
    summary = assemble.write_repositories(
        assemble.batch_rows(rows), ledger, FetchSection(), store, now, lambda _what, _share: None
    )
    assert len(given) > 380
    assert summary.records == len(given)
    starless = [place for _, place, row in rows if "stars" not in row]
    assert [position for _, position, _ in summary.invalid] == starless
    assert all(b"stargazers_count" not in given[place].body for place in starless)
    found = pd.read_parquet(store.repositories)
    assert 50 < len(found) <= len({row["id"] for _, _, row in rows if "stars" in row})
    assert found[["id", "stars", "created_at", "owner_type"]].notna().all(axis=None)


def test_every_search_page_is_read(clock: FakeClock) -> None:
    pages = [exchange for exchange in exchanges() if exchange.path.startswith("/search/repositories")]
    with replaying(pages) as server:
        found = [connected(server, clock).get("/search/repositories", {"q": "x"}).data for _ in pages]
    assert [len(page["items"]) for page in found] == [30, 30, 0, 8, 8]
    rows = [records.map_record(item) for page in found for item in page["items"]]
    assert all(row["stars"] >= 0 and row["id"] for row in rows)


MOVED = [
    "Repository.testGetRepositoryWith301Redirect.txt",
    "PullRequest2408.setUp.txt",
    "Repository_license.json",
    "Repository_stargazers.json",
]


@pytest.mark.parametrize("file", MOVED)
def test_a_renamed_repository_is_followed_to_its_record(file: str, clock: FakeClock) -> None:
    moved = next(exchange for exchange in named(file) if exchange.status == 301)
    there = next(exchange for exchange in named(file) if exchange.status == 200 and exchange.is_repository)
    with replaying([moved, there]) as server:
        reply = connected(server, clock).get(moved.path)
    assert records.map_record(reply.data)["full_name"]
    assert server.asked[1][1].startswith("/repositories/")
    assert server.asked[1][2]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("file", ["Requester.testBaseUrlHostRedirection.txt", "PublicReleaseAsset.testDownload.txt"])
def test_a_redirect_to_another_server_is_not_followed_and_gets_no_token(file: str, clock: FakeClock) -> None:
    """The other server listens on loopback in its place, and hears nothing."""
    moved = next(exchange for exchange in named(file) if exchange.status in rate_limit.REDIRECT_STATUS)
    there = urlsplit(moved.headers["location"])
    with replaying([]) as other:
        location = there._replace(scheme="http", netloc=urlsplit(other.url).netloc).geturl()
        moved = dataclasses.replace(moved, headers={**moved.headers, "location": location})
        with replaying([moved]) as server, pytest.raises(ExternalError, match="another server"):
            connected(server, clock).get(moved.path)
        with replaying([moved]) as server:
            assert "another server" in connected(server, clock).get(moved.path, allow_refusal=True).gone
    assert other.asked == []
    assert clock.slept == []


def test_an_answer_that_still_holds_is_told_from_a_new_one(clock: FakeClock) -> None:
    (same,) = [one for one in named("ConditionalRequestUpdate.testDidNotUpdate.txt") if one.status == 304]
    with replaying([same]) as server:
        reply = connected(server, clock).get(same.path, etag='"8600bedcb7fed1d8065e1693e05529ce"')
    assert reply.not_modified
    assert server.asked[0][2]["If-None-Match"] == '"8600bedcb7fed1d8065e1693e05529ce"'


@pytest.mark.parametrize(
    ("file", "pauses"),
    [("Retry.testReturnsRepoAfter1Retry.txt", [2]), ("Retry.testReturnsRepoAfter3Retries.txt", [2, 4, 8])],
)
def test_faults_are_outlasted(file: str, pauses: list[float], clock: FakeClock) -> None:
    with replaying(named(file)) as server:
        assert connected(server, clock).get("/repos/PyGithub/PyGithub").data["full_name"] == "PyGithub/PyGithub"
    assert clock.slept == pauses


def test_a_web_page_of_an_overloaded_github_is_outlasted(clock: FakeClock) -> None:
    (page,) = [one for one in named("Exceptions.testNonJsonDataReturnedByGithub.txt") if one.status == 503]
    good = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    with replaying([page, good]) as server:
        assert connected(server, clock).get(page.path).data
    with replaying([page] * 8) as server, pytest.raises(ExternalError, match="a web page"):
        connected(server, clock).get(page.path)


def test_limits_are_waited_for(clock: FakeClock) -> None:
    """One of 2013 with x-ratelimit-remaining 0, one of 2018 with Retry-After."""
    limits = [one for one in with_status(403) if b"Rate Limit" in one.body or b"abuse" in one.body]
    good = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    assert len(limits) == 2
    for limit in limits:
        with replaying([limit, good]) as server:
            client = connected(server, clock)
            assert client.get(limit.path).data
            assert client.stats.refused == 1
    assert len(clock.slept) == 2
    assert all(1 <= pause <= 3601 for pause in clock.slept)


def test_a_wrong_token_is_told() -> None:
    for exchange in with_status(401):
        with replaying([exchange]) as server, pytest.raises(CredentialsError):
            connected(server, FakeClock()).get(exchange.path)


def test_what_is_not_there_is_an_answer() -> None:
    """GitHub says so in words, but where the status alone is the answer, to a question of yes or no."""
    gone = [one for one in with_status(404) if not one.path.endswith("/star")]
    assert len(gone) > 40
    with replaying(gone) as server:
        client = connected(server, FakeClock())
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


def json_only(found: Sequence[Exchange]) -> list[Exchange]:
    return [one for one in found if one.status >= 300 or one.status == 204 or one.body[:1] in (b"{", b"[")]


def test_each_of_them_is_judged_by_what_it_is() -> None:
    """Downloads of files are no JSON and are never asked for; all else is. A refusal without a word is not GitHub's."""
    for exchange in json_only([one for one in exchanges() if one.status != 205]):
        try:
            said = rate_limit.error_message(json.loads(exchange.body or b"{}"))
        except ValueError:
            continue
        verdict = classify_response(Response(exchange.status, exchange.headers, exchange.body), local_time=0.0)
        expected = EXPECTED[exchange.status] if said or not 400 <= exchange.status < 500 else {"foreign"}
        assert verdict.kind in expected, exchange


def test_each_request_says_who_asks_and_names_the_token_in_one_header_only(clock: FakeClock) -> None:
    good = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    with replaying([good]) as server:
        connected(server, clock).get("/repos/a/b", {"x": "y"})
    ((method, path, headers),) = server.asked
    assert (method, path, headers["User-Agent"]) == ("GET", "/repos/a/b?x=y", USER_AGENT)
    assert [name for name, value in headers.items() if TOKEN in value] == ["Authorization"]
    assert headers["Accept"] == "application/vnd.github+json"


def test_a_body_that_is_cut_short_is_asked_for_again(clock: FakeClock) -> None:
    good = next(exchange for exchange in exchanges() if exchange.is_repository and exchange.status == 200)
    cut = dataclasses.replace(good, body=good.body[: len(good.body) // 2])
    with replaying([cut, good]) as server:
        assert connected(server, clock).get(good.path).data["full_name"]
    assert clock.slept == [2]
