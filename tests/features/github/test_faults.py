"""All kinds of faults at once, and a wrong local clock: the crawl loses nothing and respects the rate limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.config import FetchSection, GithubSection
from stargaze.errors import ExternalError
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.features.github.crawl.progress import CrawlSummary
from stargaze.store import Store
from tests.simulated.server import running
from tests.simulated.world import Faults, World

pytestmark = pytest.mark.real

ALL_FAULTS = Faults(0.03, 0.02, 0.03, 0.03, 0.02, 0.05, changes_every=10)
COUNT = 2_000
RunCrawl = Callable[..., CrawlSummary]


@pytest.fixture
def run_crawl(tmp_path: Path) -> RunCrawl:
    def run(world: World, **section: Any) -> CrawlSummary:
        with running(world) as url:
            return fetch_from_github(
                GithubSection(**{"stars": ">=1", "limit": 0, **section}, api_url=url),
                FetchSection(),
                Store(tmp_path),
                datetime.fromtimestamp(world.clock.time(), tz=UTC),
                lambda _what, _share: None,
                GithubOptions("good", clock=world.clock),
            )

    return run


@pytest.mark.parametrize("skew", [0.0, -40_000.0, 40_000.0])
def test_all_existing_repositories_are_fetched_despite_faults(run_crawl: RunCrawl, tmp_path: Path, skew: float) -> None:
    world = World(COUNT, faults=ALL_FAULTS, skew=skew)
    summary = run_crawl(world)
    table = pd.read_parquet(Store(tmp_path).repositories)
    gone = set(world.population.id[~world.population.exists].tolist())
    assert set(world.population.id.tolist()) - set(table["id"]) <= gone
    assert summary.refused > 0
    assert summary.failed > 0
    assert world.secondary_limit.violations == 0
    assert bool(summary.notes) == bool(skew)
    assert (table["fetched_at"] <= pd.Timestamp(world.clock.now, unit="s", tz="UTC")).all()
    existing = table[~table["id"].isin(gone)]
    assert existing["commits"].notna().all()


def test_after_a_long_outage_the_same_command_continues(run_crawl: RunCrawl, tmp_path: Path) -> None:
    world = World(COUNT)
    with pytest.raises(ExternalError, match="502"):
        run_crawl(Outage(world, begins=12))
    before = set(world.counts.answered)
    summary = run_crawl(world)
    assert summary.repositories == COUNT
    assert len(before) >= 12
    assert world.counts.repeats == []


class Outage:
    """A world that responds only with 502 from some request on."""

    def __init__(self, world: World, begins: int) -> None:
        self._world, self._begins, self.clock = world, begins, world.clock

    def respond(self, *request: Any) -> Any:
        if self._world.counts.requests >= self._begins:
            self._world.faults = dataclasses.replace(Faults(), unavailable=1.0)
        try:
            return self._world.respond(*request)
        finally:
            self._world.faults = Faults()
