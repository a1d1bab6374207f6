"""Speed, wasted requests and memory of the crawl, on a simulated GitHub in simulated time.

    python benchmarks/fetch.py

The simulated GitHub has GitHub's rate limits, the failures of an ordinary day, and a realistic distribution of stars; see
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

N_SEARCH, N_DETAILS, N_LOOP, N_MEMORY = 300_000, 30_000, 1_500, 100_000
MAX_SEARCH_RATE = 30 * 60 * 100
"""Repositories per hour that 30 searches per minute can return at most."""
GROUPS = ("", "/contributors", "/commits", "/issues", "/pulls", "/releases", "/readme")
POINTS = 5000


def main() -> None:
    """Measure and print."""
    world, rate = _crawl_world(N_SEARCH, with_graphql=False)
    print(
        f"REST search, one token, {N_SEARCH:,} repositories: {rate:,.0f} per hour, "
        f"{rate / MAX_SEARCH_RATE:.1%} of {MAX_SEARCH_RATE:,}"
    )
    print(f"  {_describe_wasted(world)}")
    world, rate = _crawl_world(N_DETAILS, with_graphql=True)
    best = N_DETAILS / _least_hours(world)
    print(
        f"search and GraphQL, {N_DETAILS:,} repositories: {rate:,.0f} per hour, {rate / best:.1%} of the {best:,.0f} possible"
    )
    print(f"  {_describe_wasted(world)}")
    loop_rate = _plain_loop_rate()
    print(
        f"plain loop of {len(GROUPS)} REST requests per repository: {loop_rate:,.0f} per hour; "
        f"the crawl is {rate / loop_rate:.0f} × as fast"
    )
    for with_graphql in (False, True):
        peak = _peak_memory(with_graphql=with_graphql)
        print(f"peak memory, {N_MEMORY:,} repositories{' with details' * with_graphql}: {peak:.2f} GB")


def _crawl_world(count: int, *, with_graphql: bool) -> tuple[World, float]:
    """Crawl all repositories of a world; return it and the repositories per hour."""
    world = World(count, faults=COMMON_FAULTS)
    started = world.clock.now
    with running(world) as url, tempfile.TemporaryDirectory() as folder:
        summary = fetch_from_github(
            GithubSection(stars=">=1", limit=0, api_url=url, graphql=with_graphql),
            FetchSection(),
            Store(Path(folder)),
            datetime.fromtimestamp(world.clock.time(), tz=UTC),
            lambda _what, _share: None,
            GithubOptions("good", clock=world.clock),  # a valid token of the simulated GitHub
        )
    return world, summary.repositories / (world.clock.now - started) * 3600


def _describe_wasted(world: World) -> str:
    counts = world.counts
    return f"{counts.wasted:,} of {counts.requests:,} requests returned nothing ({counts.wasted / counts.requests:.2%})"


def _least_hours(world: World) -> float:
    """Return the minimum time that the limits allow [h]: full pages, no failure, one request at a time, or all points used."""
    seconds = points = 0.0
    for start in range(0, len(world.population), 100):
        nodes = {"ids": [node_id(int(number)) for number in world.population.id[start : start + 100]]}
        runs = [execute(world.population, kind.text, nodes)[1] for kind in graphql.KINDS]
        seconds += SEARCH_SECONDS + sum(run.seconds for run in runs)
        points += sum(run.points for run in runs)
    return max(seconds / 3600, points / POINTS)


def _plain_loop_rate() -> float:
    """Request search pages, then each group of fields of each repository; wait for the reset when rate limited."""
    world = World(N_LOOP)
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


def _peak_memory(*, with_graphql: bool) -> float:
    """Return the peak memory of a crawl in a separate process [GB]."""
    processes = multiprocessing.get_context("spawn")
    results = processes.Queue()
    with running(World(N_MEMORY)) as url, tempfile.TemporaryDirectory() as folder:
        section = {"stars": ">=1", "limit": 0, "graphql": with_graphql}
        process = processes.Process(target=run_crawl, args=(url, Path(folder), section, results))
        process.start()
        peak = results.get()
        process.join()
    return float(peak) / 1e6


if __name__ == "__main__":
    main()
