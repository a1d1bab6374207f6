"""Jobs that failed are tried again by every page that asks for them, if they may succeed."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.serve.web.pages import exports
from tests.serve.fake_queue import NOW

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATHS = ("/repositories/{0}", "/repositories/{0}?license=mit", "/compare/{0}...{1}", "/badge/{0}.svg", "/card/{0}.png")


@pytest.mark.thorough
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("code", "status", "seconds", "count"),
    [
        ("unknown_repository", 404, None, 1),
        ("github_unavailable", 503, None, 2),
        ("github_unavailable", 503, 60, 1),
        ("github_unavailable", 503, -1, 2),
        ("worker_died", 500, None, 2),
    ],
)
def test_only_what_may_succeed_later_is_tried_again(
    page: FlaskClient,
    queue: FakePredictionQueue,
    sample: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    code: str,
    status: int,
    seconds: int | None,
    count: int,
) -> None:
    submitted = []
    submit = queue.submit

    def submit_and_fail(*request: object, **options: object) -> object:
        submitted.append(request)
        job = submit(*request, **options)
        error = {"code": code, "message": "a test", "hint": ""}
        if seconds:
            error["expires_at"] = (NOW + timedelta(seconds=seconds)).isoformat()
        queue.jobs[job.id] = dataclasses.replace(job, state="failed", error=error)
        return queue.jobs[job.id]

    monkeypatch.setattr(queue, "submit", submit_and_fail)
    monkeypatch.setattr(exports, "MAX_WAIT", 0.0)
    address = path.format(*sample["full_name"].iloc[:2])

    answers = [page.get(address) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [status, status]
    assert len(submitted) == count


@pytest.mark.parametrize("path", ["/repositories/{0}", "/compare/{0}...{1}"])
def test_an_expired_result_is_not_shown_at_the_address_of_its_repositories(
    page: FlaskClient, queue: FakePredictionQueue, sample: pd.DataFrame, path: str
) -> None:
    queue.is_instant = True
    address = path.format(*sample["full_name"].iloc[:2])
    page.get(address)
    (job,) = queue.jobs.values()
    assert job.answer
    for seconds, count in ((60, 1), (-1, 2)):
        job.answer["expires_at"] = (NOW + timedelta(seconds=seconds)).isoformat()

        assert page.get(f"{address}?job={job.id}").status_code == 200
        assert len(queue.jobs) == count
    assert page.get(f"/predictions/{job.id}").status_code == 200
