"""Prediction requests, the jobs that they become, and the queue's protocol.

A job is stored before it is queued, so an accepted request cannot disappear.
"""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from stargaze.errors import BadDataError, ExternalError, InvalidInputError, StargazeError
from stargaze.features.ingest.user_input import InvalidFieldError, UnknownRepositoryError

JobState = Literal["queued", "running", "done", "failed"]
RESERVED, QUEUED, RUNNING, DONE = "RESERVED", "QUEUED", "RUNNING", "SUCCESS"
"""Status values in the result store. A reserved job has not been confirmed by the queue yet, so it is not returned to other
clients. A failed one is stored as done, with its error."""
FINISHED_STATES = ("done", "failed")
GRACE_PERIOD = 5.0
"""Time between the soft and the hard time limit, and for storing the answer [s]."""
MAX_ATTEMPTS = 2
"""A job whose worker died is tried once more; after a second death the job itself is taken for the cause."""

RETRY_HINT = "try again"
Answer = dict[str, Any]
"""A worker's answer: ``digest``, ``answered_at``, ranked ``predictions``; ``expires_at`` if GitHub may soon return more."""
ErrorDetails = dict[str, str]
"""``code``, ``message`` and ``hint``; ``expires_at`` if the reason is temporary."""
UNEXPECTED_ERROR: ErrorDetails = {
    "code": StargazeError.code,
    "message": "unexpected error in the worker",
    "hint": RETRY_HINT,
}


