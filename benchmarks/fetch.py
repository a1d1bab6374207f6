"""Speed, wasted requests and memory of the crawl, on a simulated GitHub in simulated time.

    python benchmarks/fetch.py

The simulated GitHub has GitHub's rate limits, an ordinary day's failures, and a realistic distribution of stars; see
`tests/simulated`. Rates are in simulated time, so they do not depend on this machine. They are compared with a plain loop:
one REST call for each group of fields, as a script with PyGithub sends.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

sys.path.insert(0, str(Path(__file__).parent.parent))

from stargaze.config import FetchSection, GithubSection
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.features.github.api import graphql
from stargaze.store import Store
from tests.simulated.graphql import execute
from tests.simulated.population import node_id
from tests.simulated.process import run_crawl
from tests.simulated.server import running
from tests.simulated.world import COMMON_FAULTS, SEARCH_SECONDS, World

SEARCHED, RICH, LOOPED, MEASURED = 300_000, 30_000, 1_500, 100_000
BY_SEARCH = 30 * 60 * 100
"""Repositories an hour that 30 searches a minute can bring at best."""
GROUPS = ("", "/contributors", "/commits", "/issues", "/pulls", "/releases", "/readme")
POINTS = 5000


def main() -> None:
    """Measure and print."""
    world, rate = _crawl_world(SEARCHED, rich=False)
    print(
        f"REST search, one token, {SEARCHED:,} repositories: {rate:,.0f} an hour, {rate / BY_SEARCH:.1%} of {BY_SEARCH:,}"
    )
    print(f"  {_wasted(world)}")
    world, rate = _crawl_world(RICH, rich=True)
    best = RICH / _least_hours(world)
    print(
        f"search and GraphQL, {RICH:,} repositories: {rate:,.0f} an hour, {rate / best:.1%} of the {best:,.0f} possible"
    )
    print(f"  {_wasted(world)}")
    loop = _loop()
    print(
        f"plain loop of {len(GROUPS)} REST requests per repository: {loop:,.0f} an hour; the crawl is {rate / loop:.0f} × as fast"
    )
    for rich in (False, True):
        print(f"peak memory, {MEASURED:,} repositories{' with details' * rich}: {_memory(rich=rich):.2f} GB")


def _crawl_world(count: int, *, rich: bool) -> tuple[World, float]:
    """Crawl all repositories of a world; return it and the repositories per hour."""
    world = World(count, faults=COMMON_FAULTS)
    started = world.clock.now
    with running(world) as url, tempfile.TemporaryDirectory() as folder:
        summary = fetch_from_github(
            GithubSection(stars=">=1", limit=0, api_url=url, graphql=rich),
            FetchSection(),
            Store(Path(folder)),
            datetime.fromtimestamp(world.clock.time(), tz=UTC),
            lambda _what, _share: None,
            GithubOptions("good", clock=world.clock),  # a valid token of the simulated GitHub
        )
    return world, summary.repositories / (world.clock.now - started) * 3600


def _wasted(world: World) -> str:
    counts = world.counts
    return f"{counts.wasted:,} of {counts.requests:,} requests returned nothing ({counts.wasted / counts.requests:.2%})"


def _least_hours(world: World) -> float:
    """Return the least time that the limits allow [h]: full pages, no failure, one request at a time, or all points used."""
    seconds = points = 0.0
    for start in range(0, len(world.population), 100):
        nodes = {"ids": [node_id(int(number)) for number in world.population.id[start : start + 100]]}
        runs = [execute(world.population, kind.text, nodes)[1] for kind in graphql.KINDS]
        seconds += SEARCH_SECONDS + sum(run.seconds for run in runs)
        points += sum(run.points for run in runs)
    return max(seconds / 3600, points / POINTS)


def _loop() -> float:
    """Request search pages, then each group of fields of each repository; wait for the reset when rate limited."""
    world = World(LOOPED)
    started = world.clock.now
    with running(world) as url, requests.Session() as session:
        session.headers["Authorization"] = "Bearer good"

        def get_json(path: str, **parameters: Any) -> Any:
            while True:
                response = session.get(url + path, params=parameters, timeout=60)
                if response.status_code != 403:
                    return response.json()
                world.clock.sleep(max(float(response.headers["x-ratelimit-reset"]) - world.clock.now, 0) + 1)

        for page in range(1, 11):
            for item in get_json("/search/repositories", q="stars:>1", sort="stars", per_page=100, page=page)["items"]:
                for group in GROUPS:
                    get_json(f"/repos/{item['full_name']}{group}", **({"per_page": 1} if group else {}))
    return 1000 / (world.clock.now - started) * 3600


def _memory(*, rich: bool) -> float:
    """Return the peak memory of a crawl in a separate process [GB]."""
    processes = multiprocessing.get_context("spawn")
    done = processes.Queue()
    with running(World(MEASURED)) as url, tempfile.TemporaryDirectory() as folder:
        section = {"stars": ">=1", "limit": 0, "graphql": rich}
        process = processes.Process(target=run_crawl, args=(url, Path(folder), section, done))
        process.start()
        peak = done.get()
        process.join()
    return float(peak) / 1e6


if __name__ == "__main__":
    main()
