"""Jobs are stored, restored, and failed with an error when no answer will come."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import (
    QUEUED,
    RUNNING,
    PredictionJob,
    PredictionRequest,
    error_details,
    is_job_id,
    job_from_result,
    new_job,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REQUEST = PredictionRequest(("a/b",), ({"full_name": "c/d", "forks": "1"},))


@pytest.fixture
def job() -> PredictionJob:
    return new_job(REQUEST, now=NOW, time_limit=30.0)


def test_a_job_survives_the_store(job: PredictionJob) -> None:
    assert job_from_result(job.id, QUEUED, job.to_json(), now=NOW, time_limit=30.0) == job


@pytest.mark.parametrize(("status", "state"), [(QUEUED, "queued"), (RUNNING, "running"), ("SUCCESS", "done")])
def test_a_status_becomes_a_state(job: PredictionJob, status: str, state: str) -> None:
    assert job_from_result(job.id, status, job.to_json(), now=NOW, time_limit=30.0).state == state


def test_an_error_that_an_earlier_version_stored_without_a_code_is_valid(job: PredictionJob) -> None:
    stored = job.to_json() | {"error": {"message": "x/y is not known", "hint": ""}}

    result = job_from_result(job.id, "SUCCESS", stored, now=NOW, time_limit=30.0)

    assert (result.state, result.request, (result.error or {})["code"]) == ("failed", REQUEST, "internal_error")


def test_a_job_with_an_error_is_failed(job: PredictionJob) -> None:
    """The worker stores errors of a request as results: Celery's status is SUCCESS."""
    stored = dataclasses.replace(
        job, error={"code": "unknown_repository", "message": "x/y is not known", "hint": ""}
    ).to_json()

    assert job_from_result(job.id, "SUCCESS", stored, now=NOW, time_limit=30.0).state == "failed"


@pytest.mark.parametrize("status", [QUEUED, RUNNING])
def test_a_job_past_its_deadline_is_reported_failed(job: PredictionJob, status: str) -> None:
    """The filesystem queue loses the message of a worker that dies."""
    late = NOW + timedelta(seconds=71)

    result = job_from_result(job.id, status, job.to_json(), now=late, time_limit=30.0)

    assert (result.state, result.error and result.error["message"]) == ("failed", "no worker answered in time")


def test_an_answer_stays_valid_after_the_deadline(job: PredictionJob) -> None:
    late = NOW + timedelta(days=1)

    assert job_from_result(job.id, "SUCCESS", job.to_json(), now=late, time_limit=30.0).state == "done"


@pytest.mark.parametrize(
    ("status", "seconds", "state"), [(QUEUED, 34, "queued"), (QUEUED, 36, "failed"), (RUNNING, 69, "running")]
)
def test_a_job_that_waits_for_longer_than_the_time_limit_is_failed(
    job: PredictionJob, status: str, seconds: int, state: str
) -> None:
    result = job_from_result(job.id, status, job.to_json(), now=NOW + timedelta(seconds=seconds), time_limit=30.0)

    assert result.state == state
    if state == "failed":
        assert result.error is not None
        assert result.error["message"] == "the request waited longer than 30 s for a free worker"


@pytest.mark.parametrize(
    "stored",
    [None, "text", [], {}, 5, {"request": {}}, {"request": 1, "error": None}, {"request": None, "error": None, "x": 1}],
)
def test_a_malformed_message_becomes_an_error(stored: object) -> None:
    result = job_from_result("x", RUNNING, stored, now=NOW, time_limit=30.0)

    assert (result.state, result.request) == ("failed", None)
    assert result.error is not None
    assert result.error["hint"]


def test_the_error_of_a_malformed_message_survives_the_store() -> None:
    """The worker stores it without a request: the message had none."""
    job = job_from_result("x", RUNNING, "not a job", now=NOW, time_limit=30.0)

    assert job_from_result("x", "SUCCESS", job.to_json(), now=NOW, time_limit=30.0) == job


FOREIGN_VALUES: list[dict[str, object]] = [
    {"error": {}},
    {"error": {"message": 5, "hint": ""}},
    {"error": {"code": 5, "message": "", "hint": ""}},
    {"error": "text"},
    {"answer": {}},
    {"answer": "text"},
    {"answer": {"digest": "0", "predictions": [5]}},
    {"answer": {"digest": 0, "predictions": []}},
    {"attempt": "text"},
    {"attempt": None},
    {"request_id": []},
    {"accepted_at": 0},
    {"deadline": "9999-12-31T23:59:59-23:59"},
    {"accepted_at": "9999-12-31T23:59:59+00:00"},
    {"request": 0},
    {"request": {**REQUEST.to_json(), "repositories": [5]}},
    {"request": {**REQUEST.to_json(), "figures": "text"}},
    {"request": {**REQUEST.to_json(), "what_if": None}},
    {"request": {**REQUEST.to_json(), "explain": "text"}},
]


@pytest.mark.parametrize("changed", FOREIGN_VALUES, ids=str)
def test_a_job_with_a_value_of_another_type_is_failed(job: PredictionJob, changed: dict[str, object]) -> None:
    result = job_from_result(job.id, QUEUED, job.to_json() | changed, now=NOW, time_limit=30.0)

    assert (result.state, result.request) == ("failed", None)
    assert result.error is not None
    assert result.error["hint"]


def test_a_time_without_a_zone_is_comparable(job: PredictionJob) -> None:
    stored = job.to_json() | {"deadline": "2020-01-01T00:00:00"}

    assert job_from_result(job.id, QUEUED, stored, now=NOW, time_limit=30.0).state == "failed"


@pytest.mark.parametrize("text", ["", "x", "../../x", "A" * 36, "{12345678-1234-5678-1234-567812345678}", "readiness"])
def test_other_texts_are_not_job_ids(text: str) -> None:
    assert not is_job_id(text)


def test_the_id_of_a_job_is_an_id(job: PredictionJob) -> None:
    assert is_job_id(job.id)


def test_an_error_is_stored_as_code_message_and_hint() -> None:
    assert error_details(ExternalError("no disk", hint="df -h")) == {
        "code": "external_error",
        "message": "no disk",
        "hint": "df -h",
    }
