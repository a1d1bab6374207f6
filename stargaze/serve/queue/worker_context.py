"""What a worker loads for a release and its lookups: GitHub, star histories, track record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.serve.lookup.github import GithubRepositories, NoWaitClock, connect_github
from stargaze.serve.lookup.github_cache import GithubCache
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.lookup.repositories import BundledRepositories, RepositoryLookup
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.context import PredictionContext
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.runtime.settings import Sources
from stargaze.store import Store

TOKEN_VARIABLE = "GITHUB_TOKEN"  # noqa: S105 # the name of a variable


def create_context_loader(
    section: ServeSection, sources: Sources, store: Store, environ: Mapping[str, str]
) -> Callable[[Path], PredictionContext]:
    """Return the function that loads the prediction context of a bundle folder."""
    create_lookup = create_lookup_factory(section, sources, store, environ)
    histories, track_record = StarHistories(store, sources.history), open_track_record(section, store)

    def load_context(folder: Path) -> PredictionContext:
        bundle = Bundle.load(folder)
        bundle.check_prototype()  # a model that predicts other values on this machine must not be used
        context = PredictionContext(bundle, create_lookup(bundle), histories, track_record)
        context.prepare()
        return context

    return load_context


def create_lookup_factory(
    section: ServeSection, sources: Sources, store: Store, environ: Mapping[str, str]
) -> Callable[[Bundle], RepositoryLookup]:
    """Return the function that creates a bundle's lookup: GitHub first if the config allows it, else the bundle alone.

    All releases of a process share one GitHub client, so its cache and outages survive a deploy.
    """
    if not section.github_lookup:
        return BundledRepositories
    token = environ.get(TOKEN_VARIABLE, "").strip()
    return partial(GithubLookup, github=open_github(sources.github_url, token, store), with_token=bool(token))


def open_github(url: str, token: str, store: Store, clock: Callable[[], float] = time.time) -> GithubRepositories:
    """Return the client of GitHub at this URL, which responds within seconds or fails."""
    cache = GithubCache(store.root / "github_lookups.sqlite", f"{url} {'with' if token else 'without'} a token")
    return connect_github(url, token, NoWaitClock(clock), cache)


def open_track_record(section: ServeSection, store: Store) -> TrackRecord | None:
    """Return the track record; None if the config disables it."""
    return TrackRecord(store.predictions) if section.track_record else None
