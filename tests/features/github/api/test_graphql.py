"""Adaptive batches: items that always time out are isolated and given up; an outage of GitHub is recognized as such."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from stargaze.errors import ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.graphql import MAX_TRIES_DOWN, BatchSize, query_in_batches
from stargaze.features.github.api.http_transport import Request, Response
from stargaze.features.github.api.replies import Reply
from tests.features.github.conftest import FakeClock, make_response

NULL = {"data": {"repository": None}}
HEALTHY = {"data": {"repository": {"watchers": {"totalCount": 3}}}}
NOT_FOUND = {**NULL, "errors": [{"type": "NOT_FOUND", "path": ["repository"], "message": "Could not resolve"}]}
BROKEN = {**NULL, "errors": [{"path": ["repository"], "message": "Something went wrong"}]}
HEAVY = make_response(502, {"data": None})
Health = list[Response]


@dataclass
class Numbers:
    """A GitHub that is queried for numbers: those in ``heavy`` time out; ``health`` are the responses to the health query."""

    heavy: set[int]
    health: Health = field(default_factory=lambda: [make_response(200, HEALTHY)])
    down: int = 0
    """Number of requests that fail first."""
    requests: list[list[int] | None] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        self.down -= 1
        if self.down >= 0:
            return HEAVY
        if graphql.ALIVE_QUERY.encode()[:11] in (request.body or b""):
            self.requests.append(None)
            return self.health.pop(0) if len(self.health) > 1 else self.health[0]
        batch = [int(item) for item in (request.body or b"").decode().partition('"ids": [')[2].rstrip("]}").split(",")]
        self.requests.append(batch)
        return HEAVY if self.heavy & set(batch) else make_response(200, {"data": {"nodes": batch}})

    def store(self, batch: list[int], _reply: Reply) -> list[int]:
        self.done += batch
        return []


def query_numbers(github: Numbers, clock: FakeClock, count: int = 40) -> None:
    client = Client(github, clock)
    query_in_batches(
        range(count),
        BatchSize(20),
        lambda batch: client.query("query Numbers", {"ids": batch}),
        github.store,
        github.given_up.append,
        client,
    )


@pytest.mark.parametrize("heavy", [{0}, {39}, {3, 4, 17, 18, 30, 31, 38, 39}, set(range(40))])
def test_all_heavy_items_are_given_up_and_the_others_stored(clock: FakeClock, heavy: set[int]) -> None:
    github = Numbers(heavy)
    query_numbers(github, clock)
    assert github.given_up == sorted(heavy)
    assert github.done == [item for item in range(40) if item not in heavy]
    assert sum(clock.slept) == 4 * len(heavy)


def test_a_failing_batch_is_halved(clock: FakeClock) -> None:
    github = Numbers({0})
    query_numbers(github, clock, 4)
    assert github.requests[:3] == [[0, 1, 2, 3], [0, 1], [0]]


def test_an_item_is_given_up_before_the_next_is_requested(clock: FakeClock) -> None:
    github = Numbers({0, 1})
    query_numbers(github, clock, 2)
    assert github.requests == [[0, 1], *[[0], None] * 3, *[[1], None] * 3]


def test_a_missing_example_repository_shows_that_github_works(clock: FakeClock) -> None:
    github = Numbers({0}, [make_response(200, NOT_FOUND)])
    query_numbers(github, clock, 1)
    assert github.given_up == [0]


@pytest.mark.parametrize(
    "health", [HEAVY, make_response(504, {}), make_response(200, BROKEN), make_response(200, NULL)]
)
def test_an_outage_is_waited_for_with_growing_waits_and_no_item_is_given_up(clock: FakeClock, health: Response) -> None:
    github = Numbers({5}, [health])
    with pytest.raises(ExternalError, match="does not respond") as error:
        query_numbers(github, clock)
    assert clock.slept == [2.0**power for power in range(1, MAX_TRIES_DOWN + 1)]
    assert github.given_up == []
    assert "the same command" in error.value.hint


def test_items_that_fail_during_an_outage_succeed_after_it(clock: FakeClock) -> None:
    github = Numbers(set(), down=14)  # five of them for smaller and smaller batches
    query_numbers(github, clock)
    assert github.done == list(range(40))
    assert github.given_up == []
    assert clock.slept == [2.0, 4.0, 8.0, 16.0, 32.0]


def test_a_failure_during_an_outage_does_not_count_against_an_item(clock: FakeClock) -> None:
    healthy = make_response(200, HEALTHY)
    github = Numbers({0}, [healthy, healthy, HEAVY, healthy])
    query_numbers(github, clock, 1)
    assert github.requests.count([0]) == 6
    assert github.given_up == [0]


def test_alternating_health_ends_with_an_error(clock: FakeClock) -> None:
    github = Numbers({0}, [make_response(200, HEALTHY), HEAVY] * 20)
    with pytest.raises(ExternalError):
        query_numbers(github, clock, 1)


def test_only_an_item_missing_in_every_response_is_given_up(clock: FakeClock) -> None:
    class Omitting(Numbers):
        def store(self, batch: list[int], _reply: Reply) -> list[int]:
            self.done += [item for item in batch if item != 7]
            return [item for item in batch if item == 7]

    github = Omitting(set())
    query_numbers(github, clock)
    assert github.given_up == [7]
    assert github.done == [item for item in range(40) if item != 7]
