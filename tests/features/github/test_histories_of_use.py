"""Whatever was gathered, updated, foreseen and stopped before, in whatever order: each gather holds what is there."""

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

AIMS = (
    GithubSection(names=["owner1/name1", "owner2/name2", "owner3/name3"]),
    GithubSection(names=["owner3/name3", "owner4/name4"]),
    GithubSection(stars=">=10", limit=0),
    GithubSection(stars=">=12", limit=40),
    GithubSection(stars=">=10", limit=30, sampling="stratified"),
)
DAY = 86_400


class Stopped(Exception):  # no error: somebody presses Ctrl-C
    """The program ends here."""


class World:
    """One store, one GitHub that changes, and what was done so far."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.github = SmallGitHub(self.clock, 150)
        self.store = Store(folder)
        self.left = -1

    def send(self, ask: Request) -> Response:
        if self.left == 0:
            raise Stopped
        self.left -= 1
        return self.github.send(ask)

    def run(self, aim: GithubSection, *, update: bool, token: bool, stop: int = -1) -> CrawlSummary | None:
        self.left = stop
        now = datetime.fromtimestamp(self.clock.time(), tz=UTC)
        client = Client(self, self.clock)
        with open_response_cache(self.store.github_cache, aim.api_url) as kept:
            try:
                return crawl(
                    aim, FetchSection(), self.store, kept, client, now, token=token, update=update, report=_silent
                )
            except Stopped:
                return None

    def plan(self, aim: GithubSection, *, update: bool, token: bool) -> None:
        self.left = -1
        client = Client(self, self.clock)
        with open_response_cache(self.store.github_cache, aim.api_url) as kept:
            estimate_crawl(
                aim,
                CrawlSession(client, kept, kept.plan_run(crawl_digest(aim), client.server_time, update=update)),
                token=token,
            )

    def change(self, seed: int) -> None:
        row = self.github.rows[random.Random(seed).choice([1, 2, 3, 4, 50, 100])]
        row["stars"] += 1
        row["issues"] += 1

    def whole(self, aim: GithubSection) -> int:
        rows = self.github.rows.values()
        least = 12 if "12" in aim.stars else 10
        return len(aim.names) or min(aim.limit or 150, sum(row["stars"] >= least for row in rows))


def _silent(_what: str, _share: float) -> None:
    pass


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["gather", "stop", "foresee", "change", "wait", "minute"]),
        st.sampled_from(AIMS),
        st.booleans(),
        st.booleans(),
        st.integers(0, 12),
    ),
    max_size=12,
)


@pytest.mark.real  # each example gathers some ten times
@settings(max_examples=100)
@given(STEPS, st.sampled_from(AIMS), st.booleans())
def test_whatever_was_done_before_a_gather_holds_what_is_there(
    steps: list[tuple[str, GithubSection, bool, bool, int]], last: GithubSection, token: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for what, aim, update, with_token, number in steps:
            act(world, what, aim, update=update, token=with_token, number=number)
        summary = world.run(last, update=False, token=token)
        assert summary
        assert summary.repositories == world.whole(last)
        asked = len(world.github.asked)
        again = world.run(last, update=False, token=token)
        assert again
        assert (again.repositories, len(world.github.asked)) == (world.whole(last), asked)

        world.clock.now += 3601  # counts that were foreseen serve an hour
        world.change(0)
        world.change(2)
        assert world.run(last, update=True, token=token)
        found = pd.read_parquet(world.store.repositories).set_index("id")
        assert len(found) == world.whole(last)
        for number, row in found.iterrows():
            true: dict[str, Any] = world.github.rows[int(str(number))]
            assert row["stars"] == true["stars"]
            assert not token or row["open_issues"] == true["issues"] + 2
            assert not token or row["commits"] == int(str(number)) + 1


def act(world: World, what: str, aim: GithubSection, *, update: bool, token: bool, number: int) -> None:
    if what == "gather":
        summary = world.run(aim, update=update, token=token)
        assert summary
        assert summary.repositories == world.whole(aim)
    elif what == "stop":
        world.run(aim, update=update, token=token, stop=number)
    elif what == "foresee":
        world.plan(aim, update=update, token=token)
    elif what == "change":
        world.change(number)
    else:
        world.clock.now += number * DAY if what == "wait" else 60
