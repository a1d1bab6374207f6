"""Long polling: a result returns at once, a timeout returns the present state, and the number of waiting requests is limited."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import PredictionJob, PredictionRequest
from stargaze.serve.queue.long_polling import LongPoller
from tests.serve.fake_queue import FakePredictionQueue
from tests.waiting import wait_for


class CountingQueue:
    """A queue that records the polls."""

    def __init__(self, queue: FakePredictionQueue) -> None:
        self.queue = queue
        self.polls: list[int] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        return getattr(self.queue, name)  # type: ignore[no-any-return]

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        self.polls.append(len(job_ids))
        return self.queue.finished(job_ids)


@pytest.fixture
def jobs(queue: FakePredictionQueue) -> list[PredictionJob]:
    return [queue.submit(PredictionRequest((f"own/name{number}",))) for number in range(8)]


def finish(queue: FakePredictionQueue, job: PredictionJob) -> None:
    queue.jobs[job.id] = dataclasses.replace(job, state="failed", error={"code": "a_test", "message": "no", "hint": ""})


def test_all_waiting_requests_share_one_poll(queue: FakePredictionQueue, jobs: list[PredictionJob]) -> None:
    counting = CountingQueue(queue)
    poller = LongPoller(counting)  # type: ignore[arg-type]
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(poller.wait, job, 30.0) for job in jobs]
        wait_for(lambda: len(jobs) in counting.polls)
        for job in jobs:
            finish(queue, job)

        finished = [wait.result() for wait in futures]

    assert [job.id for job in finished if job and job.state == "failed"] == [job.id for job in jobs]
    wait_for(lambda: not any(thread.name == "long-polling" for thread in threading.enumerate()))


def test_after_the_timeout_the_present_state_is_returned(queue: FakePredictionQueue, jobs: list[PredictionJob]) -> None:
    assert LongPoller(queue).wait(jobs[0], 0.05) == jobs[0]


def test_a_job_that_disappears_is_none(queue: FakePredictionQueue, jobs: list[PredictionJob]) -> None:
    del queue.jobs[jobs[0].id]

    assert LongPoller(queue).wait(jobs[0], 30.0) is None


def test_a_request_above_the_limit_returns_at_once(queue: FakePredictionQueue, jobs: list[PredictionJob]) -> None:
    poller = LongPoller(queue, max_waiting=2)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(poller.wait, job, 30.0) for job in jobs[:2]]
        wait_for(lambda: len(poller._waiting) == 2)

        assert poller.wait(jobs[2], 30.0) == jobs[2]

        assert not any(future.done() for future in futures)
        for job in jobs[:2]:
            finish(queue, job)
        assert all(wait.result() for wait in futures)
    assert poller.wait(jobs[3], 0.02) == jobs[3]


def test_an_error_of_the_queue_reaches_all_and_the_next_wait_polls_again(
    queue: FakePredictionQueue, jobs: list[PredictionJob]
) -> None:
    poller = LongPoller(queue)
    queue.closed = True
    with ThreadPoolExecutor(2) as pool:
        for wait in [pool.submit(poller.wait, job, 30.0) for job in jobs[:2]]:
            with pytest.raises(ExternalError):
                wait.result()
    queue.closed = False
    finish(queue, jobs[0])

    result = poller.wait(jobs[0], 30.0)

    assert result is not None
    assert result.state == "failed"
