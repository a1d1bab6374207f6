"""A GitHub on a bad day: every kind of fault at once, a clock that is off, and the collector loses nothing and stays polite."""

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

BAD_DAY = Faults(0.03, 0.02, 0.03, 0.03, 0.02, 0.05, changes_every=10)
COUNT = 2_000
Gathering = Callable[..., CrawlSummary]


@pytest.fixture
def gathering(tmp_path: Path) -> Gathering:
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
def test_on_a_bad_day_everybody_who_is_there_is_gathered(gathering: Gathering, tmp_path: Path, skew: float) -> None:
    world = World(COUNT, faults=BAD_DAY, skew=skew)
    summary = gathering(world)
    found = pd.read_parquet(Store(tmp_path).repositories)
    gone = set(world.people.id[~world.people.here].tolist())
    assert set(world.people.id.tolist()) - set(found["id"]) <= gone
    assert summary.refused > 0
    assert summary.failed > 0
    assert world.penalty.violations == 0
    assert bool(summary.notes) == bool(skew)
    assert (found["fetched_at"] <= pd.Timestamp(world.clock.now, unit="s", tz="UTC")).all()
    there = found[~found["id"].isin(gone)]
    assert there["commits"].notna().all()


def test_a_night_of_faults_ends_in_a_state_from_which_the_same_command_goes_on(
    gathering: Gathering, tmp_path: Path
) -> None:
    world = World(COUNT)
    with pytest.raises(ExternalError, match="502"):
        gathering(Night(world, begins=12))
    before = set(world.counts.answered)
    summary = gathering(world)
    assert summary.repositories == COUNT
    assert len(before) >= 12
    assert world.counts.repeats == []


class Night:
    """A world that answers nothing but 502 from some request on."""

    def __init__(self, world: World, begins: int) -> None:
        self._world, self._begins, self.clock = world, begins, world.clock

    def answer(self, *request: Any) -> Any:
        if self._world.counts.requests >= self._begins:
            self._world.faults = dataclasses.replace(Faults(), unavailable=1.0)
        try:
            return self._world.answer(*request)
        finally:
            self._world.faults = Faults()
