"""A prediction queue without Celery, whose jobs are answered when the test calls :meth:`FakePredictionQueue.work`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction_request import (
    FINISHED_STATES,
    Answer,
    ErrorDetails,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
    QueueUnavailableError,
    new_job,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONTEXTS: dict[str, PredictionContext] = {}
"""One for each bundle: its indexes and controls are computed once, as in a worker."""


def answer_one(bundle: Bundle, request: PredictionRequest, now: datetime = NOW) -> Answer | ErrorDetails:
    """Answer one request from the repositories of the bundle alone."""
    context = CONTEXTS.setdefault(bundle.digest, PredictionContext(bundle, BundledRepositories(bundle)))
    return answer_requests(context, [request], now)[0]


class FakePredictionQueue:
    """Holds jobs in memory; ``closed`` or ``fault`` makes every call fail, ``is_instant`` answers each job at once."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.jobs: dict[str, PredictionJob] = {}
        self.keys: dict[str, PredictionJob] = {}
        self.closed = False
        self.fault: Exception | None = None
        self.is_instant = False

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        self.check()
        before = self.keys.get(key) if key else None
        if before and before.request != request:
            raise IdempotencyKeyReusedError("this key was already used")
        if existing := before or self.find(request):
            return existing
        job = new_job(request, now=NOW, time_limit=30.0, request_id=request_id)
        self.jobs[job.id] = self.keys[key] = job
        if self.is_instant:
            self.work()
        return self.jobs[job.id]

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        self.check()
        found = (job for job in self.jobs.values() if job.request == request and job.expires_in(NOW) > 0)
        return next(found, None)

    def get(self, job_id: str) -> PredictionJob | None:
        self.check()
        return self.jobs.get(job_id)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        jobs = {job_id: self.get(job_id) for job_id in job_ids}
        return {job_id: job for job_id, job in jobs.items() if job is None or job.state in FINISHED_STATES}

    def check(self) -> None:
        if self.fault:
            raise self.fault
        if self.closed:
            raise QueueUnavailableError("the queue cannot be written: no space left", hint="df -h")

    def work(self) -> None:
        """Answer all waiting jobs, as the worker does."""
        for job in self.jobs.values():
            self.jobs[job.id] = dataclasses.replace(job, **self._result(job))

    def _result(self, job: PredictionJob) -> dict[str, Any]:
        assert job.request is not None
        answer = answer_one(self.bundle, job.request)
        return {"state": "done", "answer": answer} if "digest" in answer else {"state": "failed", "error": answer}


def fail_job(queue: FakePredictionQueue, code: str, text: str = "a test") -> None:
    """Let the only job fail."""
    (job,) = queue.jobs.values()
    error = {"code": code, "message": text, "hint": text}
    queue.jobs[job.id] = dataclasses.replace(job, state="failed", error=error)
