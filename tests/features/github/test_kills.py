"""A collector that is killed again and again, at any moment, ends as one that was not, and asks for no stored page again."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import random
import re
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from stargaze.features.github.api import graphql
from stargaze.store import Store
from tests.simulated.elsewhere import collector
from tests.simulated.population import number_of
from tests.simulated.server import running
from tests.simulated.world import Faults, World

pytestmark = pytest.mark.real

KILLS, AT_THE_END = 100, 15
"""Kills in all, and those of them that come when all is answered: while it is put together, written and renamed."""
SECTION = {"stars": ">=1000", "limit": 0}
SETTINGS = {"repositories": 6_000, "least": 1000, "seed": 4}
FAULTS = Faults(unavailable=0.02, truncated=0.02, secondary=0.003, partial=0.02)
KINDS = {kind.text: kind.name for kind in graphql.KINDS}
QUERY = re.compile(r"is:public stars:(?:>=)?(\d+)(\.\.)?(\d*) created:(\S+)\.\.(\S+)")

Start = Callable[[str, Path], multiprocessing.process.BaseProcess]


@pytest.fixture
def start() -> Start:
    """Start a collector in a process of its own."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.simulated.elsewhere"])

    def run(url: str, store: Path) -> multiprocessing.process.BaseProcess:
        process = processes.Process(target=collector, args=(url, store, SECTION))
        process.start()
        return process

    return run


def test_a_hundred_kills_lose_nothing_and_ask_for_nothing_twice(tmp_path: Path, start: Start) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    world = World(**SETTINGS, faults=FAULTS)
    with running(world) as url:
        assert ended(start(url, whole)) == 0
        requests = world.counts.requests
        begun = time.monotonic()
        assert ended(start(url, whole)) == 0
        writing = time.monotonic() - begun
    everything = stored_asks(whole)
    assert {key for url, body in world.counts.log for key in keys(url, body, whole)} == everything

    chance = random.Random(1)
    world = World(**SETTINGS, faults=FAULTS)
    with running(world) as url:
        watched = Watched(world, killed, lambda: start(url, killed))
        for moment in sorted(chance.randrange(int(0.9 * requests)) for _ in range(KILLS - AT_THE_END)):
            watched.killed_when(lambda moment=moment: world.counts.requests >= moment, after=chance.random() * 0.03)
        watched.killed_when(lambda: stored_asks(killed) == everything)
        unwritten = 0
        for _ in range(AT_THE_END - 1):
            Store(killed).repositories.unlink(missing_ok=True)
            watched.killed_when(lambda: True, after=chance.random() * writing)
            unwritten += not Store(killed).repositories.exists()
        assert unwritten
        assert watched.killed == KILLS
        assert ended(watched.started()) == 0
    pd.testing.assert_frame_equal(table(whole), table(killed))


class Watched:
    """Starts collectors one after the other, kills them, and looks that none asks for what is on the disk."""

    def __init__(self, world: World, store: Path, start: Callable[[], multiprocessing.process.BaseProcess]) -> None:
        self.world, self.store, self.start = world, store, start
        self.killed = 0

    def started(self) -> multiprocessing.process.BaseProcess:
        self.stored, self.begun = stored_asks(self.store), len(self.world.counts.log)
        return self.start()

    def killed_when(self, is_so: Callable[[], bool], after: float = 0.0) -> None:
        process = self.started()
        while process.is_alive() and not is_so():
            time.sleep(0.001)
        time.sleep(after)
        process.kill()
        self.killed += 1
        assert ended(process) in (-9, 0)
        asked = {key for url, body in self.world.counts.log[self.begun :] for key in keys(url, body, self.store)}
        assert not self.stored & asked


def ended(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join()
    return process.exitcode


def keys(url: str, body: bytes, store: Path) -> list[str]:
    """Name what a request asks for, as the spool files it."""
    if body:
        asked = json.loads(body)
        return [f"{KINDS[asked['query']]} {number_of(node)}" for node in asked["variables"]["ids"]]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if "q" not in query:
        return []
    match = QUERY.fullmatch(query["q"])
    assert match
    first, last = (int(datetime.fromisoformat(match[place]).timestamp()) for place in (4, 5))
    high = match[3] if match[2] else match[1] if f"stars:{match[1]} " in query["q"] else ""
    end = "end" if last == began(store) else last
    return [f"search {query['page']} 0 stars {match[1]}..{high} created {first}..{end}"]


def began(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(Store(store).github_cache)) as database:
        return int(database.execute("SELECT began FROM runs").fetchone()[0])


def stored_asks(folder: Path) -> set[str]:
    """Return what is on the disk for good."""
    path = Store(folder).github_cache
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'details'").fetchone():
            return set()
        pages = {key for (key,) in database.execute("SELECT key FROM pages")}
        return pages | {f"{kind} {number}" for kind, number in database.execute("SELECT kind, id FROM details")}


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(Store(folder).repositories).drop(columns="fetched_at")
