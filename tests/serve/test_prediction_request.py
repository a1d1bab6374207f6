"""The life of a ticket: accepted, read back, and failed with a reason where nobody will answer."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from stargaze.serve.prediction_request import (
    QUEUED,
    RUNNING,
    PredictionJob,
    PredictionRequest,
    is_id,
    job_from_result,
    new_job,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
QUESTION = PredictionRequest(("a/b",), ({"full_name": "c/d", "forks": "1"},))


@pytest.fixture
def ticket() -> PredictionJob:
    return new_job(QUESTION, now=NOW, time_limit=30.0)


def test_a_ticket_survives_the_store(ticket: PredictionJob) -> None:
    assert job_from_result(ticket.id, QUEUED, ticket.as_stored(), now=NOW, time_limit=30.0) == ticket


@pytest.mark.parametrize(("status", "state"), [(QUEUED, "queued"), (RUNNING, "running"), ("SUCCESS", "done")])
def test_the_stores_words_become_states(ticket: PredictionJob, status: str, state: str) -> None:
    assert job_from_result(ticket.id, status, ticket.as_stored(), now=NOW, time_limit=30.0).state == state


def test_an_answer_that_is_an_error_is_failed(ticket: PredictionJob) -> None:
    """The worker ends well also where the question was wrong: Celery's word for it is SUCCESS."""
    stored = dataclasses.replace(ticket, error={"message": "x/y is not known", "hint": ""}).as_stored()

    assert job_from_result(ticket.id, "SUCCESS", stored, now=NOW, time_limit=30.0).state == "failed"


@pytest.mark.parametrize("status", [QUEUED, RUNNING])
def test_a_ticket_past_its_deadline_is_reported_failed(ticket: PredictionJob, status: str) -> None:
    """The filesystem queue loses the message of a worker that dies: the one who asked must hear of it all the same."""
    late = NOW + timedelta(seconds=71)

    found = job_from_result(ticket.id, status, ticket.as_stored(), now=late, time_limit=30.0)

    assert (found.state, found.error and found.error["message"]) == ("failed", "no worker answered in time")


def test_an_answer_that_is_there_stays_after_the_deadline(ticket: PredictionJob) -> None:
    late = NOW + timedelta(days=1)

    assert job_from_result(ticket.id, "SUCCESS", ticket.as_stored(), now=late, time_limit=30.0).state == "done"


class TimeLimitExceeded(Exception):
    """Celery's, by name."""


class WorkerLostError(Exception):
    """Celery's, by name."""


@pytest.mark.parametrize(
    ("status", "stored", "reason"),
    [
        ("REVOKED", None, "waited longer than 30 s"),
        ("FAILURE", TimeLimitExceeded(), "took longer than 30 s"),
        ("FAILURE", WorkerLostError(), "the worker ended"),
        ("FAILURE", ZeroDivisionError(), "did not expect"),
    ],
)
def test_what_celery_reports_becomes_a_reason_in_words(status: str, stored: object, reason: str) -> None:
    found = job_from_result("x", status, stored, now=NOW, time_limit=30.0)

    assert found.state == "failed"
    assert found.error is not None
    assert reason in found.error["message"]
    assert found.error["hint"]


@pytest.mark.parametrize("text", ["", "x", "../../x", "A" * 36, "{12345678-1234-5678-1234-567812345678}", "readiness"])
def test_only_an_id_of_ours_is_looked_up(text: str) -> None:
    assert not is_id(text)


def test_the_id_of_a_ticket_is_an_id(ticket: PredictionJob) -> None:
    assert is_id(ticket.id)
