"""Star histories of GitHub: whole weeks only, summed backward from the present count, requested together within the limits."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.github.api.replies import Reply
from stargaze.serve.lookup import github_history
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.github_history import WEEK, GithubStarHistories, read_history_page, weekly_counts
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.store import Store
from tests.growth_bundles import constant_bundle
from tests.histories import one_history
from tests.simulated.fast_clock import FastClock
from tests.simulated.server import running
from tests.simulated.world import Faults, World
from tests.waiting import NOT_BLOCKED

NOW = datetime.now(UTC)
SUNDAY = 1_600_560_000 - (1_600_560_000 - 259_200) % WEEK


def create_repositories(
    url: str, store: Store, clock: FastClock, token: str = "", exclude: tuple[str, ...] = ()
) -> GithubRepositories:
    exclusions = Exclusions.parse(exclude)
    return GithubRepositories(open_github(url, token, store, clock.time, exclusions), exclusions)


def create_histories(url: str, store: Store, clock: FastClock, token: str = "") -> StarHistories:
    return StarHistories(store, live=GithubStarHistories(create_repositories(url, store, clock, token)))


def find(histories: StarHistories, repositories: GithubRepositories, names: list[str]) -> dict[str, Any]:
    repositories.fetch(names)
    return dict(histories.find_all(names, NOW, None))


def history_requests(world: World) -> list[str]:
    return [url for url, _ in world.counts.log if "/stargazers/history" in url]


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=120),
    st.integers(0, 6),
    st.lists(st.integers(0, 9), min_size=7, max_size=7),
    st.integers(0, 50),
)
def test_the_gains_of_whole_weeks_lead_to_the_present_count(
    gains: list[int], day: int, current: list[int], before: int
) -> None:
    at = SUNDAY + day * 86_400 + 1
    weeks: list[Any] = [(SUNDAY, sum(current), current)]
    weeks += [(SUNDAY - (index + 1) * WEEK, gain, [gain, 0, 0, 0, 0, 0, 0]) for index, gain in enumerate(gains)]
    weeks.append((SUNDAY + WEEK, 99, [99]))  # the future
    stars = before + sum(gains) + sum(current[: day + 1])

    counts = weekly_counts(weeks, stars, at)

    assert counts[-1] == (SUNDAY, before + sum(gains))
    assert counts[0] == (SUNDAY - len(gains) * WEEK, before)
    assert [later - earlier for (_, earlier), (_, later) in itertools.pairwise(counts)] == gains[::-1]
    assert [end for end, _ in counts] == list(range(counts[0][0], SUNDAY + 1, WEEK))


def test_withdrawn_stars_never_make_a_count_negative_and_weeks_may_be_left_out() -> None:
    weeks = [(SUNDAY - 5 * WEEK, 40, [40]), (SUNDAY - 9 * WEEK, -3, [-3])]

    counts = weekly_counts(weeks, 30, SUNDAY)

    assert [count for _, count in counts] == [0, 0, 0, 0, 0, 30, 30, 30, 30, 30]
    assert weekly_counts([], 30, SUNDAY) == weekly_counts([(SUNDAY, 5, [5])], 30, SUNDAY + 5) == []


@pytest.mark.thorough
@pytest.mark.parametrize("token", ["good", ""])
def test_a_history_leads_to_the_stars_of_the_record(
    url: str, store: Store, world: World, clock: FastClock, token: str
) -> None:
    old = np.flatnonzero(world.population.created < clock.now - 100 * WEEK)[[1, 20, 90]].tolist()
    names = [world.population.name(row).lower() for row in old]
    world.window("core", known=False).take(clock.now, 10)
    histories, repositories = create_histories(url, store, clock, token), create_repositories(url, store, clock, token)

    results = find(histories, repositories, names)

    for name, row in zip(names, old, strict=True):
        history, note = results[name]["history"], results[name]["history_note"]
        assert history["source"] == "github"
        assert history["as_of"] == datetime.fromtimestamp(clock.now, UTC).date().isoformat()
        assert history["dates"] == sorted(history["dates"])
        assert history["dates"][-1] <= history["as_of"]
        assert history["stars"] == sorted(history["stars"])
        assert 0.9 * world.population.stars[row] <= history["stars"][-1] <= world.population.stars[row]
        if token:
            assert (history["stars"][0], note) == (0, "")
        else:  # only one page of 30 weeks is affordable
            assert note == f"Star history since {history['dates'][0]}: earlier weeks were not requested from GitHub"
            assert 28 <= len(history["dates"]) <= 31


@pytest.mark.parametrize("token", ["good", ""])
def test_a_renamed_repository_has_its_history(
    url: str, store: Store, world: World, clock: FastClock, token: str
) -> None:
    row = int(np.flatnonzero(world.population.created < clock.now - 9 * WEEK)[-1])
    former_name = world.population.name(row)
    world.population.rename(row)
    repositories = create_repositories(url, store, clock, token)
    repositories.fetch([former_name])
    requested = world.counts.requests

    result = StarHistories(store, live=GithubStarHistories(repositories)).find(world.population.name(row), NOW, None)

    assert result["history"]["source"] == "github"
    assert world.counts.requests - requested == len(history_requests(world))


@pytest.mark.thorough
def test_the_first_page_suffices_for_a_forecast(url: str, store: Store, world: World, clock: FastClock) -> None:
    name, growth = world.population.name(3).lower(), constant_bundle()

    result = create_histories(url, store, clock).find(name, NOW, growth)

    assert result["forecast"]
    assert result["forecast"][0]["date"] > result["history"]["dates"][-1]


@pytest.mark.thorough
def test_first_pages_come_before_further_ones_and_are_reused(
    url: str, store: Store, world: World, clock: FastClock
) -> None:
    names = [world.population.name(row).lower() for row in (3, 40)]
    histories, repositories = (
        create_histories(url, store, clock, "good"),
        create_repositories(url, store, clock, "good"),
    )
    find(histories, repositories, names)
    requested = history_requests(world)

    find(create_histories(url, store, clock, "good"), repositories, names)

    assert {address.rpartition("=")[2] for address in requested[:2]} == {"1"}
    assert "1" not in {address.rpartition("=")[2] for address in requested[2:]}
    assert history_requests(world) == requested


@pytest.mark.thorough  # it requests many pages
def test_a_new_week_moves_all_pages(url: str, store: Store, world: World, clock: FastClock) -> None:
    clock.ahead = WEEK - (clock.now - SUNDAY) % WEEK - 3_600.0  # an hour before the end of a week
    row = int(np.flatnonzero(world.population.created < clock.now - 100 * WEEK)[1])
    name = world.population.name(row)
    find(create_histories(url, store, clock, "good"), create_repositories(url, store, clock, "good"), [name])
    before = history_requests(world)

    clock.ahead += 7_200.0
    find(create_histories(url, store, clock, "good"), create_repositories(url, store, clock, "good"), [name])

    assert len(before) > 3
    assert sorted(history_requests(world)) == sorted(before * 2)


@pytest.mark.thorough  # it requests eight pages
def test_pages_that_arrive_later_complete_the_curve(
    url: str, store: Store, world: World, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_history, "PARTIAL_MAX_AGE", 0.0)
    monkeypatch.setattr(github_history, "HISTORY_SECONDS", NOT_BLOCKED)
    clock.ahead = 43_200.0 - clock.now % 86_400  # noon: the stars of each week change with the day
    row = int(np.flatnonzero(world.population.created < clock.now - 100 * WEEK)[1])
    histories, name = create_histories(url, store, clock), world.population.name(row)
    world.window("core", known=False).take(clock.now, 20)
    before = histories.find(name, NOW, None)
    clock.ahead += 3_700.0  # the next hour

    after = histories.find(name, NOW, None)

    assert before["history_note"].startswith("Star history since ")
    assert after["history_note"] == ""
    assert after["history"]["stars"][0] == 0
    assert after["history"]["dates"][0] < before["history"]["dates"][0]


def test_without_a_token_histories_leave_requests_for_repositories(
    url: str, store: Store, world: World, clock: FastClock
) -> None:
    world.window("core", known=False).take(clock.now, 40)
    histories, repositories = create_histories(url, store, clock), create_repositories(url, store, clock)
    first, second = (world.population.name(row).lower() for row in (3, 40))
    repositories.fetch([first])

    result = find(histories, repositories, [second])[second]

    assert history_requests(world) == []
    assert result["history"] is None
    assert result["history_note"].startswith("No star history: rate limited by GitHub until ")


def test_a_stored_history_answers_with_its_date_if_github_is_unreachable(store: Store, clock: FastClock) -> None:
    table = one_history("a/b", [1, 2, 3])
    store.root.mkdir(parents=True)
    table.to_parquet(store.root / "history.parquet")
    repositories = create_repositories("http://127.0.0.1:9", store, clock)
    histories = StarHistories(store, str(store.root / "history.parquet"), GithubStarHistories(repositories))

    results = histories.find_all(["a/b", "a/c"], NOW, None)

    assert results["a/b"]["history"]["source"] == "store"
    last = table["date"].iloc[-1].date().isoformat()
    assert results["a/b"]["history_note"] == f"Star history until {last}: GitHub cannot be reached at the moment"
    assert results["a/c"]["history_note"] == "No star history: GitHub cannot be reached at the moment"


def test_a_refused_history_has_a_note(store: Store, clock: FastClock) -> None:
    world = World(200, clock=clock, faults=Faults(history_refused=True))
    with running(world) as url:
        result = create_histories(url, store, clock).find(world.population.name(3), NOW, None)

    assert result["history_note"] == "No star history: GitHub returns none: Resource not accessible"


def test_an_excluded_repository_is_not_requested(url: str, store: Store, world: World, clock: FastClock) -> None:
    name = world.population.name(3)
    live = GithubStarHistories(create_repositories(url, store, clock, exclude=(name,)))

    assert live.fetch([name]) == {}
    assert world.counts.requests == 0


@pytest.mark.parametrize(
    "data",
    [{"weeks": 1}, [{"week": "x", "total": 1, "days": []}], [None, 5], [{"week": 10**15, "total": 1, "days": [1]}]],
)
def test_a_malformed_history_is_none(data: Any) -> None:
    value, _ = read_history_page(Reply(data, NOW), 5)

    assert value is None or weekly_counts(value["weeks"], 5, time.time()) == []
