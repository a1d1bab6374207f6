"""Details that search results lack, by GraphQL and REST: they are stored, or the reason why they are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pandas as pd
import pytest

from stargaze.config import FetchSection, GithubSection
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.crawl_run import CrawlRun
from stargaze.features.github.api.http_transport import Response
from stargaze.features.github.api.response_cache import CrawlSession, ResponseCache, open_response_cache
from stargaze.features.github.crawl import details
from stargaze.features.github.crawl.details import DetailFetcher
from stargaze.features.github.search.search import RepoRef, parse_repository
from stargaze.store import Store
from tests.features.github.conftest import NOW, FakeClock, FakeTransport, make_response
from tests.features.github.small_github import InterruptingTransport, SmallGitHub, rest
from tests.simulated.server import running
from tests.simulated.world import Faults, World

ClientWith = Callable[..., tuple[Client, FakeTransport]]

API = "https://api.github.com"
DAY = 86_400
LONG_AGO = datetime.fromtimestamp(0, tz=UTC)


@pytest.fixture
def github(clock: FakeClock) -> SmallGitHub:
    return SmallGitHub(clock, 60)


@pytest.fixture
def cache(store: Store) -> Iterator[ResponseCache]:
    with open_response_cache(store.github_cache, API) as opened:
        yield opened


def repositories_of(github: SmallGitHub) -> list[RepoRef]:
    return [parse_repository(rest(row), "") for row in github.rows.values()]


def names_with_remarks(github: SmallGitHub, cache: ResponseCache) -> list[str]:
    """Return the names of the repositories with missing details."""
    return list(details.read_remarks(repositories_of(github), cache))


def gone_or_refused(github: SmallGitHub, cache: ResponseCache) -> dict[str, str]:
    """Return the repositories that are gone or refused, with the reason."""
    remarks = details.read_remarks(repositories_of(github), cache)
    return {name: why for name, why in remarks.items() if why != details.TOO_LARGE}


def too_large(github: SmallGitHub, cache: ResponseCache) -> list[str]:
    """Return the names of the repositories that GitHub could not count."""
    return [
        name for name, why in details.read_remarks(repositories_of(github), cache).items() if why == details.TOO_LARGE
    ]


def run_accepting(since: datetime) -> CrawlRun:
    """Return a run that accepts details fetched since then."""
    return CrawlRun("digest", 1, since + details.DETAILS_MAX_AGE, done=False)


def fetch_details(
    github: SmallGitHub, cache: ResponseCache, via: InterruptingTransport | None = None, since: datetime = LONG_AGO
) -> dict[int, dict[str, object]]:
    """Fetch all details as a run does, and return them."""
    counts: list[int] = []
    repos = repositories_of(github)
    DetailFetcher(CrawlSession(Client(via or github, github.clock), cache, run_accepting(since)), graphql.KINDS).fetch(
        repos, counts.append
    )
    assert sum(counts) == len(repos) * len(graphql.KINDS)
    return cache.get_details(
        [kind.name for kind in graphql.KINDS], {repository.id: repository.stamp for repository in repos}
    )


def test_heavy_repositories_are_reported_and_all_others_fetched(github: SmallGitHub, cache: ResponseCache) -> None:
    github.hopeless = {1, 2, 3, 30, 57, 58, 59, 60}
    frame = fetch_details(github, cache)
    assert {number for number, fields in frame.items() if not fields} == github.hopeless
    heavy = too_large(github, cache)
    assert heavy == [github.rows[number]["name"] for number in sorted(github.hopeless, key=int)]
    before = len(github.requests)
    fetch_details(github, cache)
    assert len(github.requests) == before


def test_a_stopped_run_does_not_request_given_up_repositories_again(github: SmallGitHub, cache: ResponseCache) -> None:
    github.hopeless = {1, 2}
    with pytest.raises(KeyboardInterrupt):
        fetch_details(github, cache, InterruptingTransport(github, 12, after=False))
    heavy = too_large(github, cache)
    assert heavy == [github.rows[1]["name"]]
    before = len(github.requests)
    fetch_details(github, cache)
    first = '"' + rest(github.rows[1])["node_id"] + '"'
    counted = [request for request in github.requests[before:] if "Counts" in request]
    assert counted
    assert not [request for request in counted if first in request]


def test_the_points_of_graphql_are_read_from_headers_only(client_with: ClientWith, clock: FakeClock) -> None:
    stated = {
        "x_ratelimit_limit": "5000",
        "x_ratelimit_remaining": "0",
        "x_ratelimit_reset": str(int(NOW) + 1800),
        "x_ratelimit_resource": "graphql",
    }
    client, _ = client_with(make_response(200, {"data": {"nodes": []}}, **stated))
    texts = [*(kind.text for kind in graphql.KINDS), graphql.names_query(1)]
    for text in texts[:2]:
        client.query(text, {})
    assert sum(clock.slept) == 1800.5
    assert not [text for text in texts if "rateLimit" in text]


SAML = "Resource protected by organization SAML enforcement."
HEALTHY = make_response(200, {"data": {"repository": {"watchers": {"totalCount": 3}}}})


def test_a_refused_field_does_not_affect_the_others(github: SmallGitHub, cache: ResponseCache) -> None:
    github.refused = {number: [("FORBIDDEN", SAML, "owner.membersWithRole")] for number in (3, 4, 50)}
    github.refused[7] = [("FORBIDDEN", "Resource not accessible by integration", "mentionableUsers")]
    frame = fetch_details(github, cache)
    assert [fields["subscribers"] for fields in frame.values()] == [9] * 60
    assert gone_or_refused(github, cache) == {}
    without_owner = [request for request in github.requests if "Counts" in request and "membersWithRole" not in request]
    assert [request.count("MDE") for request in without_owner] == [3]
    assert too_large(github, cache) == []


def test_several_refused_fields_are_left_out(github: SmallGitHub, cache: ResponseCache) -> None:
    refused = [("FORBIDDEN", SAML, name) for name in ("mentionableUsers", "discussions", "owner.membersWithRole")]
    github.refused = {8: refused, 9: refused[1:]}
    frame = fetch_details(github, cache)
    assert frame[8]["subscribers"] == frame[9]["subscribers"] == 9
    assert gone_or_refused(github, cache) == {}


def commit_responses(*nodes: tuple[dict[str, object] | None, str]) -> Iterator[Response]:
    """Yield responses to the commit query of a repository: its node, and the type of the error of its missing field."""
    path = ["nodes", 0, "defaultBranchRef", "target", "history"]
    for node, kind in nodes:
        error = {"path": path, "message": "Something went wrong", **({"type": kind} if kind else {})}
        yield make_response(200, {"data": {"nodes": [node]}, **({} if kind == "none" else {"errors": [error]})})


NAMED = {"id": "R_1", "databaseId": 1, "nameWithOwner": "a/b", "defaultBranchRef": {"name": "main", "target": None}}
COUNTED = {**NAMED, "defaultBranchRef": {"target": {"history": {"totalCount": 7}}}}


def fetch_commits(client: Client, github: SmallGitHub, cache: ResponseCache) -> dict[str, object]:
    repository = repositories_of(github)[0]
    DetailFetcher(CrawlSession(client, cache, run_accepting(LONG_AGO)), [graphql.KINDS[1]]).fetch(
        [repository], lambda _count: None
    )
    return cache.get_details(["commits"], {repository.id: repository.stamp})[repository.id]


@pytest.mark.parametrize("kind", ["", "SERVICE_UNAVAILABLE"])
def test_a_count_that_fails_in_a_response_is_requested_again(
    github: SmallGitHub, cache: ResponseCache, client_with: ClientWith, kind: str
) -> None:
    client, _ = client_with(*commit_responses((NAMED, kind)), HEALTHY, *commit_responses((COUNTED, "none")))
    assert fetch_commits(client, github, cache) == {"commits": 7}


def test_partial_details_are_stored_when_a_repository_is_given_up(
    github: SmallGitHub, cache: ResponseCache, client_with: ClientWith
) -> None:
    (broken,) = commit_responses((NAMED, ""))
    client, _ = client_with(*[broken, HEALTHY] * 3)
    assert fetch_commits(client, github, cache) == {"default_branch": "main"}
    assert too_large(github, cache) == [github.rows[1]["name"]]


def test_a_refused_count_is_not_requested_again(
    github: SmallGitHub, cache: ResponseCache, client_with: ClientWith
) -> None:
    client, transport = client_with(*commit_responses((NAMED, "FORBIDDEN")))
    assert fetch_commits(client, github, cache) == {"default_branch": "main"}
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
def test_refused_and_deleted_repositories_are_distinguished(
    github: SmallGitHub, cache: ResponseCache, kind: str, field: str, why: str
) -> None:
    github.refused = {5: [(kind, SAML, field)]}
    frame = fetch_details(github, cache)
    assert frame[5] == {}
    assert gone_or_refused(github, cache) == {github.rows[5]["name"]: why}
    before = len(github.requests)
    fetch_details(github, cache)
    assert len(github.requests) == before


@pytest.mark.parametrize("reason", ["heavy", "refused"])
def test_details_fetched_later_clear_the_remark(github: SmallGitHub, cache: ResponseCache, reason: str) -> None:
    github.hopeless = {5} if reason == "heavy" else set()
    github.refused = {5: [("FORBIDDEN", SAML, "")]} if reason == "refused" else {}
    fetch_details(github, cache)
    assert names_with_remarks(github, cache) == [github.rows[5]["name"]]
    github.hopeless, github.refused = set(), {}
    later = datetime.fromtimestamp(github.clock.now + DAY, tz=UTC)
    frame = fetch_details(github, cache, since=later)
    assert frame[5]["subscribers"] == 9
    assert names_with_remarks(github, cache) == []


def test_missing_details_of_one_kind_are_reported(
    github: SmallGitHub, cache: ResponseCache, client_with: ClientWith
) -> None:
    (broken,) = commit_responses((NAMED, ""))
    client, _ = client_with(*[broken, HEALTHY] * 3)
    fetch_commits(client, github, cache)
    DetailFetcher(CrawlSession(Client(github, github.clock), cache, run_accepting(LONG_AGO)), [graphql.KINDS[0]]).fetch(
        repositories_of(github), lambda _count: None
    )
    assert names_with_remarks(github, cache) == [github.rows[1]["name"]]


def fetch_rest(github: SmallGitHub, cache: ResponseCache, digest: str = "all") -> list[str]:
    """Fetch the REST details of all repositories as a run does; return the requested paths."""
    before = len(github.requests)
    run = cache.start_run(digest, lambda: datetime.fromtimestamp(github.clock.now, tz=UTC), update=False)
    session = CrawlSession(Client(github, github.clock), cache, run)
    details.fetch_rest_details(repositories_of(github), session, lambda _count: None)
    return [request.partition("?")[0] for request in github.requests[before:]]


@pytest.mark.thorough
def test_rest_details_skip_what_graphql_returned(github: SmallGitHub, cache: ResponseCache) -> None:
    github.rows[3]["readme"] = None
    frame = fetch_details(github, cache)
    paths = fetch_rest(github, cache)
    organizations = {
        repository.full_name.partition("/")[0]
        for repository in repositories_of(github)
        if repository.owner_type != "User"
    }
    assert [request for request in paths if request.endswith("/readme")] == [f"/repos/{github.rows[3]['name']}/readme"]
    assert {request for request in paths if request.count("/") == 2} == {f"/orgs/{login}" for login in organizations}
    assert sum(request.endswith("/contributors") for request in paths) == 60
    assert len(paths) == 60 + 1 + len(organizations)
    rest_details = cache.get_details(
        list(details.REST_DETAILS), {repository.id: repository.stamp for repository in repositories_of(github)}
    )
    merged = [{**fields, **rest_details[number]} for number, fields in frame.items()]
    assert {repository["readme_length"] for repository in merged} == {77, 4321}
    assert {repository["owner_followers"] for repository in merged} == {15, 12}


@pytest.mark.thorough
def test_rest_details_without_graphql_request_everything(github: SmallGitHub, cache: ResponseCache) -> None:
    assert len(fetch_rest(github, cache)) == 60 + 60 + 60


@pytest.mark.thorough
def test_new_graphql_details_override_old_rest_details(github: SmallGitHub, cache: ResponseCache) -> None:
    fetch_rest(github, cache)
    github.clock.now += 40 * DAY
    fetch_details(github, cache)
    kinds = [path.rpartition("/")[2] for path in fetch_rest(github, cache, digest="later")]
    assert kinds.count("readme") == 0
    repository = repositories_of(github)[0]
    assert (
        cache.get_details([details.COUNTS.name, *details.REST_DETAILS], {repository.id: repository.stamp})[
            repository.id
        ]["readme_length"]
        == 77
    )


@pytest.mark.thorough
def test_rest_details_ignore_old_graphql_details(github: SmallGitHub, cache: ResponseCache) -> None:
    fetch_details(github, cache)
    github.clock.now += 40 * DAY
    assert sum(path.endswith("/readme") for path in fetch_rest(github, cache)) == 60


@pytest.mark.thorough
def test_rest_details_ignore_graphql_details_of_an_earlier_state(github: SmallGitHub, cache: ResponseCache) -> None:
    fetch_details(github, cache)
    github.rows[5]["stars"] += 1
    paths = fetch_rest(github, cache)
    assert [request for request in paths if request.endswith("/readme")] == [f"/repos/{github.rows[5]['name']}/readme"]


@pytest.mark.real
def test_only_heavy_and_refused_details_of_a_large_github_are_missing(store: Store) -> None:
    world = World(3_000, faults=Faults(heavy=0.01, refusing=0.3))
    world.population.heavy[:6] = True
    with running(world) as url:
        summary = fetch_from_github(
            GithubSection(stars=">=1", limit=0, api_url=url),
            FetchSection(),
            store,
            datetime.fromtimestamp(world.clock.time(), tz=UTC),
            lambda _what, _share: None,
            GithubOptions("good", clock=world.clock),
        )
    frame = pd.read_parquet(store.repositories).set_index("id")
    population = world.population
    heavy = population.heavy.nonzero()[0]
    assert sorted(summary.too_large) == sorted(population.name(row) for row in heavy)
    assert summary.gone == {}
    assert set(frame.index[frame["commits"].isna()]) == set(population.id[heavy])
    assert set(frame.index[frame["subscribers"].isna()]) == set(population.id[heavy])
    with_members = frame.index[frame["owner_members"].notna()]
    shown = [row for row in range(3_000) if population.is_organization(row) and not population.hides_members(row)]
    assert set(with_members) == {population.id[row] for row in shown if not population.heavy[row]}
    assert any(population.hides_members(row) for row in range(3_000))
    assert summary.waited == 2 * 4 * len(heavy)
    assert summary.failed <= 2 * 9 * len(heavy)
