"""From what is asked for to the file: nothing lost, nothing asked twice, what is missing said."""

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
from stargaze.store import Store
from tests.features.github.conftest import NOW, FakeClock
from tests.features.github.small_github import InterruptingTransport, SmallGitHub

pytestmark = pytest.mark.thorough

DAY = 86_400
SECTION = GithubSection(stars=">=10", limit=0)
Gathering = Callable[..., CrawlSummary]


@pytest.fixture
def github(clock: FakeClock) -> SmallGitHub:
    return SmallGitHub(clock)


@pytest.fixture
def gathering(github: SmallGitHub, clock: FakeClock, store: Store) -> Gathering:
    """Gather as the command does, through another transport if given."""

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


def test_every_repository_of_a_search_is_gathered_once(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    summary = gathering()
    found = table(store)
    assert found["id"].tolist() == sorted(github.rows)
    assert found["stars"].tolist() == [github.rows[number]["stars"] for number in sorted(github.rows)]
    assert (summary.repositories, summary.short, summary.refused) == (3_000, (), 0)
    assert summary.requests == len(github.requests) < 45


def test_the_most_starred_are_gathered_with_as_few_pages_as_they_fill(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    gathering(dataclasses.replace(SECTION, limit=300))
    best = sorted((row["stars"] for row in github.rows.values()), reverse=True)[:300]
    assert sorted(table(store)["stars"], reverse=True) == best
    assert [request.partition("?")[0] for request in github.requests] == ["/rate_limit", *["/search/repositories"] * 3]


def test_the_most_starred_of_many_need_not_all_be_walked(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    gathering(dataclasses.replace(SECTION, limit=1500))
    best = sorted((row["stars"] for row in github.rows.values()), reverse=True)[:1500]
    assert sorted(table(store)["stars"], reverse=True) == best
    assert len(github.requests) < 27


@pytest.mark.parametrize("sampling", ["random", "stratified"])
def test_a_sample_is_as_large_as_asked_and_the_same_every_time(
    github: SmallGitHub, gathering: Gathering, store: Store, sampling: str
) -> None:
    section = dataclasses.replace(SECTION, limit=600, sampling=sampling)
    gathering(section)
    first = table(store)
    store.github_cache.unlink()
    gathering(section)
    assert len(first) == 600
    pd.testing.assert_frame_equal(first.drop(columns="fetched_at"), table(store).drop(columns="fetched_at"))


def test_a_random_sample_has_stars_as_all_have(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    gathering(dataclasses.replace(SECTION, limit=1000, sampling="random"))
    everybody = pd.Series([row["stars"] for row in github.rows.values()])
    assert table(store)["stars"].median() == pytest.approx(everybody.median(), rel=0.15)


def test_a_stratified_sample_has_more_of_the_rare(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    gathering(dataclasses.replace(SECTION, limit=600, sampling="stratified"))
    famous = [number for number, row in github.rows.items() if row["stars"] >= 316]
    assert set(famous) <= set(table(store)["id"])


@pytest.mark.parametrize("number", [30, 150, 1000, 2900])
@pytest.mark.parametrize("sampling", ["random", "stratified"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_sample_is_never_short(gathering: Gathering, number: int, sampling: str, seed: int) -> None:
    section = dataclasses.replace(SECTION, limit=number, sampling=sampling, seed=seed)
    assert gathering(section).repositories == number


def test_a_stratified_sample_costs_what_is_foreseen(
    github: SmallGitHub, clock: FakeClock, gathering: Gathering, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=600, sampling="stratified")
    client = Client(github, clock)
    with open_response_cache(store.github_cache, SECTION.api_url) as cache:
        foreseen = estimate_crawl(
            section,
            CrawlSession(client, cache, cache.plan_run(crawl_digest(section), client.server_time, update=False)),
            token=False,
        )
    counted = len(github.requests)
    gathering(section)
    asked = sum(request.startswith("/search") for request in github.requests[counted:])
    assert foreseen.search_requests == pytest.approx(asked, rel=0.25)
    assert foreseen.answered + asked == sum(request.startswith("/search") for request in github.requests)
    assert (
        len(set(github.requests))
        == len([request for request in github.requests if not request.startswith("/rate_limit")]) + 1
    )


def test_of_many_that_share_a_star_count_as_many_are_looked_at_as_are_wanted(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    for number, row in github.rows.items():
        row["stars"] = 0 if number > 200 else 100 + number
    gathering(dataclasses.replace(SECTION, stars="", limit=1100), token=True)
    stars = table(store)["stars"]
    assert (len(stars), (stars > 0).sum()) == (1100, 200)
    assert sum(request.startswith("/search") for request in github.requests) < 30
    counts = [json.loads(request) for request in github.requests if "Counts" in request]
    assert sum(len(body["variables"]["ids"]) for body in counts) == 1100


def test_a_search_that_counts_many_and_shows_none_is_told(github: SmallGitHub, gathering: Gathering) -> None:
    github.search_override = {"total_count": 5000, "items": []}
    with pytest.raises(BadDataError, match="no repository on GitHub matches"):
        gathering(dataclasses.replace(SECTION, limit=2000))


def test_details_are_asked_of_those_that_are_kept_and_of_no_others(github: SmallGitHub, gathering: Gathering) -> None:
    gathering(dataclasses.replace(SECTION, limit=50), token=True)
    counts = [json.loads(request) for request in github.requests if "Counts" in request]
    assert sum(len(body["variables"]["ids"]) for body in counts) == 50


def test_with_a_token_counts_and_commits_are_known_too(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    gathering(dataclasses.replace(SECTION, limit=200), token=True)
    found = table(store)
    assert found["commits"].tolist() == [number + 1 for number in found["id"]]
    assert found["subscribers"].unique().tolist() == [9]
    assert found["readme_length"].unique().tolist() == [77]
    issues = [github.rows[number]["issues"] for number in found["id"]]
    assert found["open_issues"].tolist() == [count + 2 for count in issues]
    assert found["issues"].tolist() == [count + 4 for count in issues]


def test_a_query_that_is_too_heavy_is_asked_in_smaller_pages(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    github.too_heavy = 7
    summary = gathering(dataclasses.replace(SECTION, limit=200), token=True)
    assert table(store)["commits"].notna().all()
    assert summary.too_large == ()


def test_a_repository_too_large_to_count_is_told_and_the_others_are_not_lost(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=100)
    best = github.best
    github.hopeless = {best["id"]}
    summary = gathering(section, token=True)
    assert summary.too_large == (best["name"],)
    assert table(store)["commits"].isna().sum() == 1
    before = len(github.requests)
    assert gathering(section, token=True).too_large == (best["name"],)
    assert len(github.requests) == before


def test_a_graphql_that_answers_nothing_ends_and_marks_nobody_as_too_large(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    github.too_heavy = 0
    with pytest.raises(ExternalError, match="does not respond"):
        gathering(dataclasses.replace(SECTION, limit=100), token=True)
    github.too_heavy = 100
    assert gathering(dataclasses.replace(SECTION, limit=100), token=True).too_large == ()


def test_a_repository_deleted_in_mid_run_is_told_and_keeps_its_row(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    best = github.best
    github.gone = {best["name"]: 404}
    for _ in range(2):
        summary = gathering(dataclasses.replace(SECTION, limit=100), token=True)
        assert summary.gone == {best["name"]: "deleted meanwhile"}
    assert len(table(store)) == 100


@pytest.mark.parametrize("token", [False, True])
def test_names_are_looked_up_renamed_ones_found_and_lost_ones_told(
    github: SmallGitHub, gathering: Gathering, store: Store, token: bool
) -> None:
    github.renamed = {"old/name": "owner3/name3"}
    github.gone = {"owner5/name5": 451}
    names = ["owner1/name1", "owner2/name2", "old/name", "owner5/name5", "no/body", "OWNER1/name1"]
    summary = gathering(GithubSection(names=names), token=token)
    assert table(store)["full_name"].tolist() == ["owner1/name1", "owner2/name2", "owner3/name3"]
    assert set(summary.gone) == {"owner5/name5", "no/body"}
    assert summary.as_line() == "3 repositories; 2 repositories that are gone or refused"


def test_a_blocked_name_is_told_and_those_behind_it_are_looked_up(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    github.gone = {"owner5/name5": 403}
    summary = gathering(GithubSection(names=["owner1/name1", "owner5/name5", "owner2/name2"]))
    assert summary.gone == {"owner5/name5": "blocked (tos)"}
    assert len(table(store)) == 2


def test_an_open_issue_means_the_same_by_rest_and_by_graphql(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    gathering(GithubSection(names=["owner7/name7"]), token=False)
    rest = table(store)["open_issues"].tolist()
    store.github_cache.unlink()
    gathering(GithubSection(names=["owner7/name7"]), token=True)
    assert table(store)["open_issues"].tolist() == rest


def test_names_beside_a_search_are_refused(gathering: Gathering) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        gathering(GithubSection(names=["a/b"], stars=">5"))


def test_a_search_that_finds_nothing_says_so(gathering: Gathering, store: Store) -> None:
    with pytest.raises(BadDataError, match="no repository on GitHub matches"):
        gathering(dataclasses.replace(SECTION, stars=">=999999999"))
    assert not store.repositories.exists()


@pytest.mark.parametrize("section", [GithubSection(stars=">=999999"), GithubSection(names=["no/body"])])
def test_what_found_nothing_is_asked_again_by_the_same_command(
    github: SmallGitHub, gathering: Gathering, section: GithubSection
) -> None:
    with pytest.raises(BadDataError):
        gathering(section)
    github.rows[1] |= {"stars": 1_000_000, "name": "no/body"}
    assert gathering(section).repositories == 1


@pytest.mark.parametrize(
    ("odd", "words"), [({"items": None}, "invalid response"), ({"total_count": None}, "invalid response")]
)
def test_a_search_answer_of_an_odd_shape_is_refused_and_not_kept(
    github: SmallGitHub, gathering: Gathering, odd: dict[str, Any], words: str
) -> None:
    github.search_override = odd
    with pytest.raises(ExternalError, match=words):
        gathering(dataclasses.replace(SECTION, limit=200))
    github.search_override = {}
    assert gathering(dataclasses.replace(SECTION, limit=200)).repositories == 200


@pytest.mark.parametrize("item", [None, 5, {}, {"id": "x"}, {"id": 5, "full_name": "a/b", "created_at": None}])
def test_a_row_of_an_odd_shape_is_left_out(github: SmallGitHub, gathering: Gathering, item: Any) -> None:
    github.rows = {number: github.rows[number] for number in range(1, 31)}
    send = github.send

    def odd(request: Request) -> Response:
        answer = send(request)
        data = json.loads(answer.body)
        if "items" in data:
            data["items"] = [item, *data["items"][1:]]
        return dataclasses.replace(answer, body=json.dumps(data).encode())

    github.send = odd  # type: ignore[method-assign]
    summary = gathering()
    assert summary.repositories == 29
    assert summary.short


def test_one_name_more_asks_for_that_one_alone(github: SmallGitHub, gathering: Gathering) -> None:
    gathering(GithubSection(names=["owner1/name1", "owner2/name2"]))
    asked = len(github.requests)
    assert gathering(GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3"])).repositories == 3
    assert [request.partition("?")[0] for request in github.requests[asked:]] == ["/rate_limit", "/repos/owner3/name3"]


def test_a_name_that_is_not_there_costs_the_others_nothing(github: SmallGitHub, gathering: Gathering) -> None:
    names = [github.rows[number]["name"] for number in range(1, 11)]
    gathering(GithubSection(names=names))
    asked = len(github.requests)
    with pytest.raises(BadDataError):
        gathering(GithubSection(names=["typo/typo"]))
    assert gathering(GithubSection(names=names)).requests == 0
    assert len(github.requests) == asked + 2


def test_an_update_of_one_list_leaves_the_other_as_it_is(github: SmallGitHub, gathering: Gathering) -> None:
    one, other = (GithubSection(names=[f"owner{n}/name{n}" for n in numbers]) for numbers in ((1, 2, 3), (2, 3)))
    gathering(one)
    gathering(other)
    github.clock.now += 5 * DAY
    gathering(other, update=True)
    assert gathering(one).requests == 0
    github.clock.now += 60
    asked = len(github.requests)
    gathering(one, update=True)
    assert sum(request.startswith("/repos/") for request in github.requests[asked:]) == 3


def test_an_update_that_was_stopped_goes_on_though_another_list_was_gathered_meanwhile(
    github: SmallGitHub, gathering: Gathering
) -> None:
    one = GithubSection(names=[f"owner{n}/name{n}" for n in range(1, 11)])
    gathering(one)
    github.clock.now += DAY
    with pytest.raises(KeyboardInterrupt):
        gathering(one, update=True, via=InterruptingTransport(github, 6, after=False))
    gathering(GithubSection(names=["owner50/name50"]))
    asked = len(github.requests)
    gathering(one, update=True)
    assert sum(request.startswith("/repos/") for request in github.requests[asked:]) == 5


@pytest.mark.parametrize("remark", ["refused", "gone"])
def test_an_update_asks_again_for_what_could_not_be_had(
    github: SmallGitHub, gathering: Gathering, store: Store, remark: str
) -> None:
    section = dataclasses.replace(SECTION, limit=20)
    best = github.best
    if remark == "refused":
        github.refused = {best["id"]: [("FORBIDDEN", "SAML", "")]}
    else:
        github.gone = {best["name"]: 404}
    assert gathering(section, token=True).gone
    github.refused, github.gone = {}, {}
    github.clock.now += DAY
    assert gathering(section, token=True).gone
    assert not gathering(section, token=True, update=True).gone
    assert table(store)["commits"].notna().all()


def test_names_that_are_gone_do_not_end_the_history_of_others(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    history = ["no/a", "no/b", "no/c", "owner1/name1", "owner2/name2"]
    gathering(GithubSection(names=["owner1/name1"], star_history=history))
    assert pd.read_parquet(store.star_history)["full_name"].unique().tolist() == ["owner1/name1", "owner2/name2"]


def test_a_plan_counts_what_is_asked_beside_a_gather_that_is_done(
    github: SmallGitHub, clock: FakeClock, gathering: Gathering, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=20)
    gathering(section, token=True)
    more = dataclasses.replace(section, star_history=["*"], details=True)
    with open_response_cache(store.github_cache, SECTION.api_url) as cache:
        client = Client(github, clock)
        foreseen = estimate_crawl(
            more,
            CrawlSession(client, cache, cache.plan_run(crawl_digest(more), client.server_time, update=False)),
            token=True,
        )
        assert (foreseen.search_requests, foreseen.graphql_requests) == (0, 0)
        assert foreseen.core_requests > 20


def test_a_search_that_github_gives_up_on_is_no_empty_one(github: SmallGitHub, gathering: Gathering) -> None:
    github.search_override = {"total_count": 0, "items": [], "incomplete_results": True}
    with pytest.raises(ExternalError, match="timed out"):
        gathering()
    github.search_override = {}
    assert gathering().repositories == 3_000


def test_the_seed_changes_nothing_where_nothing_is_drawn(github: SmallGitHub, gathering: Gathering) -> None:
    gathering(dataclasses.replace(SECTION, limit=200))
    asked = len(github.requests)
    gathering(dataclasses.replace(SECTION, limit=200, seed=7))
    assert len(github.requests) == asked


def test_an_update_without_a_token_has_no_figures_of_the_past_beside_those_of_today(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    gathering(section, token=True)
    changed = github.best
    changed["stars"] += 1
    changed["issues"] = 1000
    gathering(section, token=False, update=True)
    found = table(store).set_index("id")
    assert found.loc[changed["id"], "open_issues"] == 1002
    assert pd.isna(found.loc[changed["id"], "commits"])
    assert found["commits"].notna().sum() == 199


def test_details_of_another_server_are_not_taken(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    gathering(section, token=True)
    gathering(dataclasses.replace(section, api_url="https://github.example/api/v3"), token=False)
    assert table(store)["commits"].isna().all()


def test_an_update_asks_again_for_details_that_are_old(
    github: SmallGitHub, clock: FakeClock, gathering: Gathering
) -> None:
    section = dataclasses.replace(SECTION, limit=50)
    gathering(section, token=True)
    clock.now += 31 * 86_400
    asked = len(github.requests)
    assert "cached responses since" in "\n".join(gathering(section, token=True).notes)
    assert len(github.requests) == asked
    gathering(section, token=True, update=True)
    assert sum("Counts" in request for request in github.requests[asked:]) == 2


def test_an_update_of_a_search_asks_whether_the_answers_still_hold(github: SmallGitHub, gathering: Gathering) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    gathering(section)
    asked = len(github.requests)
    github.clock.now += 3600
    gathering(section, update=True)
    pages = [request for request in github.requests[asked:] if request.startswith("/search")]
    assert len(pages) == 2
    assert all('"' in request for request in pages)


def test_a_closer_look_brings_contributors_readme_and_followers(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    gathering(dataclasses.replace(SECTION, limit=5, details=True))
    found = table(store)
    assert found["contributors"].unique().tolist() == [31]
    assert found["readme_length"].unique().tolist() == [4321]
    assert found["owner_followers"].unique().tolist() == [12]


def test_star_history_is_written_and_a_refusal_of_it_is_told(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    section = GithubSection(names=["owner1/name1", "owner5/name5"], star_history=["*"])
    summary = gathering(section)
    weeks = pd.read_parquet(store.star_history)
    assert summary.history is not None
    assert list(summary.history.refused) == ["owner5/name5"]
    assert weeks["full_name"].unique().tolist() == ["owner1/name1"]
    assert (len(weeks), weeks["stars"].sum(), len(weeks["days"][0])) == (70, 490, 7)
    assert weeks["week"][0] == pd.Timestamp("2025-09-07", tz="UTC")


def test_the_same_command_again_asks_nothing(github: SmallGitHub, gathering: Gathering, store: Store) -> None:
    section = dataclasses.replace(SECTION, limit=200, details=True, star_history=["*"])
    gathering(section, token=True)
    before, asked = table(store), len(github.requests)
    assert "no requests" in gathering(section, token=True).as_text()
    assert len(github.requests) == asked
    pd.testing.assert_frame_equal(before, table(store))


def test_what_is_asked_beside_goes_on_with_the_same_pages(github: SmallGitHub, gathering: Gathering) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    gathering(section)
    asked = len(github.requests)
    gathering(dataclasses.replace(section, details=True))
    assert not [request for request in github.requests[asked:] if request.startswith("/search")]


def test_an_update_asks_the_pages_anew_and_details_only_of_what_changed(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    section = dataclasses.replace(SECTION, limit=200)
    gathering(section, token=True)
    changed = github.best
    changed["stars"] += 1
    asked = len(github.requests)
    gathering(section, token=True, update=True)
    queries = [request for request in github.requests[asked:] if "Counts" in request or "Commits" in request]
    assert len(queries) == 2
    assert all(request.count("MDE") == 1 for request in queries)
    assert table(store)["stars"].max() == changed["stars"]


def test_an_update_of_names_asks_whether_the_answers_still_hold(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    section = GithubSection(names=["owner1/name1", "owner2/name2"])
    gathering(section)
    github.rows[2]["stars"] += 5
    before = table(store)
    gathering(section, update=True)
    after = table(store)
    again = [request for request in github.requests if request.startswith("/repos/")][2:]
    assert len(again) == 2
    assert all('"' in request for request in again)
    assert (after["stars"] - before["stars"]).tolist() == [0, 5]


@pytest.mark.real  # it gathers some forty times
@pytest.mark.parametrize("after", [False, True])
def test_a_gather_stopped_at_every_request_ends_as_one_that_was_not(
    clock: FakeClock, gathering: Gathering, store: Store, after: bool
) -> None:
    section = dataclasses.replace(SECTION, limit=120, details=True, star_history=["owner1/name1"])
    gathering(section, token=True, via=SmallGitHub(FakeClock()))
    whole = table(store)
    store.github_cache.unlink()
    store.repositories.unlink()
    github = SmallGitHub(clock)
    stops = 0
    while not store.repositories.exists():
        try:
            gathering(section, token=True, via=InterruptingTransport(github, 1, after=after))
        except KeyboardInterrupt:
            stops += 1
    answered = (
        github.requests if not after else [request for place, request in enumerate(github.requests) if place % 2 == 0]
    )
    assert stops > 10
    assert len(answered) == len(set(answered))
    pd.testing.assert_frame_equal(whole.drop(columns="fetched_at"), table(store).drop(columns="fetched_at"))


def test_progress_tells_repositories_requests_and_the_end(github: SmallGitHub, clock: FakeClock, store: Store) -> None:
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


def test_a_name_that_graphql_never_answers_is_asked_of_rest(
    github: SmallGitHub, gathering: Gathering, store: Store
) -> None:
    github.hopeless = {"owner2/name2", "no/body"}
    section = GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3", "no/body"])
    assert gathering(section, token=True).gone == {"no/body": "Not Found"}
    assert table(store)["full_name"].tolist() == ["owner1/name1", "owner2/name2", "owner3/name3"]
    asked = len(github.requests)
    gathering(section, token=True)
    assert len(github.requests) == asked


def test_a_name_that_graphql_refuses_is_told_in_its_own_words(github: SmallGitHub, gathering: Gathering) -> None:
    saml = "Resource protected by organization SAML enforcement."
    github.refused = {2: [("FORBIDDEN", saml, "")], 3: [("FORBIDDEN", saml, "owner")]}
    names = ["owner1/name1", "owner2/name2", "owner3/name3", "no/body"]
    gone = {"owner2/name2": saml, "owner3/name3": saml, "no/body": "Not Found"}
    assert gathering(GithubSection(names=names), token=True).gone == gone
