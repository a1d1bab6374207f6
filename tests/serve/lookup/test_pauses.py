"""An answer that lacks something temporary is used again only as long as the reason can be expected to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup import github_repositories
from stargaze.serve.lookup.github_history import WEEK, GithubStarHistories
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.live import GithubLookup
from stargaze.serve.lookup.pauses import BACKOFF, LATE_PAUSE
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.answer import LEAST_REUSE, answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction_request import PredictionRequest
from stargaze.store import Store
from tests.simulated.fast_clock import FastClock
from tests.simulated.world import World

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


OpenContext = Callable[[str, str], PredictionContext]


@pytest.fixture
def open_context(bundle: Bundle, store: Store, clock: FastClock) -> Iterator[OpenContext]:
    """Return the function that opens the context of a worker, with an address and a token."""
    opened = []

    def open_one(url: str, token: str) -> PredictionContext:
        opened.append(open_github(url, token, store, clock.time))
        repositories = GithubRepositories(opened[-1])
        histories = StarHistories(store, live=GithubStarHistories(repositories))
        return PredictionContext(bundle, GithubLookup(bundle, repositories), histories)

    yield open_one
    for requests in opened:
        requests.close()


def ask(context: PredictionContext, clock: FastClock, *names: str, explain: bool = True) -> dict[str, Any]:
    request = PredictionRequest(names, explain=explain)
    return answer_requests(context, [request], datetime.fromtimestamp(clock.now, UTC))[0]


def reuse(answer: dict[str, Any], clock: FastClock) -> float | None:
    """Return for how long the answer is used again [s]."""
    expires_at = answer["expires_at"]
    return expires_at and datetime.fromisoformat(expires_at).timestamp() - clock.now


def name_with_one_page(world: World) -> str:
    """Return a repository with one page of history."""
    row = int(np.flatnonzero(world.population.created < world.clock.now - 50 * WEEK)[0])
    world.population.created[row] = world.clock.now - 20 * WEEK
    return world.population.name(row)


@pytest.mark.parametrize("token", ["good", ""])
def test_a_complete_answer_does_not_expire(
    open_context: OpenContext, bundle: Bundle, url: str, clock: FastClock, world: World, token: str
) -> None:
    answer = ask(open_context(url, token), clock, name_with_one_page(world))

    assert answer["predictions"][0]["history"]["source"] == "github"
    assert answer["expires_at"] is None


@pytest.mark.parametrize("token", ["good", ""])
def test_an_answer_without_github_expires_with_the_pause_of_the_requests(
    open_context: OpenContext, bundle: Bundle, clock: FastClock, token: str
) -> None:
    context, name = open_context(UNREACHABLE, token), str(bundle.known["full_name"].iloc[0])

    answers = [ask(context, clock, name) for _ in range(2)]

    assert [answer["predictions"][0]["source"] for answer in answers] == ["bundle", "bundle"]
    assert all(LEAST_REUSE < reuse(answer, clock) <= BACKOFF for answer in answers)


def test_a_rate_limited_answer_expires_when_the_limit_ends(
    open_context: OpenContext, bundle: Bundle, url: str, clock: FastClock, world: World
) -> None:
    name, context = name_with_one_page(world), open_context(url, "")
    other = str(bundle.known["full_name"].iloc[0])
    context.lookup.github.fetch([name])
    world.window("core", known=False).take(clock.now, 40)  # no history is requested
    clock.ahead += 601.0  # the limit is stated again

    first = ask(context, clock, name)
    second = ask(context, clock, name, other)

    until = world.window("core", known=False).until
    assert "No star history: rate limited by GitHub" in first["predictions"][0]["history_note"]
    for answer in (first, second):
        assert datetime.fromisoformat(answer["expires_at"]).timestamp() == pytest.approx(until, abs=10)
    assert ask(context, clock, name, explain=False)["expires_at"] is None, "it lacks nothing"


def test_a_late_answer_expires_when_its_reply_may_have_arrived(
    open_context: OpenContext, bundle: Bundle, url: str, clock: FastClock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 0.0)
    context, name = open_context(url, "good"), str(bundle.known["full_name"].iloc[0])

    answer = ask(context, clock, name, explain=False)

    assert answer["predictions"][0]["notes"][-1].startswith("GitHub did not respond in time")
    assert 0 < reuse(answer, clock) <= LATE_PAUSE
    assert world.counts.requests == 0


def test_an_error_states_how_long_its_reason_can_be_expected_to_hold(
    open_context: OpenContext, bundle: Bundle, url: str, clock: FastClock, world: World
) -> None:
    missing = ask(open_context(url, ""), clock, "no/such")
    window = world.window("core", known=False)
    window.take(clock.now, window.limit)
    limited = ask(open_context(url, ""), clock, world.population.name(3))
    unreachable = ask(open_context(UNREACHABLE, ""), clock, world.population.name(3))

    assert (missing["code"], "expires_at" in missing) == ("unknown_repository", False)
    assert limited["code"] == "github_rate_limited"
    assert datetime.fromisoformat(limited["expires_at"]).timestamp() == pytest.approx(window.until, abs=10)
    assert unreachable["code"] == "github_unavailable"
    assert LEAST_REUSE < (reuse(unreachable, clock) or 0) <= BACKOFF


def test_one_temporary_error_among_several_names_makes_the_answer_expire(
    open_context: OpenContext, bundle: Bundle, clock: FastClock
) -> None:
    context = open_context(UNREACHABLE, "")

    answer = ask(context, clock, str(bundle.known["full_name"].iloc[0]), "some/other", explain=False)

    assert [error["code"] for error in answer["errors"]] == ["github_unavailable"]
    assert LEAST_REUSE < reuse(answer, clock) <= BACKOFF
