"""Property test: after any sequence of crawls, updates, plans and interruptions, a crawl returns the current repositories."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.config import FetchSection, GithubSection
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import Request, Response
from stargaze.features.github.api.response_cache import CrawlSession, open_response_cache
from stargaze.features.github.crawl.crawl import crawl, crawl_digest
from stargaze.features.github.crawl.estimate import estimate_crawl
from stargaze.features.github.crawl.progress import CrawlSummary
from stargaze.store import Store
from tests.features.github.conftest import FakeClock
from tests.features.github.small_github import SmallGitHub

SECTIONS = (
    GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3"]),
    GithubSection(names=["owner3/name3", "owner4/name4"]),
    GithubSection(stars=">=10", limit=0),
    GithubSection(stars=">=12", limit=40),
    GithubSection(stars=">=10", limit=30, sampling="stratified"),
)
DAY = 86_400


class Stopped(Exception):  # not an error: the user presses Ctrl-C
    """The program is interrupted."""


class World:
    """A store and a GitHub whose repositories change."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.github = SmallGitHub(self.clock, 150)
        self.store = Store(folder)
        self.remaining_requests = -1

    def send(self, request: Request) -> Response:
        if self.remaining_requests == 0:
            raise Stopped
        self.remaining_requests -= 1
        return self.github.send(request)

    def run(self, section: GithubSection, *, update: bool, token: bool, stop: int = -1) -> CrawlSummary | None:
        self.remaining_requests = stop
        now = datetime.fromtimestamp(self.clock.time(), tz=UTC)
        client = Client(self, self.clock)
        with open_response_cache(self.store.github_cache, section.api_url) as cache:
            try:
                return crawl(
                    section, FetchSection(), self.store, cache, client, now, token=token, update=update, report=_silent
                )
            except Stopped:
                return None

    def plan(self, section: GithubSection, *, update: bool, token: bool) -> None:
        self.remaining_requests = -1
        client = Client(self, self.clock)
        with open_response_cache(self.store.github_cache, section.api_url) as cache:
            estimate_crawl(
                section,
                CrawlSession(client, cache, cache.plan_run(crawl_digest(section), client.server_time, update=update)),
                token=token,
            )

    def change(self, seed: int) -> None:
        row = self.github.rows[random.Random(seed).choice([1, 2, 3, 4, 50, 100])]
        row["stars"] += 1
        row["issues"] += 1

    def expected_count(self, section: GithubSection) -> int:
        rows = self.github.rows.values()
        minimum = 12 if "12" in section.stars else 10
        return len(section.names) or min(section.limit or 150, sum(row["stars"] >= minimum for row in rows))


def _silent(_what: str, _share: float) -> None:
    pass


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["crawl", "stop", "plan", "change", "wait", "minute"]),
        st.sampled_from(SECTIONS),
        st.booleans(),
        st.booleans(),
        st.integers(0, 12),
    ),
    max_size=12,
)


@pytest.mark.real  # each example crawls about ten times
@settings(max_examples=100)
@given(STEPS, st.sampled_from(SECTIONS), st.booleans())
def test_a_crawl_returns_the_current_repositories_whatever_ran_before(
    steps: list[tuple[str, GithubSection, bool, bool, int]], last: GithubSection, token: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for step, section, update, with_token, number in steps:
            apply_step(world, step, section, update=update, token=with_token, number=number)
        summary = world.run(last, update=False, token=token)
        assert summary
        assert summary.repositories == world.expected_count(last)
        n_requests = len(world.github.requests)
        again = world.run(last, update=False, token=token)
        assert again
        assert (again.repositories, len(world.github.requests)) == (world.expected_count(last), n_requests)

        world.clock.now += 3601  # counts fetched by a plan are used for an hour
        world.change(0)
        world.change(2)
        assert world.run(last, update=True, token=token)
        table = pd.read_parquet(world.store.repositories).set_index("id")
        assert len(table) == world.expected_count(last)
        for number, row in table.iterrows():
            expected: dict[str, Any] = world.github.rows[int(str(number))]
            assert row["stars"] == expected["stars"]
            assert not token or row["open_issues"] == expected["issues"] + 2
            assert not token or row["commits"] == int(str(number)) + 1


def apply_step(world: World, step: str, section: GithubSection, *, update: bool, token: bool, number: int) -> None:
    if step == "crawl":
        summary = world.run(section, update=update, token=token)
        assert summary
        assert summary.repositories == world.expected_count(section)
    elif step == "stop":
        world.run(section, update=update, token=token, stop=number)
    elif step == "plan":
        world.plan(section, update=update, token=token)
    elif step == "change":
        world.change(number)
    else:
        world.clock.now += number * DAY if step == "wait" else 60
