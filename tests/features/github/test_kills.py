"""A collector that is killed again and again, at any moment, ends as one that was not, and asks for no stored page again."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import random
import sqlite3
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from stargaze.artifacts import Store
from stargaze.features.github import graphql
from tests.simulated.elsewhere import collector
from tests.simulated.population import number_of
from tests.simulated.server import running
from tests.simulated.world import World

pytestmark = pytest.mark.real

KILLS = 100
SECTION = {"stars": ">=1000", "number": 0}
SETTINGS = {"repositories": 6_000, "least": 1000, "seed": 4}
KINDS = {kind.text: kind.name for kind in graphql.KINDS}


def test_a_hundred_kills_lose_nothing_and_ask_for_nothing_twice(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.simulated.elsewhere"])
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with running(World(**SETTINGS)) as url:
        process = processes.Process(target=collector, args=(url, whole, SECTION))
        process.start()
        process.join()
    assert process.exitcode == 0

    chance = random.Random(1)
    world = World(**SETTINGS)
    kills, moments = 0, set[str]()
    with running(world) as url:
        while True:
            stored, begun = stored_asks(killed), len(world.counts.log)
            process = processes.Process(target=collector, args=(url, killed, SECTION))
            process.start()
            if kills < KILLS:
                wait_for(process, world, chance.randint(0, 3))
                time.sleep(chance.random() * 0.03)
                process.kill()
                kills += 1
            process.join()
            asked = [key for url_, body in world.counts.log[begun:] for key in keys(url_, body)]
            assert not stored & set(asked)
            moments.add("between pages" if len(asked) == len(set(asked) & stored_asks(killed)) else "within a page")
            if process.exitcode == 0:
                break
    assert kills == KILLS
    assert moments == {"between pages", "within a page"}
    columns = ["fetched_at"]
    pd.testing.assert_frame_equal(table(whole).drop(columns=columns), table(killed).drop(columns=columns))


def wait_for(process: multiprocessing.process.BaseProcess, world: World, requests: int) -> None:
    """Wait until it has asked so many times more, or has ended."""
    target = world.counts.requests + requests
    while world.counts.requests < target and process.is_alive():
        time.sleep(0.001)


def keys(url: str, body: bytes) -> list[str]:
    """Name what a request asks for, as the spool files it."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if body:
        asked = json.loads(body)
        return [f"{KINDS[asked['query']]} {number_of(node)}" for node in asked["variables"]["ids"]]
    return [f"search {query['page']} 0 {query['q']}"] if "q" in query else []


def stored_asks(folder: Path) -> set[str]:
    """Return what is on the disk for good."""
    path = Store(folder).spool
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'details'").fetchone():
            return set()
        pages = {ask for (ask,) in database.execute("SELECT ask FROM pages")}
        return pages | {f"{kind} {number}" for kind, number in database.execute("SELECT kind, id FROM details")}


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(Store(folder).repositories)
