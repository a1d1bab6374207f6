"""GitHub's search for the page: by name, within its own limit, and quiet if GitHub does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.github_search import (
    MAX_RESULTS,
    GithubSearch,
    SearchResult,
    open_github_search,
    search_terms,
)
from stargaze.store import Store
from tests.simulated.server import running
from tests.simulated.world import World
from tests.waiting import not_blocked


@pytest.fixture
def world() -> World:
    return World(300)


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with running(world) as url:
        yield url


@pytest.fixture
def search(url: str, store: Store, world: World) -> Iterator[GithubSearch]:
    search = open_github_search(url, store, clock=world.clock.time)
    yield search
    search.close()


def test_repositories_are_found_by_a_part_of_their_name(search: GithubSearch, world: World) -> None:
    name = world.population.name(40)

    result = search.find(name.upper())

    (found,) = result.repositories
    assert (found.full_name, found.stars, result.note) == (name, world.population.stars[40], "")
    assert len(search.find("name").repositories) == MAX_RESULTS
    assert search.find("nothing-like-this") == SearchResult()


def test_excluded_and_private_repositories_are_not_found(url: str, store: Store, world: World) -> None:
    excluded, private = world.population.name(40), world.population.name(41)
    world.population.private[41] = True
    search = open_github_search(url, store, exclusions=Exclusions.parse([excluded]), clock=world.clock.time)

    assert search.find(excluded).repositories == search.find(private).repositories == ()


@pytest.mark.thorough
def test_ten_searches_a_minute_are_sent_and_repeated_ones_cost_none(search: GithubSearch, world: World) -> None:
    results = [search.find(f"name{number}") for number in range(12)]
    again = search.find("NAME0")

    assert sum(world.counts.by_kind.values()) == 10
    assert [bool(result.note) for result in results] == [False] * 10 + [True] * 2
    assert results[-1].note.startswith("rate limited by GitHub until")
    assert again == results[0]


def test_threads_share_one_search(search: GithubSearch, world: World) -> None:
    results: list[SearchResult] = []
    threads = [threading.Thread(target=lambda: results.append(search.find("name1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {result.repositories[0].full_name for result in results} == {results[0].repositories[0].full_name}


def test_an_unreachable_github_is_a_note_and_costs_no_time(store: Store) -> None:
    search = open_github_search("http://127.0.0.1:9", store)

    with not_blocked():
        results = [search.find(query) for query in ("electron", "atom")]

    assert [result.note for result in results] == ["GitHub cannot be reached at the moment"] * 2


def test_a_disabled_search_finds_nothing(store: Store) -> None:
    assert open_github_search("http://127.0.0.1:9", store, is_enabled=False).find("electron") == SearchResult()


@pytest.mark.thorough
@given(st.text(max_size=300))
def test_a_visitor_cannot_write_a_qualifier(text: str) -> None:
    terms = search_terms(text)

    assert len(terms) <= 256
    assert terms.count(":") == ("in:name" in terms.split()) + terms.count("user:")
    assert '"' not in terms
    assert not any(word.startswith("-") for word in terms.split())
