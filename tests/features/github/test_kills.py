"""A crawl that is killed repeatedly at random moments ends with the same result, and requests no stored page again."""

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
from tests.simulated.population import parse_node_id
from tests.simulated.process import run_crawl
from tests.simulated.server import running
from tests.simulated.world import Faults, World

pytestmark = pytest.mark.real

KILLS, KILLS_AT_END = 100, 15
"""Number of kills, and how many of them happen after the last response: while repositories are merged, written and renamed."""
SECTION = {"stars": ">=1000", "limit": 0}
SETTINGS = {"repositories": 6_000, "min_stars": 1000, "seed": 4}
FAULTS = Faults(unavailable=0.02, truncated=0.02, secondary=0.003, partial=0.02)
KINDS = {kind.text: kind.name for kind in graphql.KINDS}
QUERY = re.compile(r"is:public stars:(?:>=)?(\d+)(\.\.)?(\d*) created:(\S+)\.\.(\S+)")

Start = Callable[[str, Path], multiprocessing.process.BaseProcess]


@pytest.fixture
def start() -> Start:
    """Return a function that starts a crawl in a separate process."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.simulated.process"])

    def run(url: str, store: Path) -> multiprocessing.process.BaseProcess:
        process = processes.Process(target=run_crawl, args=(url, store, SECTION))
        process.start()
        return process

    return run


def test_a_hundred_kills_lose_nothing_and_repeat_no_request(tmp_path: Path, start: Start) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    world = World(**SETTINGS, faults=FAULTS)
    with running(world) as url:
        assert wait_for(start(url, whole)) == 0
        requests = world.counts.requests
        started = time.monotonic()
        assert wait_for(start(url, whole)) == 0
        writing = time.monotonic() - started
    everything = stored_keys(whole)
    assert {key for url, body in world.counts.log for key in keys_of(url, body, whole)} == everything

    chance = random.Random(1)
    world = World(**SETTINGS, faults=FAULTS)
    with running(world) as url:
        supervisor = Supervisor(world, killed, lambda: start(url, killed))
        for moment in sorted(chance.randrange(int(0.9 * requests)) for _ in range(KILLS - KILLS_AT_END)):
            supervisor.kill_when(lambda moment=moment: world.counts.requests >= moment, after=chance.random() * 0.03)
        supervisor.kill_when(lambda: stored_keys(killed) == everything)
        unwritten = 0
        for _ in range(KILLS_AT_END - 1):
            Store(killed).repositories.unlink(missing_ok=True)
            supervisor.kill_when(lambda: True, after=chance.random() * writing)
            unwritten += not Store(killed).repositories.exists()
        assert unwritten
        assert supervisor.killed == KILLS
        assert wait_for(supervisor.start_crawl()) == 0
    pd.testing.assert_frame_equal(table(whole), table(killed))


class Supervisor:
    """Starts crawls one after the other, kills them, and checks that none requests a stored page."""

    def __init__(self, world: World, store: Path, start: Callable[[], multiprocessing.process.BaseProcess]) -> None:
        self.world, self.store, self.start = world, store, start
        self.killed = 0

    def start_crawl(self) -> multiprocessing.process.BaseProcess:
        self.stored, self.log_start = stored_keys(self.store), len(self.world.counts.log)
        return self.start()

    def kill_when(self, condition: Callable[[], bool], after: float = 0.0) -> None:
        process = self.start_crawl()
        while process.is_alive() and not condition():
            time.sleep(0.001)
        time.sleep(after)
        process.kill()
        self.killed += 1
        assert wait_for(process) in (-9, 0)
        requested = {
            key for url, body in self.world.counts.log[self.log_start :] for key in keys_of(url, body, self.store)
        }
        assert not self.stored & requested


def wait_for(process: multiprocessing.process.BaseProcess) -> int | None:
    process.join()
    return process.exitcode


def keys_of(url: str, body: bytes, store: Path) -> list[str]:
    """Return the cache keys of the data that a request asks for."""
    if body:
        query = json.loads(body)
        return [f"{KINDS[query['query']]} {parse_node_id(node)}" for node in query["variables"]["ids"]]
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if "q" not in parameters:
        return []
    match = QUERY.fullmatch(parameters["q"])
    assert match
    first, last = (int(datetime.fromisoformat(match[group]).timestamp()) for group in (4, 5))
    high = match[3] if match[2] else match[1] if f"stars:{match[1]} " in parameters["q"] else ""
    end = "end" if last == run_start(store) else last
    return [f"search {parameters['page']} 0 stars {match[1]}..{high} created {first}..{end}"]


def run_start(store: Path) -> int:
    with contextlib.closing(sqlite3.connect(Store(store).github_cache)) as database:
        return int(database.execute("SELECT began FROM runs").fetchone()[0])


def stored_keys(folder: Path) -> set[str]:
    """Return the keys of all pages and details in the cache."""
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
