"""A collector in a process of its own, which shares the simulated GitHub's time: to be killed, or to be measured."""

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
        """Let simulated time pass."""
        self._session.get(f"{self._url}/_sim/sleep", params={"s": seconds}, timeout=60)


def collector(url: str, store: Path, section: dict[str, Any], done: Any = None) -> None:
    """Gather; tell ``done`` the peak memory [kB]."""
    clock = SharedClock(url)
    fetch_from_github(
        GithubSection(**{**section, "api_url": url}),
        FetchSection(),
        Store(store),
        datetime.fromtimestamp(clock.time(), tz=UTC),
        lambda _what, _share: None,
        GithubOptions("good", clock=clock),  # the simulated GitHub knows this one
    )
    if done is not None:
        done.put(peak_memory())


def peak_memory() -> int:
    """Return the most memory that this process ever had [kB]; getrusage would count what its parent had too."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])
