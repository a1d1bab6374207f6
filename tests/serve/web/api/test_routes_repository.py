"""GET /api/v1/repositories/OWNER/NAME waits for the result of one repository."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

from stargaze.serve.prediction_request import PredictionJob, PredictionRequest
from tests.serve.fake_queue import NOW, fail_job
from tests.waiting import acting_when

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATH = "/api/v1/repositories"
AT_ONCE = {"Prefer": "wait=0"}


@pytest.fixture
def path(sample: pd.DataFrame) -> str:
    return f"{PATH}/{sample['full_name'].iloc[300]}"


@pytest.fixture
def worker(queue: FakePredictionQueue, monkeypatch: pytest.MonkeyPatch) -> FakePredictionQueue:
    """Answer each request when it is submitted."""
    submit = queue.submit

    def submit_and_work(request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        job = submit(request, key=key, request_id=request_id)
        queue.work()
        return queue.jobs[job.id]

    monkeypatch.setattr(queue, "submit", submit_and_work)
    return queue


def test_a_repository_is_answered_with_its_job(page: FlaskClient, worker: FakePredictionQueue, path: str) -> None:
    answer = page.get(path)

    assert answer.status_code == 200
    assert answer.json["state"] == "done"
    assert answer.json["predictions"][0]["full_name"] == path.removeprefix(f"{PATH}/")
    assert "Preference-Applied" not in answer.headers


def test_a_result_that_is_ready_during_the_wait_is_returned(
    page: FlaskClient, queue: FakePredictionQueue, path: str
) -> None:
    with acting_when(lambda: queue.jobs, queue.work):
        answer = page.get(path, headers={"Prefer": "wait=10"})

    assert (answer.status_code, answer.json["state"]) == (200, "done")
    assert answer.headers["Preference-Applied"] == "wait=10"


def test_a_result_that_is_not_ready_is_202_with_the_url_of_the_job(
    page: FlaskClient, queue: FakePredictionQueue, path: str
) -> None:
    answer = page.get(path, headers=AT_ONCE)

    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    assert answer.headers["Location"] == answer.json["url"]
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    queue.work()
    assert page.get(answer.headers["Location"]).json["state"] == "done"


def test_the_same_repository_is_the_same_job(page: FlaskClient, queue: FakePredictionQueue, path: str) -> None:
    ids = [page.get(address, headers=AT_ONCE).json["id"] for address in (path, path, f"{path}?license=", path)]

    assert len(set(ids)) == len(queue.jobs) == 1


def test_the_query_is_a_what_if(page: FlaskClient, worker: FakePredictionQueue, path: str) -> None:
    answer = page.get(f"{path}?license=mit&readme_length=9000")

    changes = answer.json["predictions"][0]["what_if"]["changes"]
    assert {change["field"] for change in changes} <= {"license", "readme_length"}
    assert page.get(path).json["id"] != answer.json["id"]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("stars=5", "stars"),
        ("licenses=mit", "licenses"),
        ("unknown=", "unknown"),
        ("explain=false", "explain"),
        ("readme_length=many", "readme_length"),
        ("readme_length=-1", "readme_length"),
        ("license=mit&license=gpl", "license"),
        ("%00=1", "is not a field"),
    ],
)
def test_an_invalid_query_is_400(
    page: FlaskClient, queue: FakePredictionQueue, path: str, query: str, part: str
) -> None:
    answer = page.get(f"{path}?{query}")

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert part in answer.json["detail"]
    assert queue.jobs == {}


@pytest.mark.parametrize("name", ["a/b%00", "a%20b/c", "a/..", "-/%3Cscript%3E", "a/" + "b" * 200, "ü/b"])
def test_a_malformed_name_is_400(page: FlaskClient, queue: FakePredictionQueue, name: str) -> None:
    answer = page.get(f"{PATH}/{name}")

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert answer.mimetype == "application/problem+json"
    assert queue.jobs == {}


@pytest.mark.parametrize("name", ["", "a", "a/", "a/b/c", "a/b/"])
def test_a_path_with_other_parts_is_404(page: FlaskClient, name: str) -> None:
    answer = page.get(f"{PATH}/{name}")

    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_an_unknown_repository_is_404_with_its_code(page: FlaskClient, worker: FakePredictionQueue) -> None:
    answers = [page.get(f"{PATH}/no/such-one") for _ in range(2)]

    for answer in answers:
        assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
        assert answer.json["code"] == "unknown_repository"
        assert "no/such-one" in answer.json["detail"]
    assert len(worker.jobs) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("waited_too_long", 503),
        ("time_limit_exceeded", 503),
        ("worker_died", 500),
        ("invalid_github_data", 502),
        ("invalid_request", 400),
        ("internal_error", 500),
        ("external_error", 500),
        ("a_code_of_another_version", 500),
    ],
)
def test_a_failed_job_is_a_problem_of_its_kind(
    page: FlaskClient, queue: FakePredictionQueue, path: str, code: str, status: int
) -> None:
    with acting_when(lambda: queue.jobs, lambda: fail_job(queue, code)):
        answer = page.get(path, headers={"Prefer": "wait=10"})

    assert answer.status_code == answer.json["status"] == status
    assert ("Retry-After" in answer.headers) == (status == 503)


@pytest.mark.parametrize(("code", "count"), [("blocked_repository", 1), ("no_answer", 2)])
def test_only_what_may_succeed_later_is_tried_again(
    page: FlaskClient, queue: FakePredictionQueue, path: str, code: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = []
    submit = queue.submit
    monkeypatch.setattr(queue, "submit", lambda *request, **options: submitted.append(1) or submit(*request, **options))
    page.get(path, headers=AT_ONCE)
    fail_job(queue, code)

    page.get(path, headers=AT_ONCE)

    assert len(submitted) == count


def test_an_unavailable_queue_is_503(page: FlaskClient, queue: FakePredictionQueue, path: str) -> None:
    queue.closed = True

    answer = page.get(path)

    assert (answer.status_code, answer.json["code"]) == (503, "queue_unavailable")
    assert int(answer.headers["Retry-After"]) > 0


def test_an_unchanged_result_is_304(page: FlaskClient, worker: FakePredictionQueue, path: str) -> None:
    tag = page.get(path).headers["ETag"]

    again = page.get(path, headers={"If-None-Match": tag})
    other = page.get(path, headers={"If-None-Match": '"other"'})

    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert other.status_code == 200


def test_head_has_the_headers_of_get(page: FlaskClient, worker: FakePredictionQueue, path: str) -> None:
    get, head = page.get(path), page.head(path)

    assert (head.status_code, head.data) == (200, b"")
    names = ("Content-Type", "Content-Length", "ETag", "Vary", "Access-Control-Allow-Origin")
    assert {name: head.headers[name] for name in names} == {name: get.headers[name] for name in names}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_405(page: FlaskClient, path: str, method: str) -> None:
    answer = page.open(path, method=method)

    assert (answer.status_code, answer.json["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_the_answer_is_that_of_the_job(page: FlaskClient, worker: FakePredictionQueue, path: str) -> None:
    answer = page.get(path).json

    assert json.dumps(page.get(answer["url"]).json) == json.dumps(answer)


@pytest.mark.parametrize(("seconds", "header"), [(1800.2, "1801"), (0.1, "1"), (None, "5")])
def test_a_temporary_error_says_when_to_retry(
    page: FlaskClient, queue: FakePredictionQueue, path: str, seconds: float | None, header: str
) -> None:
    page.get(path, headers=AT_ONCE)
    fail_job(queue, "github_rate_limited")
    (job,) = queue.jobs.values()
    assert job.error
    if seconds:
        job.error["expires_at"] = (NOW + timedelta(seconds=seconds)).isoformat()

    answer = page.get(path)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, header)
