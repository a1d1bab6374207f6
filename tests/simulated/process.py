"""A crawl in a separate process that uses the simulated GitHub's clock, to be killed or measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from stargaze.config import FetchSection, GithubSection
from stargaze.features.fetch import GithubOptions, fetch_from_github
from stargaze.store import Store


class SharedClock:
    """The simulated GitHub's clock, over HTTP."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, requests.Session()

    def time(self) -> float:
        """Return the simulated time."""
        return float(self._session.get(f"{self._url}/_sim/now", timeout=60).json()["time"])

    def sleep(self, seconds: float) -> None:
        """Advance the simulated time."""
        self._session.get(f"{self._url}/_sim/sleep", params={"s": seconds}, timeout=60)


def run_crawl(url: str, store: Path, section: dict[str, Any], done: Any = None) -> None:
    """Crawl; put the peak memory [kB] into the queue ``done``."""
    clock = SharedClock(url)
    fetch_from_github(
        GithubSection(**{**section, "api_url": url}),
        FetchSection(),
        Store(store),
        datetime.fromtimestamp(clock.time(), tz=UTC),
        lambda _step, _fraction: None,
        GithubOptions("good", clock=clock),  # a valid token of the simulated GitHub
    )
    if done is not None:
        done.put(peak_memory())


def peak_memory() -> int:
    """Return the peak memory of this process [kB]; getrusage would include that of its parent."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])
