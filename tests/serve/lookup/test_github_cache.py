"""Without a token GitHub allows 60 requests per hour: processes share them, and the most valuable requests get the rest."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.github_cache import SharedRateLimit
from stargaze.serve.lookup.github_history import HISTORY_RESERVE
from stargaze.serve.lookup.github_repositories import CONTRIBUTORS_RESERVE, UNKNOWN_LIMIT, GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.github_resource import GithubReply
from stargaze.serve.lookup.live import GithubLookup
from stargaze.store import Store
from tests.simulated.fast_clock import FastClock
from tests.simulated.world import World

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def create_lookup(bundle: Bundle, url: str, store: Store, clock: FastClock) -> GithubLookup:
    return GithubLookup(bundle, GithubRepositories(open_github(url, "", store, clock.time)))


@pytest.mark.thorough  # it looks up 60 repositories
def test_two_processes_use_one_limit_for_repositories_first_and_say_when_it_ends(
    bundle: Bundle, url: str, store: Store, world: World, clock: FastClock
) -> None:
    lookups = [create_lookup(bundle, url, store, clock) for _process in range(2)]
    names = [world.population.name(row) for row in range(60)]

    results = [lookups[row % 2].find([name], NOW) for row, name in enumerate(names)]

    found = [result for result in results if result.rows]
    with_contributors = [result for result in found if result.frame["contributors"].notna().all()]
    assert world.window("core", known=False).used == 60
    assert world.counts.by_kind["core", 403] == 0
    assert len(with_contributors) == (60 - CONTRIBUTORS_RESERVE) // 2
    assert len(found) == len(with_contributors) + CONTRIBUTORS_RESERVE
    end = f"rate limited by GitHub until {datetime.fromtimestamp(world.window('core', known=False).until, UTC):%H:%M}"[
        :-1
    ]
    (note,) = next(iter(found[-1].notes.values()))
    (error,) = results[-1].errors.values()
    assert note.startswith(f"the number of contributors is missing: {end}")
    assert error["code"] == "github_rate_limited"
    assert end in error["message"]

    clock.ahead = 3_700.0
    assert lookups[0].find(names[-1:], NOW).rows


def test_names_that_github_does_not_have_leave_requests_for_repositories(
    bundle: Bundle, url: str, store: Store, world: World, clock: FastClock
) -> None:
    lookups = [create_lookup(bundle, url, store, clock) for _process in range(2)]
    known, new = world.population.name(3), world.population.name(4)
    lookups[0].find([known], NOW)
    before, limit = world.counts.requests, UNKNOWN_LIMIT[0]
    clock.ahead += 601.0  # the record of the known one is requested again

    errors = [
        error
        for number in range(2 * limit)
        for error in lookups[number % 2].find([f"somebody/unknown-{number}"], NOW).errors.values()
    ]

    until = datetime.fromtimestamp(clock.now + UNKNOWN_LIMIT[1], UTC)
    assert world.counts.requests == before + limit
    assert [error["code"] for error in errors] == ["unknown_repository"] * limit + ["github_rate_limited"] * limit
    assert errors[-1]["message"].endswith(
        (f"until {until:%H:%M} UTC", f"until {until - timedelta(minutes=1):%H:%M} UTC")
    )
    assert lookups[1].find([known], NOW).notes == {known.lower(): []}
    assert not lookups[1].find([new], NOW).rows, "it may not exist either"
    assert lookups[0].find(["somebody/unknown-0"], NOW).errors.popitem()[1]["code"] == "unknown_repository", "cached"
    assert lookups[1].github.fetch_records([known], time.monotonic() + 60.0, HISTORY_RESERVE)[known.lower()].record
    clock.ahead += UNKNOWN_LIMIT[1] + 1
    assert lookups[1].find([new], NOW).rows


def test_with_a_token_names_that_github_does_not_have_are_limited_by_its_own_limit_only(
    bundle: Bundle, url: str, store: Store, clock: FastClock
) -> None:
    requests = open_github(url, "good", store, clock.time)
    lookup = GithubLookup(bundle, GithubRepositories(requests))

    errors = lookup.find([f"somebody/unknown-{number}" for number in range(2 * UNKNOWN_LIMIT[0])], NOW).errors.values()

    assert {error["code"] for error in errors} == {"unknown_repository"}


def test_an_unchanged_response_counts_without_a_token_only(
    bundle: Bundle, url: str, store: Store, world: World, clock: FastClock
) -> None:
    lookup, name = create_lookup(bundle, url, store, clock), world.population.name(3)
    used = []
    for _ in range(2):
        lookup.find([name], NOW)
        used.append(world.window("core", known=False).used)
        clock.ahead += 601.0

    assert world.counts.by_kind["core", 304] == 1
    assert used == [2, 3]  # the contributors are not requested again


def test_responses_in_another_order_do_not_raise_what_remains(tmp_path: Path) -> None:
    limit = SharedRateLimit(tmp_path / "limits.sqlite", "server", counts_unchanged=True)

    limit.update("core", 20, 1_000.0, 0.0)
    limit.update("core", 22, 1_001.0, 0.0)
    limit.update("core", 60, 500.0, 0.0)

    assert [limit.take("core", 18, 0.0) for _ in range(3)] == [0.0, 0.0, 1_001.0]
    assert limit.take("core", 18, 1_002.0) == 0.0
    assert limit.take("search", 0, 0.0) == 0.0


def test_a_limit_of_ones_own_applies_until_github_states_one(tmp_path: Path) -> None:
    limit = SharedRateLimit(tmp_path / "limits.sqlite", "server", counts_unchanged=True)

    assert [limit.take("search", 0, 5.0, default=(2, 60.0)) for _ in range(3)] == [0.0, 0.0, 65.0]


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"value": 1, "unknown": 2}'])
def test_a_malformed_reply_is_a_cache_miss(url: str, store: Store, world: World, clock: FastClock, text: str) -> None:
    key = f"repository {world.population.name(3)}"
    requests = open_github(url, "", store, clock.time)
    requests.keep({key: GithubReply({}, received_at=clock.time())})
    with sqlite3.connect(store.github_lookups) as db:
        db.execute("UPDATE replies SET reply = ?", (text,))

    assert open_github(url, "", store, clock.time).cached({key: 600.0}) == {}


def test_a_damaged_file_allows_requests(tmp_path: Path) -> None:
    (tmp_path / "limits.sqlite").mkdir()
    limit = SharedRateLimit(tmp_path / "limits.sqlite", "server", counts_unchanged=True)

    limit.update("core", 0, 1_000.0, 0.0)

    assert limit.take("core", 5, 2_000.0) == 0.0
