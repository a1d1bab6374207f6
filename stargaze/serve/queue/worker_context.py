"""What a worker asks beside its bundle, from the config: GitHub, the histories, the track record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.serve.lookup.github import GithubRepositories, NoWaitClock, connect_github
from stargaze.serve.lookup.github_cache import GithubCache
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.lookup.repositories import BundledRepositories, RepositoryLookup
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.runtime.settings import Sources
from stargaze.store import Store

TOKEN = "GITHUB_TOKEN"  # noqa: S105 # the name of a variable


def finders_of(
    section: ServeSection, sources: Sources, store: Store, environ: Mapping[str, str]
) -> Callable[[Bundle], RepositoryLookup]:
    """Return what gives each release its finder: GitHub first where the config allows it, else the bundle alone.

    GitHub is one and the same for all releases of a process: what it said, and that it is away, outlives a deploy.

    Raises
    ------
    ConfigError, CredentialsError
        If the address is none, or a token would travel to it unencrypted.
    """
    if not section.github_lookup:
        return BundledRepositories
    token = environ.get(TOKEN, "").strip()
    return partial(GithubLookup, github=github_of(sources.github_url, token, store), with_token=bool(token))


def github_of(url: str, token: str, store: Store, clock: Callable[[], float] = time.time) -> GithubRepositories:
    """Return GitHub at this address, which answers within seconds or not at all."""
    heard = GithubCache(store.root / "github_lookups.sqlite", f"{url} {'with' if token else 'without'} a token")
    return connect_github(url, token, NoWaitClock(clock), heard)


def past_of(sources: Sources, store: Store) -> StarHistories:
    """Return the histories that the config names."""
    return StarHistories(store, sources.history)


def ledger_of(section: ServeSection, store: Store) -> TrackRecord | None:
    """Return the track record, None where the config wants none."""
    return TrackRecord(store.predictions) if section.track_record else None
