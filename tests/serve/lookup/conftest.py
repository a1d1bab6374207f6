"""A simulated GitHub, and deadlines that a busy machine does not exceed; the tests that measure time set their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stargaze.serve.lookup import github_history, github_repositories, github_search
from tests.simulated.fast_clock import FastClock
from tests.simulated.server import running
from tests.simulated.world import World


@pytest.fixture(autouse=True)
def generous_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each batch of requests a minute."""
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 60.0)
    monkeypatch.setattr(github_history, "HISTORY_SECONDS", 60.0)
    monkeypatch.setattr(github_search, "SEARCH_SECONDS", 60.0)


@pytest.fixture
def clock() -> FastClock:
    return FastClock()


@pytest.fixture
def world(clock: FastClock) -> World:
    return World(200, clock=clock)


@pytest.fixture
def url(world: World) -> Iterator[str]:
    with running(world) as url:
        yield url
