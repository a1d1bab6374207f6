"""The landing page: its example and its lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.prediction_request import PredictionJob, PredictionRequest
from stargaze.serve.web.app import make_web
from stargaze.serve.web.pages.live_example import MAX_AGE, MAX_WAIT, LiveExample
from stargaze.serve.web.views.bundle_view import EXAMPLE_RANKS, BundleView, load_bundle_view
from stargaze.serve.web.views.landing import MAX_OUTLIERS, outlier_rows
from stargaze.store import Store
from tests.serve.fake_queue import NOW

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue


OUTLIER = {
    "full_name": "a/b",
    "expected_stars": 2538.2,
    "interval_low": 754.0,
    "interval_high": 8071.0,
    "actual_stars": 21_089.0,
}


@pytest.fixture
def name(sample: pd.DataFrame) -> str:
    return str(sample["full_name"].iloc[EXAMPLE_RANKS[0]])


class Timer:
    """A clock that a test sets."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def example(queue: FakePredictionQueue, timer: Timer) -> LiveExample:
    return LiveExample(queue, lambda: NOW, submits=True, timer=timer)


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.thorough
def test_the_landing_page_shows_an_answer_that_was_computed(
    page: FlaskClient, queue: FakePredictionQueue, name: str
) -> None:
    before = page.get("/").text
    page.get(f"/repositories/{name}")
    queue.work()
    time.sleep(1.1)  # the pause between two attempts

    after = page.get("/").text

    assert f"How many stars should {name} have?" in before
    assert f"{name}: about " in after or f"{name}: less than" in after
    assert 'class="scale"' in after
    assert "interval" in after


def test_visitors_of_the_landing_page_queue_nothing(page: FlaskClient, queue: FakePredictionQueue) -> None:
    page.get("/")

    assert queue.jobs == {}


@pytest.mark.thorough
def test_an_example_is_requested_once(example: LiveExample, queue: FakePredictionQueue, name: str) -> None:
    assert example.find(name) is None
    wait_until(lambda: queue.jobs)
    queue.work()

    wait_until(lambda: example.find(name))
    assert len(queue.jobs) == 1


@pytest.mark.thorough
def test_an_example_that_lacks_something_temporary_is_requested_again_when_it_expires(
    example: LiveExample, queue: FakePredictionQueue, timer: Timer, name: str
) -> None:
    example.find(name)
    wait_until(lambda: queue.jobs)
    queue.work()
    job = next(iter(queue.jobs.values()))
    assert job.answer
    job.answer["expires_at"] = (NOW + timedelta(seconds=60)).isoformat()
    wait_until(lambda: example.find(name))
    queue.jobs.clear()
    timer.seconds += 59
    example.find(name)
    assert not queue.jobs
    timer.seconds += 2

    assert example.find(name)
    wait_until(lambda: queue.jobs)
    queue.work()


@pytest.mark.thorough
def test_an_old_example_is_shown_while_it_is_requested_again(
    example: LiveExample, queue: FakePredictionQueue, timer: Timer, name: str
) -> None:
    example.find(name)
    wait_until(lambda: queue.jobs)
    queue.work()
    wait_until(lambda: example.find(name))
    queue.jobs.clear()
    timer.seconds += MAX_AGE + 1

    assert example.find(name)
    wait_until(lambda: queue.jobs)
    queue.work()


def test_an_unavailable_queue_shows_no_example(example: LiveExample, queue: FakePredictionQueue, name: str) -> None:
    queue.closed = True
    queue.find = lambda _request: queue.check()  # type: ignore[method-assign, assignment, return-value, func-returns-value]

    assert example.find(name) is None


@pytest.mark.thorough
def test_a_slow_queue_does_not_hold_the_page_up(example: LiveExample, queue: FakePredictionQueue, name: str) -> None:
    free = threading.Event()

    def find(_request: PredictionRequest) -> PredictionJob | None:
        free.wait(30)
        raise ExternalError("too late")

    queue.find = find  # type: ignore[method-assign]
    begin = time.monotonic()

    assert example.find(name) is None
    assert example.find(name) is None

    assert time.monotonic() - begin < 2 * MAX_WAIT + 15
    assert not free.is_set()
    free.set()


def test_the_landing_page_lists_outliers(
    released_store: Store, queue: FakePredictionQueue, monkeypatch: pytest.MonkeyPatch, sample: pd.DataFrame
) -> None:
    def load(folder: Path, exclusions: Exclusions) -> BundleView:
        view = load_bundle_view(folder, exclusions)
        view.meta["outliers"] = {
            "more": [{**OUTLIER, "full_name": name} for name in sample["full_name"].iloc[:2]],
            "fewer": [],
        }
        return view

    monkeypatch.setattr("stargaze.serve.web.app.load_bundle_view", load)

    html = make_web(ServeSection(), released_store, queue).test_client().get("/").text

    assert "More stars than expected" in html
    assert "Fewer stars than expected" not in html
    assert f'<a href="/repositories/{sample["full_name"].iloc[1]}">' in html
    assert "8.3× more" in html


def test_outliers_are_described_with_their_ratio() -> None:
    rows = outlier_rows([OUTLIER] * 10)

    assert len(rows) == MAX_OUTLIERS
    texts = (rows[0].expected, rows[0].interval, rows[0].actual, rows[0].ratio)
    assert texts == ("2,538", "754–8,071", "21,089", "8.3× more")
