"""The crawl from the section to the file: nothing is lost, nothing is requested twice, missing data is reported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from stargaze.config import FetchSection, GithubSection
from stargaze.errors import BadDataError, ConfigError, ExternalError
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import Request, Response
from stargaze.features.github.api.response_cache import CrawlSession, open_response_cache
from stargaze.features.github.crawl.crawl import crawl, crawl_digest
from stargaze.features.github.crawl.estimate import estimate_crawl
from stargaze.features.github.crawl.progress import CrawlSummary
from stargaze.features.ingest.derive import MAX_README
from stargaze.store import Store
from tests.features.github.conftest import NOW, FakeClock
from tests.features.github.small_github import InterruptingTransport, SmallGitHub

pytestmark = pytest.mark.thorough

DAY = 86_400
SECTION = GithubSection(stars=">=10", limit=0)
RunCrawl = Callable[..., CrawlSummary]


@pytest.fixture
def github(clock: FakeClock) -> SmallGitHub:
    return SmallGitHub(clock)


@pytest.fixture
def run_crawl(github: SmallGitHub, clock: FakeClock, store: Store) -> RunCrawl:
    """Return a function that crawls as the command does, through another transport if ``via`` is given."""

    def run(section: GithubSection = SECTION, *, token: bool = False, via: Any = None, **more: Any) -> CrawlSummary:
        client = Client(via or github, clock)
        now = datetime.fromtimestamp(clock.time(), tz=UTC)
        with open_response_cache(store.github_cache, section.api_url) as cache:
            return crawl(
                section, FetchSection(), store, cache, client, now, token=token, report=lambda _w, _s: None, **more
            )

    return run


def table(store: Store) -> pd.DataFrame:
    return pd.read_parquet(store.repositories).sort_values("id", ignore_index=True)


def test_every_repository_of_a_search_is_written_once(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    summary = run_crawl()
    frame = table(store)
    assert frame["id"].tolist() == sorted(github.rows)
    assert frame["stars"].tolist() == [github.rows[number]["stars"] for number in sorted(github.rows)]
    assert (summary.repositories, summary.short, summary.refused) == (3_000, (), 0)
    assert summary.requests == len(github.requests) < 45


@pytest.mark.parametrize(
    "changed",
    [{"owner": "text"}, {"owner": 5}, {"full_name": ""}, {"id": 10**30}, {"topics": ["\ud800"]}],
    ids=["owner", "owner number", "no name", "large id", "surrogate"],
)
def test_one_record_of_wrong_types_does_not_end_the_crawl(
    clock: FakeClock, run_crawl: RunCrawl, changed: dict[str, Any]
) -> None:
    github = SmallGitHub(clock, count=20)

    class Hostile:
        def send(self, request: Request) -> Response:
            response = github.send(request)
            data = json.loads(response.body)
            if isinstance(data, dict) and data.get("items"):
                data["items"][0] |= changed
            return dataclasses.replace(response, body=json.dumps(data).encode())

    assert run_crawl(via=Hostile()).repositories >= 19


def test_the_most_starred_repositories_need_only_full_pages(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=300))
    best = sorted((row["stars"] for row in github.rows.values()), reverse=True)[:300]
    assert sorted(table(store)["stars"], reverse=True) == best
    assert [request.partition("?")[0] for request in github.requests] == ["/rate_limit", *["/search/repositories"] * 3]


def test_the_most_starred_of_many_are_found_without_reading_all(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=1500))
    best = sorted((row["stars"] for row in github.rows.values()), reverse=True)[:1500]
    assert sorted(table(store)["stars"], reverse=True) == best
    assert len(github.requests) < 27


@pytest.mark.parametrize("sampling", ["random", "stratified"])
def test_a_sample_has_the_requested_size_and_is_reproducible(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store, sampling: str
) -> None:
    section = dataclasses.replace(SECTION, limit=600, sampling=sampling)
    run_crawl(section)
    first = table(store)
    store.github_cache.unlink()
    run_crawl(section)
    assert len(first) == 600
    pd.testing.assert_frame_equal(first.drop(columns="fetched_at"), table(store).drop(columns="fetched_at"))


def test_a_random_sample_has_the_same_median_stars_as_the_population(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=1000, sampling="random"))
    population = pd.Series([row["stars"] for row in github.rows.values()])
    assert table(store)["stars"].median() == pytest.approx(population.median(), rel=0.15)


def test_a_stratified_sample_contains_all_rare_repositories(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=600, sampling="stratified"))
    rare = [number for number, row in github.rows.items() if row["stars"] >= 316]
    assert set(rare) <= set(table(store)["id"])


@pytest.mark.parametrize("number", [30, 150, 1000, 2900])
@pytest.mark.parametrize("sampling", ["random", "stratified"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_sample_always_has_the_requested_size(run_crawl: RunCrawl, number: int, sampling: str, seed: int) -> None:
    section = dataclasses.replace(SECTION, limit=number, sampling=sampling, seed=seed)
    assert run_crawl(section).repositories == number


def test_the_estimate_of_a_stratified_sample_is_close(
    github: SmallGitHub, clock: FakeClock, run_crawl: RunCrawl, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=600, sampling="stratified")
    client = Client(github, clock)
    with open_response_cache(store.github_cache, SECTION.api_url) as cache:
        estimate = estimate_crawl(
            section,
            CrawlSession(client, cache, cache.plan_run(crawl_digest(section), client.server_time, update=False)),
            token=False,
        )
    counted = len(github.requests)
    run_crawl(section)
    sent = sum(request.startswith("/search") for request in github.requests[counted:])
    assert estimate.search_requests == pytest.approx(sent, rel=0.25)
    assert estimate.answered + sent == sum(request.startswith("/search") for request in github.requests)
    assert (
        len(set(github.requests))
        == len([request for request in github.requests if not request.startswith("/rate_limit")]) + 1
    )


def test_of_many_tied_repositories_only_a_sample_is_fetched(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    for number, row in github.rows.items():
        row["stars"] = 0 if number > 200 else 100 + number
    run_crawl(dataclasses.replace(SECTION, stars="", limit=1100), token=True)
    stars = table(store)["stars"]
    assert (len(stars), (stars > 0).sum()) == (1100, 200)
    assert sum(request.startswith("/search") for request in github.requests) < 30
    counts = [json.loads(request) for request in github.requests if "Counts" in request]
    assert sum(len(body["variables"]["ids"]) for body in counts) == 1100


def test_a_search_that_returns_no_rows_is_an_error(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    github.search_override = {"total_count": 5000, "items": []}
    with pytest.raises(BadDataError, match="no repository on GitHub matches"):
        run_crawl(dataclasses.replace(SECTION, limit=2000))


def test_details_are_requested_for_the_selected_repositories_only(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=50), token=True)
    counts = [json.loads(request) for request in github.requests if "Counts" in request]
    assert sum(len(body["variables"]["ids"]) for body in counts) == 50


def test_with_a_token_counts_and_commits_are_written(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=200), token=True)
    frame = table(store)
    assert frame["commits"].tolist() == [number + 1 for number in frame["id"]]
    assert frame["subscribers"].unique().tolist() == [9]
    assert frame["readme_length"].unique().tolist() == [77]
    issues = [github.rows[number]["issues"] for number in frame["id"]]
    assert frame["open_issues"].tolist() == [count + 2 for count in issues]
    assert frame["issues"].tolist() == [count + 4 for count in issues]


def test_readmes_are_fetched_only_if_they_are_configured(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=30)
    run_crawl(section, token=True)
    assert table(store)["readme"].isna().all()
    assert not any("Readmes" in request for request in github.requests)
    github.rows[int(table(store)["id"][3])]["readme"] = None

    run_crawl(dataclasses.replace(section, readme=True), token=True)

    frame = table(store)
    beginnings = frame["readme"].str.slice(0, 24).fillna("").tolist()
    assert beginnings == [
        f"Tool {number} Reads logs. More"[:24] if row != 3 else "" for row, number in enumerate(frame["id"])
    ]
    assert frame["readme"].str.len().max() <= MAX_README
    assert sum("Readmes" in request for request in github.requests) == 2
    assert store.github_cache.stat().st_size < 30 * 20_000  # the cache has the beginnings, not the whole texts


def test_readmes_without_a_token_are_reported_as_missing(run_crawl: RunCrawl) -> None:
    summary = run_crawl(dataclasses.replace(SECTION, limit=5, readme=True))
    assert any("github.readme needs GITHUB_TOKEN" in note for note in summary.notes)


def test_a_query_that_is_too_heavy_is_sent_in_smaller_batches(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    github.too_heavy = 7
    summary = run_crawl(dataclasses.replace(SECTION, limit=200), token=True)
    assert table(store)["commits"].notna().all()
    assert summary.too_large == ()


def test_a_repository_too_large_to_count_is_reported(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    section = dataclasses.replace(SECTION, limit=100)
    best = github.best
    github.hopeless = {best["id"]}
    summary = run_crawl(section, token=True)
    assert summary.too_large == (best["name"],)
    assert table(store)["commits"].isna().sum() == 1
    before = len(github.requests)
    assert run_crawl(section, token=True).too_large == (best["name"],)
    assert len(github.requests) == before


def test_an_outage_of_graphql_marks_no_repository_as_too_large(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    github.too_heavy = 0
    with pytest.raises(ExternalError, match="does not respond"):
        run_crawl(dataclasses.replace(SECTION, limit=100), token=True)
    github.too_heavy = 100
    assert run_crawl(dataclasses.replace(SECTION, limit=100), token=True).too_large == ()


def test_a_repository_deleted_during_the_run_is_reported_and_keeps_its_row(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    best = github.best
    github.gone = {best["name"]: 404}
    for _ in range(2):
        summary = run_crawl(dataclasses.replace(SECTION, limit=100), token=True)
        assert summary.gone == {best["name"]: "deleted meanwhile"}
    assert len(table(store)) == 100


@pytest.mark.parametrize("token", [False, True])
def test_names_are_fetched_renamed_ones_found_and_missing_ones_reported(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store, token: bool
) -> None:
    github.renamed = {"old/name": "owner3/name3"}
    github.gone = {"owner5/name5": 451}
    names = ["owner1/name1", "owner2/name2", "old/name", "owner5/name5", "no/body", "OWNER1/name1"]
    summary = run_crawl(GithubSection(names=names), token=token)
    assert table(store)["full_name"].tolist() == ["owner1/name1", "owner2/name2", "owner3/name3"]
    assert set(summary.gone) == {"owner5/name5", "no/body"}
    assert summary.as_line() == "3 repositories; 2 repositories that are gone or refused"


def test_a_blocked_name_is_reported_and_later_names_are_fetched(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    github.gone = {"owner5/name5": 403}
    summary = run_crawl(GithubSection(names=["owner1/name1", "owner5/name5", "owner2/name2"]))
    assert summary.gone == {"owner5/name5": "blocked (tos)"}
    assert len(table(store)) == 2


def test_open_issues_are_counted_equally_by_rest_and_graphql(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(GithubSection(names=["owner7/name7"]), token=False)
    rest = table(store)["open_issues"].tolist()
    store.github_cache.unlink()
    run_crawl(GithubSection(names=["owner7/name7"]), token=True)
    assert table(store)["open_issues"].tolist() == rest


def test_names_and_a_search_exclude_each_other(run_crawl: RunCrawl) -> None:
    with pytest.raises(ConfigError, match="cannot be combined with a search"):
        run_crawl(GithubSection(names=["a/b"], stars=">5"))


def test_a_search_without_results_is_an_error(run_crawl: RunCrawl, store: Store) -> None:
    with pytest.raises(BadDataError, match="no repository on GitHub matches"):
        run_crawl(dataclasses.replace(SECTION, stars=">=999999999"))
    assert not store.repositories.exists()


@pytest.mark.parametrize("section", [GithubSection(stars=">=999999"), GithubSection(names=["no/body"])])
def test_a_run_without_results_is_not_cached(github: SmallGitHub, run_crawl: RunCrawl, section: GithubSection) -> None:
    with pytest.raises(BadDataError):
        run_crawl(section)
    github.rows[1] |= {"stars": 1_000_000, "name": "no/body"}
    assert run_crawl(section).repositories == 1


@pytest.mark.parametrize(
    ("override", "message"), [({"items": None}, "invalid response"), ({"total_count": None}, "invalid response")]
)
def test_an_invalid_search_response_is_rejected_and_not_cached(
    github: SmallGitHub, run_crawl: RunCrawl, override: dict[str, Any], message: str
) -> None:
    github.search_override = override
    with pytest.raises(ExternalError, match=message):
        run_crawl(dataclasses.replace(SECTION, limit=200))
    github.search_override = {}
    assert run_crawl(dataclasses.replace(SECTION, limit=200)).repositories == 200


@pytest.mark.parametrize("item", [None, 5, {}, {"id": "x"}, {"id": 5, "full_name": "a/b", "created_at": None}])
def test_an_invalid_row_is_left_out(github: SmallGitHub, run_crawl: RunCrawl, item: Any) -> None:
    github.rows = {number: github.rows[number] for number in range(1, 31)}
    send = github.send

    def send_invalid(request: Request) -> Response:
        response = send(request)
        data = json.loads(response.body)
        if "items" in data:
            data["items"] = [item, *data["items"][1:]]
        return dataclasses.replace(response, body=json.dumps(data).encode())

    github.send = send_invalid  # type: ignore[method-assign]
    summary = run_crawl()
    assert summary.repositories == 29
    assert summary.short


def test_an_additional_name_needs_one_request(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    run_crawl(GithubSection(names=["owner1/name1", "owner2/name2"]))
    n_requests = len(github.requests)
    assert run_crawl(GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3"])).repositories == 3
    assert [request.partition("?")[0] for request in github.requests[n_requests:]] == [
        "/rate_limit",
        "/repos/owner3/name3",
    ]


def test_a_missing_name_does_not_invalidate_the_cache_of_others(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    names = [github.rows[number]["name"] for number in range(1, 11)]
    run_crawl(GithubSection(names=names))
    n_requests = len(github.requests)
    with pytest.raises(BadDataError):
        run_crawl(GithubSection(names=["typo/typo"]))
    assert run_crawl(GithubSection(names=names)).requests == 0
    assert len(github.requests) == n_requests + 2


def test_an_update_of_one_list_does_not_change_another(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    first, other = (GithubSection(names=[f"owner{n}/name{n}" for n in numbers]) for numbers in ((1, 2, 3), (2, 3)))
    run_crawl(first)
    run_crawl(other)
    github.clock.now += 5 * DAY
    run_crawl(other, update=True)
    assert run_crawl(first).requests == 0
    github.clock.now += 60
    n_requests = len(github.requests)
    run_crawl(first, update=True)
    assert sum(request.startswith("/repos/") for request in github.requests[n_requests:]) == 3


def test_a_stopped_update_resumes_after_a_crawl_of_another_list(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    first = GithubSection(names=[f"owner{n}/name{n}" for n in range(1, 11)])
    run_crawl(first)
    github.clock.now += DAY
    with pytest.raises(KeyboardInterrupt):
        run_crawl(first, update=True, via=InterruptingTransport(github, 6, after=False))
    run_crawl(GithubSection(names=["owner50/name50"]))
    n_requests = len(github.requests)
    run_crawl(first, update=True)
    assert sum(request.startswith("/repos/") for request in github.requests[n_requests:]) == 5


@pytest.mark.parametrize("reason", ["refused", "gone"])
def test_an_update_requests_missing_details_again(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store, reason: str
) -> None:
    section = dataclasses.replace(SECTION, limit=20)
    best = github.best
    if reason == "refused":
        github.refused = {best["id"]: [("FORBIDDEN", "SAML", "")]}
    else:
        github.gone = {best["name"]: 404}
    assert run_crawl(section, token=True).gone
    github.refused, github.gone = {}, {}
    github.clock.now += DAY
    assert run_crawl(section, token=True).gone
    assert not run_crawl(section, token=True, update=True).gone
    assert table(store)["commits"].notna().all()


def test_missing_names_do_not_prevent_the_star_history_of_others(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    history = ["no/a", "no/b", "no/c", "owner1/name1", "owner2/name2"]
    run_crawl(GithubSection(names=["owner1/name1"], star_history=history))
    assert pd.read_parquet(store.star_history)["full_name"].unique().tolist() == ["owner1/name1", "owner2/name2"]


def test_a_plan_after_a_finished_run_counts_only_additional_requests(
    github: SmallGitHub, clock: FakeClock, run_crawl: RunCrawl, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=20)
    run_crawl(section, token=True)
    more = dataclasses.replace(section, star_history=["*"], details=True)
    with open_response_cache(store.github_cache, SECTION.api_url) as cache:
        client = Client(github, clock)
        estimate = estimate_crawl(
            more,
            CrawlSession(client, cache, cache.plan_run(crawl_digest(more), client.server_time, update=False)),
            token=True,
        )
        assert (estimate.search_requests, estimate.graphql_requests) == (0, 0)
        assert estimate.core_requests > 20


def test_a_search_that_times_out_is_not_an_empty_result(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    github.search_override = {"total_count": 0, "items": [], "incomplete_results": True}
    with pytest.raises(ExternalError, match="timed out"):
        run_crawl()
    github.search_override = {}
    assert run_crawl().repositories == 3_000


def test_the_seed_has_no_effect_without_sampling(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=200))
    n_requests = len(github.requests)
    run_crawl(dataclasses.replace(SECTION, limit=200, seed=7))
    assert len(github.requests) == n_requests


def test_an_update_without_a_token_does_not_mix_old_details_with_new_rows(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    run_crawl(section, token=True)
    changed = github.best
    changed["stars"] += 1
    changed["issues"] = 1000
    run_crawl(section, token=False, update=True)
    frame = table(store).set_index("id")
    assert frame.loc[changed["id"], "open_issues"] == 1002
    assert pd.isna(frame.loc[changed["id"], "commits"])
    assert frame["commits"].notna().sum() == 199


def test_details_of_another_server_are_not_used(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    run_crawl(section, token=True)
    run_crawl(dataclasses.replace(section, api_url="https://github.example/api/v3"), token=False)
    assert table(store)["commits"].isna().all()


def test_an_update_requests_old_details_again(github: SmallGitHub, clock: FakeClock, run_crawl: RunCrawl) -> None:
    section = dataclasses.replace(SECTION, limit=50)
    run_crawl(section, token=True)
    clock.now += 31 * 86_400
    n_requests = len(github.requests)
    assert "cached responses since" in "\n".join(run_crawl(section, token=True).notes)
    assert len(github.requests) == n_requests
    run_crawl(section, token=True, update=True)
    assert sum("Counts" in request for request in github.requests[n_requests:]) == 2


def test_an_update_revalidates_the_pages_of_a_search(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    run_crawl(section)
    n_requests = len(github.requests)
    github.clock.now += 3600
    run_crawl(section, update=True)
    pages = [request for request in github.requests[n_requests:] if request.startswith("/search")]
    assert len(pages) == 2
    assert all('"' in request for request in pages)


def test_rest_details_are_contributors_readme_and_followers(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    run_crawl(dataclasses.replace(SECTION, limit=5, details=True))
    frame = table(store)
    assert frame["contributors"].unique().tolist() == [31]
    assert frame["readme_length"].unique().tolist() == [4321]
    assert frame["owner_followers"].unique().tolist() == [12]


def test_star_history_is_written_and_refusals_are_reported(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    section = GithubSection(names=["owner1/name1", "owner5/name5"], star_history=["*"])
    summary = run_crawl(section)
    weeks = pd.read_parquet(store.star_history)
    assert summary.history is not None
    assert list(summary.history.refused) == ["owner5/name5"]
    assert weeks["full_name"].unique().tolist() == ["owner1/name1"]
    assert (len(weeks), weeks["stars"].sum(), len(weeks["days"][0])) == (70, 490, 7)
    assert weeks["week"][0] == pd.Timestamp("2025-09-07", tz="UTC")


def test_repeating_a_crawl_sends_no_request(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    section = dataclasses.replace(SECTION, limit=200, details=True, star_history=["*"])
    run_crawl(section, token=True)
    before, n_requests = table(store), len(github.requests)
    assert "no requests" in run_crawl(section, token=True).as_text()
    assert len(github.requests) == n_requests
    pd.testing.assert_frame_equal(before, table(store))


def test_additional_details_use_the_cached_pages(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    run_crawl(section)
    n_requests = len(github.requests)
    run_crawl(dataclasses.replace(section, details=True))
    assert not [request for request in github.requests[n_requests:] if request.startswith("/search")]


def test_an_update_requests_details_of_changed_repositories_only(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    run_crawl(section, token=True)
    changed = github.best
    changed["stars"] += 1
    n_requests = len(github.requests)
    run_crawl(section, token=True, update=True)
    queries = [request for request in github.requests[n_requests:] if "Counts" in request or "Commits" in request]
    assert len(queries) == 2
    assert all(request.count("MDE") == 1 for request in queries)
    assert table(store)["stars"].max() == changed["stars"]


def test_an_update_revalidates_the_pages_of_names(github: SmallGitHub, run_crawl: RunCrawl, store: Store) -> None:
    section = GithubSection(names=["owner1/name1", "owner2/name2"])
    run_crawl(section)
    github.rows[2]["stars"] += 5
    before = table(store)
    run_crawl(section, update=True)
    after = table(store)
    again = [request for request in github.requests if request.startswith("/repos/")][2:]
    assert len(again) == 2
    assert all('"' in request for request in again)
    assert (after["stars"] - before["stars"]).tolist() == [0, 5]


@pytest.mark.real  # it crawls about forty times
@pytest.mark.parametrize("after", [False, True])
def test_a_crawl_stopped_at_every_request_has_the_same_result(
    clock: FakeClock, run_crawl: RunCrawl, store: Store, after: bool
) -> None:
    section = dataclasses.replace(SECTION, limit=120, details=True, star_history=["owner1/name1"])
    run_crawl(section, token=True, via=SmallGitHub(FakeClock()))
    whole = table(store)
    store.github_cache.unlink()
    store.repositories.unlink()
    github = SmallGitHub(clock)
    n_stops = 0
    while not store.repositories.exists():
        try:
            run_crawl(section, token=True, via=InterruptingTransport(github, 1, after=after))
        except KeyboardInterrupt:
            n_stops += 1
    answered = (
        github.requests if not after else [request for index, request in enumerate(github.requests) if index % 2 == 0]
    )
    assert n_stops > 10
    assert len(answered) == len(set(answered))
    pd.testing.assert_frame_equal(whole.drop(columns="fetched_at"), table(store).drop(columns="fetched_at"))


def test_progress_reports_repositories_requests_and_the_end(
    github: SmallGitHub, clock: FakeClock, store: Store
) -> None:
    lines: list[str] = []
    with open_response_cache(store.github_cache, SECTION.api_url) as cache:
        crawl(
            SECTION,
            FetchSection(),
            store,
            cache,
            Client(github, clock),
            datetime.fromtimestamp(NOW, tz=UTC),
            token=False,
            report=lambda what, _share: lines.append(what),
        )
    assert any("of 3,000 repositories" in line and "requests" in line and "to go, until" in line for line in lines)


def test_a_name_that_graphql_never_returns_is_fetched_by_rest(
    github: SmallGitHub, run_crawl: RunCrawl, store: Store
) -> None:
    github.hopeless = {"owner2/name2", "no/body"}
    section = GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3", "no/body"])
    assert run_crawl(section, token=True).gone == {"no/body": "Not Found"}
    assert table(store)["full_name"].tolist() == ["owner1/name1", "owner2/name2", "owner3/name3"]
    n_requests = len(github.requests)
    run_crawl(section, token=True)
    assert len(github.requests) == n_requests


def test_a_name_that_graphql_refuses_is_reported_with_its_message(github: SmallGitHub, run_crawl: RunCrawl) -> None:
    saml = "Resource protected by organization SAML enforcement."
    github.refused = {2: [("FORBIDDEN", saml, "")], 3: [("FORBIDDEN", saml, "owner")]}
    names = ["owner1/name1", "owner2/name2", "owner3/name3", "no/body"]
    gone = {"owner2/name2": saml, "owner3/name3": saml, "no/body": "Not Found"}
    assert run_crawl(GithubSection(names=names), token=True).gone == gone
