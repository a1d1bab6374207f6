"""What a search row does not tell, by GraphQL and by REST: cache where it is answered, and where it is not, the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pandas as pd
import pytest

from stargaze.config import FetchSection, GithubSection
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.features.github.api import graphql, response_cache
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.crawl_run import CrawlRun
from stargaze.features.github.api.http_transport import Response
from stargaze.features.github.api.response_cache import CrawlSession, ResponseCache
from stargaze.features.github.crawl import details
from stargaze.features.github.crawl.details import DetailFetcher
from stargaze.features.github.search.search import RepoRef, parse_repository
from stargaze.store import Store
from tests.features.github.conftest import NOW, FakeClock, FakeTransport, make_response
from tests.features.github.small_github import InterruptingTransport, SmallGitHub, rest
from tests.simulated.server import running
from tests.simulated.world import Faults, World

Canned = Callable[..., tuple[Client, FakeTransport]]

API = "https://api.github.com"
DAY = 86_400
LONG_AGO = datetime.fromtimestamp(0, tz=UTC)


@pytest.fixture
def github(clock: FakeClock) -> SmallGitHub:
    return SmallGitHub(clock, 60)


@pytest.fixture
def cache(store: Store) -> Iterator[ResponseCache]:
    with response_cache.open_response_cache(store.github_cache, API) as open_response_cache:
        yield open_response_cache


def everybody(github: SmallGitHub) -> list[RepoRef]:
    return [parse_repository(rest(row), "") for row in github.rows.values()]


def told(github: SmallGitHub, cache: ResponseCache) -> list[str]:
    """Return whose details are said to be missing."""
    return list(details.read_remarks(everybody(github), cache))


def lost(github: SmallGitHub, cache: ResponseCache) -> dict[str, str]:
    """Return who is gone or refused, and which of it."""
    remarks = details.read_remarks(everybody(github), cache)
    return {name: why for name, why in remarks.items() if why != details.TOO_LARGE}


def too_large(github: SmallGitHub, cache: ResponseCache) -> list[str]:
    """Return who could not be counted."""
    return [name for name, why in details.read_remarks(everybody(github), cache).items() if why == details.TOO_LARGE]


def begun(since: datetime) -> CrawlRun:
    """Return a gather for which details that were learned since then hold."""
    return CrawlRun("aim", 1, since + details.DETAILS_MAX_AGE, done=False)


def learn(
    github: SmallGitHub, cache: ResponseCache, via: InterruptingTransport | None = None, since: datetime = LONG_AGO
) -> dict[int, dict[str, object]]:
    """Learn all there is as a run does, and return it."""
    heard: list[int] = []
    repos = everybody(github)
    DetailFetcher(CrawlSession(Client(via or github, github.clock), cache, begun(since)), graphql.KINDS).fetch(
        repos, heard.append
    )
    assert sum(heard) == len(repos) * len(graphql.KINDS)
    return cache.get_details([kind.name for kind in graphql.KINDS], {one.id: one.stamp for one in repos})


def test_many_too_heavy_to_count_are_told_and_all_others_are_known(github: SmallGitHub, cache: ResponseCache) -> None:
    github.hopeless = {1, 2, 3, 30, 57, 58, 59, 60}
    found = learn(github, cache)
    assert {number for number, fields in found.items() if not fields} == github.hopeless
    heavy = too_large(github, cache)
    assert heavy == [github.rows[number]["name"] for number in sorted(github.hopeless, key=int)]
    before = len(github.requests)
    learn(github, cache)
    assert len(github.requests) == before


def test_a_program_that_is_stopped_does_not_ask_again_for_those_that_were_given_up(
    github: SmallGitHub, cache: ResponseCache
) -> None:
    github.hopeless = {1, 2}
    with pytest.raises(KeyboardInterrupt):
        learn(github, cache, InterruptingTransport(github, 12, after=False))
    heavy = too_large(github, cache)
    assert heavy == [github.rows[1]["name"]]
    before = len(github.requests)
    learn(github, cache)
    first = '"' + rest(github.rows[1])["node_id"] + '"'
    counted = [request for request in github.requests[before:] if "Counts" in request]
    assert counted
    assert not [request for request in counted if first in request]


def test_the_points_of_graphql_are_read_from_its_headers_and_asked_for_in_no_query(
    canned: Canned, clock: FakeClock
) -> None:
    stated = {
        "x_ratelimit_limit": "5000",
        "x_ratelimit_remaining": "0",
        "x_ratelimit_reset": str(int(NOW) + 1800),
        "x_ratelimit_resource": "graphql",
    }
    client, _ = canned(make_response(200, {"data": {"nodes": []}}, **stated))
    texts = [*(kind.text for kind in graphql.KINDS), graphql.names_query(1)]
    for text in texts[:2]:
        client.query(text, {})
    assert sum(clock.slept) == 1800.5
    assert not [text for text in texts if "rateLimit" in text]


SAML = "Resource protected by organization SAML enforcement."
ALIVE_QUERY = make_response(200, {"data": {"repository": {"watchers": {"totalCount": 3}}}})


def test_a_refused_field_takes_no_other_with_it(github: SmallGitHub, cache: ResponseCache) -> None:
    github.refused = {number: [("FORBIDDEN", SAML, "owner.membersWithRole")] for number in (3, 4, 50)}
    github.refused[7] = [("FORBIDDEN", "Resource not accessible by integration", "mentionableUsers")]
    found = learn(github, cache)
    assert [fields["subscribers"] for fields in found.values()] == [9] * 60
    assert lost(github, cache) == {}
    without_owner = [request for request in github.requests if "Counts" in request and "membersWithRole" not in request]
    assert [request.count("MDE") for request in without_owner] == [3]
    assert too_large(github, cache) == []


def test_several_refused_fields_are_left_out_one_after_the_other(github: SmallGitHub, cache: ResponseCache) -> None:
    refused = [("FORBIDDEN", SAML, name) for name in ("mentionableUsers", "discussions", "owner.membersWithRole")]
    github.refused = {8: refused, 9: refused[1:]}
    found = learn(github, cache)
    assert found[8]["subscribers"] == found[9]["subscribers"] == 9
    assert lost(github, cache) == {}


def answers(*nodes: tuple[dict[str, object] | None, str]) -> Iterator[Response]:
    """Make answers about commits of one repository: its node, and the type of an error at what is missing of it."""
    path = ["nodes", 0, "defaultBranchRef", "target", "history"]
    for node, kind in nodes:
        error = {"path": path, "message": "Something went wrong", **({"type": kind} if kind else {})}
        yield make_response(200, {"data": {"nodes": [node]}, **({} if kind == "none" else {"errors": [error]})})


MAX_NAMED = {"id": "R_1", "databaseId": 1, "nameWithOwner": "a/b", "defaultBranchRef": {"name": "main", "target": None}}
COUNTED = {**MAX_NAMED, "defaultBranchRef": {"target": {"history": {"totalCount": 7}}}}


def commits_by(client: Client, github: SmallGitHub, cache: ResponseCache) -> dict[str, object]:
    one = everybody(github)[0]
    DetailFetcher(CrawlSession(client, cache, begun(LONG_AGO)), [graphql.KINDS[1]]).fetch([one], lambda _count: None)
    return cache.get_details(["commits"], {one.id: one.stamp})[one.id]


@pytest.mark.parametrize("kind", ["", "SERVICE_UNAVAILABLE"])
def test_a_count_that_fails_inside_an_answer_is_asked_for_again(
    github: SmallGitHub, cache: ResponseCache, canned: Canned, kind: str
) -> None:
    client, _ = canned(*answers((MAX_NAMED, kind)), ALIVE_QUERY, *answers((COUNTED, "none")))
    assert commits_by(client, github, cache) == {"commits": 7}


def test_what_was_answered_is_kept_when_the_rest_is_abandoned(
    github: SmallGitHub, cache: ResponseCache, canned: Canned
) -> None:
    (broken,) = answers((MAX_NAMED, ""))
    client, _ = canned(*[broken, ALIVE_QUERY] * 3)
    assert commits_by(client, github, cache) == {"default_branch": "main"}
    assert too_large(github, cache) == [github.rows[1]["name"]]


def test_a_refused_count_inside_an_answer_is_not_asked_for_again(
    github: SmallGitHub, cache: ResponseCache, canned: Canned
) -> None:
    client, transport = canned(*answers((MAX_NAMED, "FORBIDDEN")))
    assert commits_by(client, github, cache) == {"default_branch": "main"}
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("kind", "field", "why"),
    [
        ("NOT_FOUND", "", "deleted meanwhile"),
        ("FORBIDDEN", "", f"access refused: {SAML}"),
        ("INSUFFICIENT_SCOPES", "", f"access refused: {SAML}"),
        ("FORBIDDEN", "nameWithOwner", f"access refused: {SAML}"),
        ("NOT_FOUND", "nameWithOwner", f"access refused: {SAML}"),
    ],
)
def test_a_repository_that_is_refused_is_not_called_deleted(
    github: SmallGitHub, cache: ResponseCache, kind: str, field: str, why: str
) -> None:
    github.refused = {5: [(kind, SAML, field)]}
    found = learn(github, cache)
    assert found[5] == {}
    assert lost(github, cache) == {github.rows[5]["name"]: why}
    before = len(github.requests)
    learn(github, cache)
    assert len(github.requests) == before


@pytest.mark.parametrize("reason", ["heavy", "refused"])
def test_what_was_missing_and_is_known_by_now_is_not_told_any_more(
    github: SmallGitHub, cache: ResponseCache, reason: str
) -> None:
    github.hopeless = {5} if reason == "heavy" else set()
    github.refused = {5: [("FORBIDDEN", SAML, "")]} if reason == "refused" else {}
    learn(github, cache)
    assert told(github, cache) == [github.rows[5]["name"]]
    github.hopeless, github.refused = set(), {}
    later = datetime.fromtimestamp(github.clock.now + DAY, tz=UTC)
    found = learn(github, cache, since=later)
    assert found[5]["subscribers"] == 9
    assert told(github, cache) == []


def test_what_is_missing_of_one_kind_is_told_though_the_other_is_known(
    github: SmallGitHub, cache: ResponseCache, canned: Canned
) -> None:
    (broken,) = answers((MAX_NAMED, ""))
    client, _ = canned(*[broken, ALIVE_QUERY] * 3)
    commits_by(client, github, cache)
    DetailFetcher(CrawlSession(Client(github, github.clock), cache, begun(LONG_AGO)), [graphql.KINDS[0]]).fetch(
        everybody(github), lambda _count: None
    )
    assert told(github, cache) == [github.rows[1]["name"]]


def look(github: SmallGitHub, cache: ResponseCache, aim: str = "all") -> list[str]:
    """Look closer at all as a run does; return what was asked for."""
    before = len(github.requests)
    run = cache.start_run(aim, lambda: datetime.fromtimestamp(github.clock.now, tz=UTC), update=False)
    session = CrawlSession(Client(github, github.clock), cache, run)
    details.fetch_rest_details(everybody(github), session, lambda _count: None)
    return [request.partition("?")[0] for request in github.requests[before:]]


def test_a_closer_look_asks_for_nothing_that_graphql_told(github: SmallGitHub, cache: ResponseCache) -> None:
    github.rows[3]["readme"] = None
    found = learn(github, cache)
    asked = look(github, cache)
    organizations = {one.full_name.partition("/")[0] for one in everybody(github) if one.owner_type != "User"}
    assert [request for request in asked if request.endswith("/readme")] == [f"/repos/{github.rows[3]['name']}/readme"]
    assert {request for request in asked if request.count("/") == 2} == {f"/orgs/{login}" for login in organizations}
    assert sum(request.endswith("/contributors") for request in asked) == 60
    assert len(asked) == 60 + 1 + len(organizations)
    closer = cache.get_details(list(details.REST_DETAILS), {one.id: one.stamp for one in everybody(github)})
    both = [{**fields, **closer[number]} for number, fields in found.items()]
    assert {one["readme_length"] for one in both} == {77, 4321}
    assert {one["owner_followers"] for one in both} == {15, 12}


def test_a_closer_look_without_a_token_asks_for_all(github: SmallGitHub, cache: ResponseCache) -> None:
    assert len(look(github, cache)) == 60 + 60 + 60


def test_what_rest_said_long_ago_does_not_hide_what_graphql_tells_now(
    github: SmallGitHub, cache: ResponseCache
) -> None:
    look(github, cache)
    github.clock.now += 40 * DAY
    learn(github, cache)
    kinds = [asked.rpartition("/")[2] for asked in look(github, cache, aim="later")]
    assert kinds.count("readme") == 0
    one = everybody(github)[0]
    assert (
        cache.get_details([details.COUNTS.name, *details.REST_DETAILS], {one.id: one.stamp})[one.id]["readme_length"]
        == 77
    )


def test_a_closer_look_goes_by_no_count_of_long_ago(github: SmallGitHub, cache: ResponseCache) -> None:
    learn(github, cache)
    github.clock.now += 40 * DAY
    assert sum(asked.endswith("/readme") for asked in look(github, cache)) == 60


def test_a_closer_look_goes_by_no_count_of_an_earlier_state(github: SmallGitHub, cache: ResponseCache) -> None:
    learn(github, cache)
    github.rows[5]["stars"] += 1
    asked = look(github, cache)
    assert [request for request in asked if request.endswith("/readme")] == [f"/repos/{github.rows[5]['name']}/readme"]


@pytest.mark.real
def test_of_a_large_github_only_what_cannot_be_counted_or_is_refused_is_missing(store: Store) -> None:
    world = World(3_000, faults=Faults(heavy=0.01, refusing=0.3))
    world.people.heavy[:6] = True
    with running(world) as url:
        summary = fetch_from_github(
            GithubSection(stars=">=1", limit=0, api_url=url),
            FetchSection(),
            store,
            datetime.fromtimestamp(world.clock.time(), tz=UTC),
            lambda _what, _share: None,
            GithubOptions("good", clock=world.clock),
        )
    found = pd.read_parquet(store.repositories).set_index("id")
    people = world.people
    heavy = people.heavy.nonzero()[0]
    assert sorted(summary.too_large) == sorted(people.name(row) for row in heavy)
    assert summary.gone == {}
    assert set(found.index[found["commits"].isna()]) == set(people.id[heavy])
    assert set(found.index[found["subscribers"].isna()]) == set(people.id[heavy])
    told = found.index[found["owner_members"].notna()]
    shown = [row for row in range(3_000) if people.is_organization(row) and not people.refuses_members(row)]
    assert set(told) == {people.id[row] for row in shown if not people.heavy[row]}
    assert any(people.refuses_members(row) for row in range(3_000))
    assert summary.waited == 2 * 4 * len(heavy)
    assert summary.failed <= 2 * 9 * len(heavy)