@dataclass(frozen=True)
class PredictionRequest:
    """Repository names, or entered figures (field → value), for which predictions are requested.

    :func:`stargaze.serve.web.request_parsing.parse_request` validates it. ``what_if`` (field → value) requests a second estimate
    with these values changed. Without ``explain`` the answer has no factors, similar repositories or history, and is faster.
    """

    repositories: tuple[str, ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    what_if: Mapping[str, Any] = field(default_factory=dict)
    explain: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the form that is sent to the worker."""
        return {**vars(self), "repositories": list(self.repositories), "figures": [dict(row) for row in self.figures]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PredictionRequest:
        """Read what :meth:`to_json` returned."""
        request = cls(tuple(value["repositories"]), tuple(value["figures"]), value["what_if"], value["explain"])
        _check_types(str, *request.repositories)
        _check_types(dict, *request.figures, request.what_if)
        _check_types(bool, request.explain)
        return request


@dataclass(frozen=True)
class PredictionJob:
    """An accepted request, its state and its result."""

    id: str
    state: JobState
    request: PredictionRequest | None
    accepted_at: datetime | None
    deadline: datetime | None
    attempt: int = 0
    request_id: str = ""
    answer: Answer | None = None
    error: ErrorDetails | None = None

    @property
    def is_pending(self) -> bool:
        """Whether there is neither an answer nor an error yet."""
        return self.state not in FINISHED_STATES

    def expires_in(self, now: datetime) -> float:
        """Return for how long the job answers the same request [s]; infinite unless something temporary is missing."""
        expires_at = (self.answer or self.error or {}).get("expires_at")
        return (_read_time(expires_at) - now).total_seconds() if expires_at else math.inf

    def to_json(self) -> dict[str, Any]:
        """Return what the result store holds besides the status."""
        return {name: value for name, value in vars(self).items() if name not in ("id", "state")} | {
            "request": self.request.to_json() if self.request else None,
            "accepted_at": self.accepted_at.isoformat() if self.accepted_at else None,
            "deadline": self.deadline.isoformat() if self.deadline else None,
        }


class PredictionQueue(Protocol):
    """Accepts requests and returns jobs. Every method ends within seconds or raises QueueUnavailableError."""

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Accept the request, or raise QueueUnavailableError: then nothing was accepted.

        A recent identical request, or one with the same idempotency ``key``, returns the existing job; a key that was used for a
        different request raises IdempotencyKeyReusedError. ``request_id`` appears in the worker's log.
        """

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        """Return the job of a recent identical request, None if there is none."""

    def get(self, job_id: str) -> PredictionJob | None:
        """Return the job in its present state; None if the id is unknown or has expired."""

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        """Return those of the jobs that are finished, and None for each that is unknown, with one query for all."""

    def check(self) -> None:
        """Raise QueueUnavailableError if the queue or the result store cannot be written."""


class QueueUnavailableError(ExternalError):
    """The queue or the result store cannot be reached, or accepts nothing."""

    code = "queue_unavailable"


class IdempotencyKeyReusedError(BadDataError):
    """An idempotency key was already used for a different request."""

    code = "idempotency_key_reused"
    for_visitors = True


def new_job(
    request: PredictionRequest, *, now: datetime, time_limit: float, job_id: str = "", request_id: str = ""
) -> PredictionJob:
    """Create a job that waits at most ``time_limit`` and is computed for at most ``time_limit`` [s]."""
    deadline = now + timedelta(seconds=2 * (time_limit + GRACE_PERIOD))
    return PredictionJob(job_id or str(uuid.uuid4()), "queued", request, now, deadline, request_id=request_id)


def is_job_id(text: str) -> bool:
    """Return whether a text has the form of a job id; the store is not queried for anything else."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def job_from_result(job_id: str, status: str, stored: Any, *, now: datetime, time_limit: float) -> PredictionJob:
    """Return the job that the result store or a message holds; an unfinished one that is too late is failed."""
    try:
        job = _parse(job_id, status, stored)
        error = _late_error(job, now, time_limit)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):  # a malformed message or stored job
        return PredictionJob(job_id, "failed", None, None, None, error=UNEXPECTED_ERROR)
    if job.state not in FINISHED_STATES and error:
        return dataclasses.replace(job, state="failed", error=error)
    return job


def _parse(job_id: str, status: str, stored: Mapping[str, Any]) -> PredictionJob:
    finished: JobState = "failed" if stored["error"] else "done"
    state: JobState = "queued" if status in (RESERVED, QUEUED) else "running" if status == RUNNING else finished
    # A worker that gets a malformed message stores its error without request and times.
    times = {name: None if stored[name] is None else _read_time(stored[name]) for name in ("accepted_at", "deadline")}
    request = None if stored["request"] is None else PredictionRequest.from_json(stored["request"])
    error = stored["error"] and {"code": StargazeError.code, **stored["error"]}  # earlier versions stored no code
    job = PredictionJob(job_id, state, **{**stored, "request": request, "error": error, **times})
    _check_types(int, job.attempt)
    _check_types(str, job.request_id)
    if job.error is not None:
        _check_types(str, *(job.error[name] for name in ("code", "message", "hint")))
    if job.answer is not None:
        _check_types(str, job.answer["digest"])
        _check_types(dict, *job.answer["predictions"])
    job.expires_in(datetime.now(UTC))
    return job


def _read_time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _check_types(kind: type, *values: object) -> None:
    if not all(isinstance(value, kind) for value in values):
        raise TypeError


def _late_error(job: PredictionJob, now: datetime, time_limit: float) -> ErrorDetails | None:
    """Return the error of an unfinished job that will not be answered any more."""
    if job.deadline and now > job.deadline:
        return {"code": "no_answer", "message": "no worker answered in time", "hint": RETRY_HINT}
    if (
        job.state == "queued"
        and job.accepted_at
        and now > job.accepted_at + timedelta(seconds=time_limit + GRACE_PERIOD)
    ):
        return waiting_error(time_limit)
    return None


def waiting_error(time_limit: float) -> ErrorDetails:
    """Return the error of a request that waited too long."""
    message = f"the request waited longer than {time_limit:g} s for a free worker"
    return {"code": "waited_too_long", "message": message, "hint": "try again later"}


def time_limit_error(time_limit: float) -> ErrorDetails:
    """Return the error of a prediction that took too long."""
    message = f"the prediction took longer than {time_limit:g} s"
    return {"code": "time_limit_exceeded", "message": message, "hint": "request fewer repositories"}


def error_details(error: StargazeError) -> ErrorDetails:
    """Return an error in the form that jobs and responses carry."""
    details = {"code": error.code, "message": error.message, "hint": error.hint}
    return {**details, "expires_at": error.expires_at} if error.expires_at else details


VISITOR_CODES = frozenset(
    (
        *(
            kind.code
            for kind in (InvalidInputError, InvalidFieldError, UnknownRepositoryError, IdempotencyKeyReusedError)
        ),
        *("blocked_repository", "excluded_repository", "rate_limited"),
        *("github_rate_limited", "github_unavailable", "invalid_github_data"),
        *("waited_too_long", "time_limit_exceeded", "no_answer", "worker_died", "unreadable_result"),
    )
)
"""Codes of the errors whose message and hint a visitor may read; they contain no paths, SQL, commands or host names."""


def visitor_error(error: ErrorDetails, request_id: str) -> ErrorDetails:
    """Return what a visitor may read of an error: one of the server becomes a fixed text with the id that the log has."""
    if error["code"] in VISITOR_CODES:
        return error
    if error["code"] == QueueUnavailableError.code:
        message = f"no request can be accepted at present (request ID {request_id})"
        return {**error, "message": message, "hint": "try again in a few seconds"}
    message = f"something went wrong on our side (request ID {request_id})"
    return {"code": StargazeError.code, "message": message, "hint": "try again later"}
