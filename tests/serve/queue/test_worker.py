"""The config selects the lookups of a worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.errors import CredentialsError
from stargaze.serve.lookup.live import BundledRepositories, GithubLookup
from stargaze.serve.queue.worker import create_lookup_factory, open_repositories, open_track_record
from stargaze.serve.runtime.settings import Sources
from stargaze.store import Store


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_without_github_only_the_bundle_is_searched(bundle: Bundle, store: Store) -> None:
    section = ServeSection(github_lookup=False)
    repositories = open_repositories(section, Sources(), store, {})

    assert repositories is None
    assert create_lookup_factory(section, repositories)(bundle) == BundledRepositories(bundle)


@pytest.mark.parametrize(("token", "with_token"), [(" secret\n", True), ("", False), (" ", False)])
def test_the_token_of_the_environment_is_used(
    bundle: Bundle, store: Store, token: str, with_token: bool
) -> None:  # a case
    repositories = open_repositories(ServeSection(), Sources(), store, {"GITHUB_TOKEN": token})

    assert repositories is not None
    assert repositories.has_token is with_token
    assert isinstance(create_lookup_factory(ServeSection(), repositories)(bundle), GithubLookup)


def test_a_token_is_never_sent_unencrypted(store: Store) -> None:
    with pytest.raises(CredentialsError, match="unencrypted"):
        open_repositories(ServeSection(), Sources("http://github.example.com"), store, {"GITHUB_TOKEN": "secret"})


def test_the_track_record_is_optional(store: Store) -> None:
    assert open_track_record(ServeSection(track_record=False), store) is None
    assert open_track_record(ServeSection(), store) is not None


def test_all_releases_share_one_github_client(bundle: Bundle, store: Store) -> None:
    create_lookup = create_lookup_factory(ServeSection(), open_repositories(ServeSection(), Sources(), store, {}))

    first, second = create_lookup(bundle), create_lookup(bundle)

    assert isinstance(first, GithubLookup)
    assert isinstance(second, GithubLookup)
    assert first.github is second.github
