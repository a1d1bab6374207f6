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
from tests.serve.fake_queue import FakePredictionQueue
from tests.waiting import wait_for


class Counting:
    """A queue that counts how often it was looked at."""

    def __init__(self, queue: FakePredictionQueue) -> None:
        self.queue = queue
        self.looks: list[int] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self.queue, name)  # type: ignore[no-any-return]

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        self.looks.append(len(job_ids))
        return self.queue.finished(job_ids)


@pytest.fixture
def tickets(queue: FakePredictionQueue) -> list[PredictionJob]:
    return [queue.submit(PredictionRequest((f"own/name{number}",))) for number in range(8)]


def finish(queue: FakePredictionQueue, ticket: PredictionJob) -> None:
    queue.jobs[ticket.id] = dataclasses.replace(ticket, state="failed", error={"message": "no", "hint": ""})


def test_all_who_wait_are_told_by_the_same_looks(queue: FakePredictionQueue, tickets: list[PredictionJob]) -> None:
    counting = Counting(queue)
    lookout = LongPoller(counting)  # type: ignore[arg-type]
    with ThreadPoolExecutor(len(tickets)) as pool:
        waits = [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets]
        wait_for(lambda: len(tickets) in counting.looks)
        for ticket in tickets:
            finish(queue, ticket)

        found = [wait.result() for wait in waits]

    assert [one.id for one in found if one and one.state == "failed"] == [ticket.id for ticket in tickets]
    wait_for(lambda: not any(thread.name == "lookout" for thread in threading.enumerate()))


def test_when_the_time_is_up_the_ticket_is_told_as_it_stands(
    queue: FakePredictionQueue, tickets: list[PredictionJob]
) -> None:
    assert LongPoller(queue).wait(tickets[0], 0.05) == tickets[0]


def test_a_ticket_that_goes_is_told_to_be_gone(queue: FakePredictionQueue, tickets: list[PredictionJob]) -> None:
    del queue.jobs[tickets[0].id]

    assert LongPoller(queue).wait(tickets[0], 30.0) is None


def test_one_too_many_is_told_at_once(queue: FakePredictionQueue, tickets: list[PredictionJob]) -> None:
    lookout = LongPoller(queue, most=2)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets[:2]]
        wait_for(lambda: len(lookout._waiting) == 2)
        begun = time.monotonic()

        assert lookout.wait(tickets[2], 30.0) == tickets[2]

        assert time.monotonic() - begun < 20
        for ticket in tickets[:2]:
            finish(queue, ticket)
        assert all(wait.result() for wait in waits)
    assert lookout.wait(tickets[3], 0.02) == tickets[3]


def test_a_desk_that_fails_is_told_to_all_and_the_next_wait_looks_again(
    queue: FakePredictionQueue, tickets: list[PredictionJob]
) -> None:
    lookout = LongPoller(queue)
    queue.closed = True
    with ThreadPoolExecutor(2) as pool:
        for wait in [pool.submit(lookout.wait, ticket, 30.0) for ticket in tickets[:2]]:
            with pytest.raises(ExternalError):
                wait.result()
    queue.closed = False
    finish(queue, tickets[0])

    found = lookout.wait(tickets[0], 30.0)

    assert found is not None
    assert found.state == "failed"
