"""Excluded repositories are not requested, not suggested and not cached, under no name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze import config
from stargaze.bundle.star_bundle import Bundle
from stargaze.errors import ConfigError
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.live import BundledRepositories, GithubLookup
from stargaze.store import Store
from tests.simulated.server import running
from tests.simulated.world import World

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture
def world() -> World:
    return World(200)


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with running(world) as url:
        yield url


def create_lookup(bundle: Bundle, url: str, store: Store, patterns: list[str], token: str = "") -> GithubLookup:
    exclusions = Exclusions.parse(patterns)
    requests = open_github(url, token, store, exclusions=exclusions)
    return GithubLookup(bundle, GithubRepositories(requests, exclusions), exclusions)


@pytest.mark.parametrize("token", ["good", ""])
@pytest.mark.parametrize("all_of_owner", [True, False])
def test_an_excluded_repository_is_never_requested(
    bundle: Bundle, url: str, store: Store, world: World, token: str, all_of_owner: bool
) -> None:
    name = world.population.name(3)
    pattern = f"{name.partition('/')[0]}/*" if all_of_owner else name
    lookup = create_lookup(bundle, url, store, [pattern.upper()], token)

    result = lookup.find([name, name.upper()], NOW)

    assert (result.rows, world.counts.requests) == ({}, 0)
    assert result.errors[name.lower()]["code"] == "excluded_repository"


@pytest.mark.thorough
@pytest.mark.parametrize("token", ["good", ""])
def test_a_former_name_of_an_excluded_repository_is_excluded_and_leaves_nothing_in_the_cache(
    bundle: Bundle, url: str, store: Store, world: World, token: str
) -> None:
    old = world.population.name(3)
    world.population.rename(3)
    new = world.population.name(3)
    create_lookup(bundle, url, store, [], token).find([old], NOW)
    assert new in stored_text(store)

    result = create_lookup(bundle, url, store, [new], token).find([old], NOW)

    assert (result.rows, result.errors[old]["code"]) == ({}, "excluded_repository")
    assert new not in stored_text(store)


def stored_text(store: Store) -> str:
    with sqlite3.connect(store.github_lookups) as db:
        return str(db.execute("SELECT name, reply FROM replies").fetchall())


def test_an_excluded_repository_of_the_bundle_is_neither_found_nor_suggested(bundle: Bundle) -> None:
    name = str(bundle.known["full_name"].iloc[5])
    bundled = BundledRepositories(bundle, Exclusions.parse([name]))

    result = bundled.find([name.upper(), f"{name}x"], NOW)

    assert result.rows == {}
    assert result.errors[name.lower()]["code"] == "excluded_repository"
    assert name not in result.errors[f"{name}x".lower()]["hint"]


@pytest.mark.parametrize("text", ["acme", "*/name", "https://github.com/acme/name", "acme/", "acme/na me", "acme/.."])
def test_a_pattern_that_matches_nothing_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r'serve.exclude should contain "owner/name" or "owner/\*"'):
        config.load(environ={"STARGAZE_SERVE_EXCLUDE": text})
