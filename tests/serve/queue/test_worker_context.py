"""The config decides what a worker asks beside its bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.errors import CredentialsError
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.lookup.repositories import BundledRepositories
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.queue.worker_context import finders_of, ledger_of, past_of
from stargaze.serve.runtime.settings import Sources
from stargaze.store import Store


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_without_github_the_bundle_alone_answers(bundle: Bundle, store: Store) -> None:
    assert finders_of(ServeSection(github_lookup=False), Sources(), store, {})(bundle) == BundledRepositories(bundle)


@pytest.mark.parametrize(("token", "with_token"), [(" secret\n", True), ("", False), (" ", False)])
def test_a_token_of_the_environment_is_used(
    bundle: Bundle, store: Store, token: str, with_token: bool
) -> None:  # a case
    finder = finders_of(ServeSection(), Sources(), store, {"GITHUB_TOKEN": token})(bundle)

    assert isinstance(finder, GithubLookup)
    assert finder.with_token is with_token


def test_a_token_does_not_travel_unencrypted(store: Store) -> None:
    with pytest.raises(CredentialsError, match="unencrypted"):
        finders_of(ServeSection(), Sources("http://github.example.com"), store, {"GITHUB_TOKEN": "secret"})


def test_the_track_record_is_kept_where_the_config_says_so(store: Store) -> None:
    assert ledger_of(ServeSection(track_record=False), store) is None
    assert ledger_of(ServeSection(), store) is not None
    assert isinstance(past_of(Sources(), store), StarHistories)


def test_a_deploy_forgets_nothing_of_what_github_said(bundle: Bundle, store: Store) -> None:
    finders = finders_of(ServeSection(), Sources(), store, {})

    first, second = finders(bundle), finders(bundle)

    assert isinstance(first, GithubLookup)
    assert isinstance(second, GithubLookup)
    assert first.github is second.github
