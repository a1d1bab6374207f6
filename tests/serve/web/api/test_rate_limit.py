"""The rate limit of a visitor."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from stargaze.config import ServeSection
from stargaze.serve.supervisor.supervise import listen
from stargaze.serve.web.app import make_web
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/predictions"
Open = Callable[[ServeSection], FlaskClient]


@pytest.fixture
def visit(released_store: Store, queue: FakePredictionQueue) -> Open:
    return lambda section: make_web(section, released_store, queue).test_client()


def submit(page: FlaskClient, number: int, **options: object) -> int:
    return page.post(PATH, json={"repositories": [f"a/b{number}"]}, **options).status_code


def test_above_the_rate_limit_is_429_with_retry_after(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=3))

    answers = [page.post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(4)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 60
    assert "error" in answers[3].json


def test_reading_is_not_limited(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=2))

    assert [page.get("/").status_code for _ in range(5)] == [200] * 5


def test_each_address_is_counted_separately(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1, trusted_proxies=1))

    answers = [submit(page, number, headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in (1, 2, 1)]

    assert answers == [202, 202, 429]


def test_forwarded_addresses_are_used_only_behind_a_proxy(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    assert [submit(page, number, headers={"X-Forwarded-For": f"10.0.0.{number}"}) for number in (1, 2)] == [202, 429]


def test_zero_disables_the_rate_limit(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=0))

    assert {submit(page, number) for number in range(20)} == {202}


def test_an_unreachable_redis_rejects_nobody(visit: Open, caplog: pytest.LogCaptureFixture) -> None:
    page = visit(ServeSection(rate_limit=50, results_url="redis://127.0.0.1:1/0"))

    with caplog.at_level(logging.WARNING):
        assert [submit(page, number) for number in range(3)] == [202] * 3
    assert any("storage" in record.getMessage().lower() for record in caplog.records)


@pytest.mark.parametrize("path", ["/repositories/a/b", "/badge/a/b.svg", "/card/a/b.png"])
def test_paths_that_submit_jobs_are_limited(visit: Open, path: str) -> None:
    """Each of them submits a job unless a recent one exists."""
    page = visit(ServeSection(rate_limit=2))

    answers = [page.get(path) for _ in range(3)]

    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert "text/html" in answers[2].content_type


@pytest.mark.real  # it waits for seconds
def test_a_redis_that_does_not_answer_delays_by_seconds_at_most(visit: Open) -> None:
    """It accepts connections and sends nothing."""
    with listen("127.0.0.1", 0) as silent:
        page = visit(ServeSection(rate_limit=50, results_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        started = time.monotonic()

        assert [submit(page, number) for number in range(3)] == [202] * 3

    assert time.monotonic() - started < 10.0


def test_the_form_above_the_rate_limit_is_an_html_page(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    answers = [page.post("/", data={"repositories": "a/b"}) for _ in range(2)]

    assert answers[1].status_code == 429
    assert int(answers[1].headers["Retry-After"]) > 0
    assert "<html" in answers[1].text


def test_only_rejected_requests_have_retry_after(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))

    answers = [page.post(PATH, json={"repositories": [f"a/b{number}"]}) for number in range(2)]

    assert "Retry-After" not in answers[0].headers
    assert "Retry-After" in answers[1].headers


def test_a_rejection_has_the_request_id(visit: Open) -> None:
    page = visit(ServeSection(rate_limit=1))
    submit(page, 1)

    answer = page.post(PATH, json={"repositories": ["a/b2"]}, headers={"X-Request-ID": "mine-1234"})

    assert (answer.status_code, answer.headers["X-Request-ID"]) == (429, "mine-1234")
