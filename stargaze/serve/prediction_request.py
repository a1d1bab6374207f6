"""The state of a question: a ticket is given before the question is queued, so an accepted one cannot vanish unseen."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from stargaze.errors import BadDataError

State = Literal["queued", "running", "done", "failed"]
RESERVED, QUEUED, RUNNING, DONE = "RESERVED", "QUEUED", "RUNNING", "SUCCESS"
"""How the result store spells the states; everything else there is a failure of Celery's own words. A reserved ticket is on its
way to the queue: whether it arrived is not known yet, so nobody else may be given it."""
ENDED = ("done", "failed")
GRACE = 5.0
"""Between "please stop" and "stopped", and for the answer to be written [s]."""
ATTEMPTS = 2
"""A question whose worker died is tried once more; a second death is the question's fault."""

AGAIN = "ask again; if it happens again, look into logs/worker.log below the store"
Answer = dict[str, Any]
"""What a worker says: ``digest`` and ``predictions``, ranked."""
Error = dict[str, str]
"""``message`` and ``hint``."""
UNEXPECTED: Error = {"message": "the worker met an error that it did not expect", "hint": AGAIN}


@dataclass(frozen=True)
class PredictionRequest:
    """What is asked: names of repositories, or typed figures (field → text).

    ``changes`` (field → text) asks what the estimate would be if each of them were otherwise; without ``reasons`` the answer
    has no factors, no similar repositories and no history, and costs a small part of the time.
    """

    repositories: tuple[str, ...] = ()
    figures: tuple[Mapping[str, Any], ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    reasons: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return what travels to the worker."""
        return {
            "repositories": list(self.repositories),
            "figures": [dict(row) for row in self.figures],
            "changes": dict(self.changes),
            "reasons": self.reasons,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PredictionRequest:
        """Read what :meth:`as_json` wrote."""
        return cls(
            tuple(value["repositories"]),
            tuple(value["figures"]),
            value.get("changes", {}),
            bool(value.get("reasons", True)),
        )


@dataclass(frozen=True)
class PredictionJob:
    """One accepted question and how far it is."""

    id: str
    state: State
    question: PredictionRequest | None
    accepted_at: datetime | None
    deadline: datetime | None
    attempt: int = 0
    request_id: str = ""
    answer: Answer | None = None
    error: Error | None = None

    def as_stored(self) -> dict[str, Any]:
        """Return what the result store keeps beside the state."""
        return {
            "question": self.question.as_json() if self.question else None,
            "accepted_at": self.accepted_at.isoformat() if self.accepted_at else None,
            "deadline": self.deadline.isoformat() if self.deadline else None,
            "attempt": self.attempt,
            "request_id": self.request_id,
            "answer": self.answer,
            "error": self.error,
        }


class PredictionQueue(Protocol):
    """Where questions are handed in and answers picked up. Every verb ends within seconds or raises ExternalError."""

    def ask(self, question: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        """Accept the question, or raise ExternalError: then nothing was accepted.

        A question that was asked a moment ago, or under the same ``key``, gets the ticket that it has already; a key that was
        used for another question is a BadDataError. ``request_id`` goes along into the worker's log.
        """

    def find(self, question: PredictionRequest) -> PredictionJob | None:
        """Return the ticket that an identical question has already; None where nobody has asked it lately."""

    def look(self, ticket_id: str) -> PredictionJob | None:
        """Return the ticket as it stands; None if none of that id was ever given (or it has expired)."""

    def ended(self, ticket_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        """Return those of these tickets that have ended, None for one that is not there: one look for all who wait."""

    def check(self) -> None:
        """Raise ExternalError if queue or results cannot be written."""


class IdempotencyKeyReusedError(BadDataError):
    """An idempotency key came before, with another question."""


def new_job(
    question: PredictionRequest, *, now: datetime, time_limit: float, ticket_id: str = "", request_id: str = ""
) -> PredictionJob:
    """Give a ticket: it waits at most ``time_limit`` and is computed at most ``time_limit`` [s]."""
    deadline = now + timedelta(seconds=2 * (time_limit + GRACE))
    return PredictionJob(ticket_id or str(uuid.uuid4()), "queued", question, now, deadline, request_id=request_id)


def is_id(text: str) -> bool:
    """Notify whether a text can be the id of a ticket at all; everything else never reaches the store."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def job_from_result(ticket_id: str, status: str, stored: Any, *, now: datetime, time_limit: float) -> PredictionJob:
    """Turn what the result store holds into a ticket; one that nobody will answer any more is failed."""
    if not isinstance(stored, Mapping) or "question" not in stored:
        return PredictionJob(
            ticket_id, "failed", None, None, None, error=_reason(status, type(stored).__name__, time_limit)
        )
    ticket = _parse(ticket_id, status, stored)
    if ticket.state in ("queued", "running") and ticket.deadline and now > ticket.deadline:
        return dataclasses.replace(ticket, state="failed", error=_reason("lost", "", time_limit))
    return ticket


def _parse(ticket_id: str, status: str, stored: Mapping[str, Any]) -> PredictionJob:
    finished: State = "failed" if stored["error"] else "done"
    state: State = "queued" if status in (RESERVED, QUEUED) else "running" if status == RUNNING else finished
    return PredictionJob(
        ticket_id,
        state,
        PredictionRequest.from_json(stored["question"]),
        datetime.fromisoformat(stored["accepted_at"]),
        datetime.fromisoformat(stored["deadline"]),
        stored["attempt"],
        stored.get("request_id", ""),
        stored["answer"],
        stored["error"],
    )


def _reason(status: str, kind: str, time_limit: float) -> Error:
    """Notify in words why a question got no answer."""
    if status == "lost":
        return {"message": "no worker answered in time", "hint": AGAIN}
    if status == "REVOKED":
        message = f"the question waited longer than {time_limit:g} s for a free worker"
        return {"message": message, "hint": "ask again in a while, or raise serve.workers"}
    if kind in ("TimeLimitExceeded", "SoftTimeLimitExceeded"):
        return too_slow(time_limit)
    if kind == "WorkerLostError":
        return {"message": "the worker ended while it answered", "hint": AGAIN}
    return UNEXPECTED


def too_slow(time_limit: float) -> Error:
    """Notify that the time limit was reached."""
    message = f"the prediction took longer than {time_limit:g} s"
    return {"message": message, "hint": "ask for fewer repositories, or raise serve.time_limit"}
