"""Who waits: told as soon as it is there, told how it stands when the time is up, and never one too many."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import PredictionJob, PredictionRequest
from stargaze.serve.queue.long_polling import LongPoller
from tests.conftest import FakeDesk
from tests.waiting import wait_for


class Counting:
    """A desk that counts how often it was looked at."""

    def __init__(self, desk: FakeDesk) -> None:
        self.desk = desk
        self.looks: list[int] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self.desk, name)  # type: ignore[no-any-return]

    def ended(self, ticket_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        self.looks.append(len(ticket_ids))
        return self.desk.ended(ticket_ids)


@pytest.fixture
def tickets(desk: FakeDesk) -> list[PredictionJob]:
    return [desk.ask(PredictionRequest((f"own/name{number}",))) for number in range(8)]


def finish(desk: FakeDesk, ticket: PredictionJob) -> None:
    desk.tickets[ticket.id] = dataclasses.replace(ticket, state="failed", error={"message": "no", "hint": ""})


def test_all_who_wait_are_told_by_the_same_looks(desk: FakeDesk, tickets: list[PredictionJob]) -> None:
    counting = Counting(desk)
    lookout = LongPoller(counting)  # type: ignore[arg-type]
    with ThreadPoolExecutor(len(tickets)) as pool:
        waits = [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets]
        wait_for(lambda: len(tickets) in counting.looks)
        for ticket in tickets:
            finish(desk, ticket)

        found = [wait.result() for wait in waits]

    assert [one.id for one in found if one and one.state == "failed"] == [ticket.id for ticket in tickets]
    wait_for(lambda: not any(thread.name == "lookout" for thread in threading.enumerate()))


def test_when_the_time_is_up_the_ticket_is_told_as_it_stands(desk: FakeDesk, tickets: list[PredictionJob]) -> None:
    assert LongPoller(desk).wait(tickets[0], 0.05) == tickets[0]


def test_a_ticket_that_goes_is_told_to_be_gone(desk: FakeDesk, tickets: list[PredictionJob]) -> None:
    del desk.tickets[tickets[0].id]

    assert LongPoller(desk).wait(tickets[0], 30.0) is None


def test_one_too_many_is_told_at_once(desk: FakeDesk, tickets: list[PredictionJob]) -> None:
    lookout = LongPoller(desk, most=2)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets[:2]]
        wait_for(lambda: len(lookout._waiting) == 2)
        begun = time.monotonic()

        assert lookout.wait(tickets[2], 30.0) == tickets[2]

        assert time.monotonic() - begun < 20
        for ticket in tickets[:2]:
            finish(desk, ticket)
        assert all(wait.result() for wait in waits)
    assert lookout.wait(tickets[3], 0.02) == tickets[3]


def test_a_desk_that_fails_is_told_to_all_and_the_next_wait_looks_again(
    desk: FakeDesk, tickets: list[PredictionJob]
) -> None:
    lookout = LongPoller(desk)
    desk.closed = True
    with ThreadPoolExecutor(2) as pool:
        for wait in [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets[:2]]:
            with pytest.raises(ExternalError):
                wait.result()
    desk.closed = False
    finish(desk, tickets[0])

    found = lookout.wait(tickets[0], 30.0)

    assert found is not None
    assert found.state == "failed"
