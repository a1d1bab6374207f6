"""Many asked about at once, the heavy ones found and given up alone, and a GitHub that is down told from them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stargaze.errors import ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client, Reply
from stargaze.features.github.api.graphql import MAX_TRIES_DOWN, BatchSize, query_in_batches
from stargaze.features.github.api.http_transport import Request, Response
from tests.features.github.conftest import FakeClock, answer

NULL = {"data": {"repository": None}}
WELL = {"data": {"repository": {"watchers": {"totalCount": 3}}}}
NOBODY = {**NULL, "errors": [{"type": "NOT_FOUND", "path": ["repository"], "message": "Could not resolve"}]}
BROKEN = {**NULL, "errors": [{"path": ["repository"], "message": "Something went wrong"}]}
HEAVY = answer(502, {"data": None})
Health = list[Response]


@dataclass
class Numbers:
    """A GitHub that is asked about numbers: those in ``heavy`` it never counts, the example as ``health`` says."""

    heavy: set[int]
    health: Health = field(default_factory=lambda: [answer(200, WELL)])
    down: int = 0
    """Requests that it does not answer, whatever they ask for."""
    asked: list[list[int] | None] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)

    def send(self, ask: Request) -> Response:
        self.down -= 1
        if self.down >= 0:
            return HEAVY
        if graphql.ALIVE_QUERY.encode()[:11] in (ask.body or b""):
            self.asked.append(None)
            return self.health.pop(0) if len(self.health) > 1 else self.health[0]
        some = [int(one) for one in (ask.body or b"").decode().partition('"ids": [')[2].rstrip("]}").split(",")]
        self.asked.append(some)
        return HEAVY if self.heavy & set(some) else answer(200, {"data": {"nodes": some}})

    def take(self, some: list[int], _reply: Reply) -> list[int]:
        self.done += some
        return []


def ask_about(github: Numbers, clock: FakeClock, count: int = 40) -> None:
    client = Client(github, clock)
    query_in_batches(
        range(count),
        BatchSize(20),
        lambda some: client.query("query Numbers", {"ids": some}),
        github.take,
        github.given_up.append,
        client,
    )


@pytest.mark.parametrize("heavy", [{0}, {39}, {3, 4, 17, 18, 30, 31, 38, 39}, set(range(40))])
def test_however_many_are_too_heavy_they_are_given_up_and_the_others_answered(
    clock: FakeClock, heavy: set[int]
) -> None:
    github = Numbers(heavy)
    ask_about(github, clock)
    assert github.given_up == sorted(heavy)
    assert github.done == [one for one in range(40) if one not in heavy]
    assert sum(clock.slept) == 4 * len(heavy)


def test_a_few_that_fail_are_asked_in_half_and_not_as_they_were(clock: FakeClock) -> None:
    github = Numbers({0})
    ask_about(github, clock, 4)
    assert github.asked[:3] == [[0, 1, 2, 3], [0, 1], [0]]


def test_one_is_abandoned_before_the_next_is_asked(clock: FakeClock) -> None:
    github = Numbers({0, 1})
    ask_about(github, clock, 2)
    assert github.asked == [[0, 1], *[[0], None] * 3, *[[1], None] * 3]


def test_the_example_that_is_not_there_is_an_answer_too(clock: FakeClock) -> None:
    github = Numbers({0}, [answer(200, NOBODY)])
    ask_about(github, clock, 1)
    assert github.given_up == [0]


@pytest.mark.parametrize("health", [HEAVY, answer(504, {}), answer(200, BROKEN), answer(200, NULL)])
def test_a_github_that_counts_nothing_is_waited_for_longer_and_longer_and_nobody_is_abandoned(
    clock: FakeClock, health: Response
) -> None:
    github = Numbers({5}, [health])
    with pytest.raises(ExternalError, match="does not respond") as error:
        ask_about(github, clock)
    assert clock.slept == [2.0**power for power in range(1, MAX_TRIES_DOWN + 1)]
    assert github.given_up == []
    assert "the same command" in error.value.hint


def test_whoever_fails_while_github_is_down_is_answered_when_it_is_well_again(clock: FakeClock) -> None:
    github = Numbers(set(), down=14)  # five of them for smaller and smaller pages
    ask_about(github, clock)
    assert github.done == list(range(40))
    assert github.given_up == []
    assert clock.slept == [2.0, 4.0, 8.0, 16.0, 32.0]


def test_a_failure_just_before_github_is_well_again_does_not_count(clock: FakeClock) -> None:
    well = answer(200, WELL)
    github = Numbers({0}, [well, well, HEAVY, well])
    ask_about(github, clock, 1)
    assert github.asked.count([0]) == 6
    assert github.given_up == [0]


def test_a_github_that_is_well_every_other_time_is_not_asked_for_ever(clock: FakeClock) -> None:
    github = Numbers({0}, [answer(200, WELL), HEAVY] * 20)
    with pytest.raises(ExternalError):
        ask_about(github, clock, 1)


def test_what_is_missing_in_every_answer_is_abandoned_and_nothing_else(clock: FakeClock) -> None:
    class Forgetful(Numbers):
        def take(self, some: list[int], _reply: Reply) -> list[int]:
            self.done += [one for one in some if one != 7]
            return [one for one in some if one == 7]

    github = Forgetful(set())
    ask_about(github, clock)
    assert github.given_up == [7]
    assert github.done == [one for one in range(40) if one != 7]
