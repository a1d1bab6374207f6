"""A repository that GitHub cannot count in time costs the others of its batch neither their records nor their counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stargaze.features.github.api.replies import Reply
from stargaze.serve.lookup import github_repositories
from stargaze.serve.lookup.github_repositories import GithubRepositories, RepositoryReply
from stargaze.serve.lookup.github_requests import FAIR_TIME, GithubRequests
from stargaze.serve.lookup.github_resource import NoWaitClock
from stargaze.serve.lookup.pauses import BACKOFF, QUERY
from tests.simulated.fast_clock import FastClock
from tests.simulated.world import World

HEAVY = 3
"""A row that takes GitHub more than ten seconds to count."""


class HangingRequests(GithubRequests):
    """GitHub does not respond to queries of counts of several repositories until ``responds`` is set."""

    responds = threading.Event()

    def query(self, kind: str, text: str, variables: Any, deadline: float) -> Reply:
        if len(variables.get("ids", ())) > 1:
            self.responds.wait(20)
        return super().query(kind, text, variables, deadline)


@pytest.fixture
def requests(url: str, clock: FastClock) -> Iterator[GithubRequests]:
    requests = GithubRequests(url, "good", NoWaitClock(clock.time))
    yield requests
    requests.close()


@pytest.fixture
def names(world: World) -> list[str]:
    return [world.population.name(row).lower() for row in range(5)]


def fetch(requests: GithubRequests, names: list[str]) -> dict[str, RepositoryReply]:
    return GithubRepositories(requests).fetch(names)


def complete(replies: dict[str, RepositoryReply]) -> set[str]:
    return {name for name, reply in replies.items() if reply.record and reply.is_complete}


def count_requests(world: World) -> int:
    return sum("/graphql" in url for url, _ in world.counts.log)


def test_after_github_gave_up_on_all_each_is_counted_alone(
    world: World, requests: GithubRequests, names: list[str], clock: FastClock
) -> None:
    world.population.heavy[HEAVY] = True

    replies = fetch(requests, names)

    assert complete(replies) == {*names} - {names[HEAVY]}
    assert replies[names[HEAVY]].record
    clock.ahead = 2 * BACKOFF
    assert not requests.pauses.find(QUERY, "graphql")


def test_a_repository_that_graphql_cannot_count_has_the_counts_of_rest(
    world: World, requests: GithubRequests, names: list[str]
) -> None:
    world.population.heavy[HEAVY] = True

    fetch(requests, names)
    second = fetch(requests, names)
    sent = count_requests(world)
    third = fetch(requests, names)

    assert second[names[HEAVY]].record == third[names[HEAVY]].record
    assert (second[names[HEAVY]].record or {})["subscribers"] == world.population.subscribers[HEAVY]
    assert count_requests(world) == sent  # it is counted again when the reply is old


@pytest.mark.thorough  # it waits for a deadline
def test_late_counts_do_not_delay_the_contributors(
    url: str, clock: FastClock, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = HangingRequests(url, "good", NoWaitClock(clock.time))
    requests.responds.clear()
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", FAIR_TIME + 1.0)

    replies = fetch(requests, names)
    requests.responds.set()
    requests.close()

    assert complete(replies) == set()
    assert all((reply.record or {}).get("contributors") for reply in replies.values())


@pytest.mark.thorough  # it waits for a deadline
def test_after_a_timeout_of_all_the_next_visitor_requests_each_alone(
    url: str, clock: FastClock, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = HangingRequests(url, "good", NoWaitClock(clock.time))
    requests.responds.clear()
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", FAIR_TIME + 1.0)

    first = fetch(requests, names)
    monkeypatch.setattr(github_repositories, "LOOKUP_SECONDS", 60.0)
    second = fetch(requests, names)
    requests.responds.set()
    requests.close()

    assert all(reply.record for reply in first.values())
    assert complete(first) == set()
    assert complete(second) == set(names)


def test_a_query_of_names_that_github_gives_up_on_is_split(
    world: World, requests: GithubRequests, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    respond = world.respond

    def fail_if_several(method: str, url: str, headers: Any, body: bytes) -> Any:
        response = respond(method, url, headers, body)
        return type(response)(502, b'{"data": null}', response.headers) if b"r1: repository" in body else response

    monkeypatch.setattr(world, "respond", fail_if_several)

    assert complete(fetch(requests, names)) == set(names)
    assert not requests.pauses.find(QUERY, "graphql")


def test_a_name_that_github_fails_on_is_unavailable_and_not_unknown(
    requests: GithubRequests, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    query = requests.query

    def fail_on_one(kind: str, text: str, variables: Any, deadline: float) -> Reply:
        reply = query(kind, text, variables, deadline)
        if kind == QUERY:
            reply.data["data"]["r1"] = None
            reply.data["errors"] = [{"path": ["r1"], "message": "Something went wrong while executing your query."}]
        return reply

    monkeypatch.setattr(requests, "query", fail_on_one)

    replies = fetch(requests, names)

    assert complete(replies) == {*names} - {names[1]}
    assert (replies[names[1]].gone, bool(replies[names[1]].unavailable)) == ("", True)


def test_an_organization_that_hides_its_members_costs_no_other_count(
    world: World, requests: GithubRequests, names: list[str]
) -> None:
    row = next(row for row in range(len(world.population)) if world.population.is_organization(row))
    world.population.refusing = {int(world.population.owner[row])}
    name = world.population.name(row).lower()

    reply = fetch(requests, [name, *names])[name]

    assert reply.is_complete
    assert reply.record
    assert reply.record["issues"] >= 0
    assert "owner_members" not in reply.record


def test_a_former_and_the_present_name_have_the_same_counts(
    world: World, requests: GithubRequests, names: list[str]
) -> None:
    world.population.rename(0)

    replies = fetch(requests, [names[0], world.population.name(0)])

    assert complete(replies) == {names[0], world.population.name(0).lower()}
    assert len({reply.record["issues"] for reply in replies.values() if reply.record}) == 1
