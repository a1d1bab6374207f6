"""Find the prediction jobs that pages, pictures and API return."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus

from flask import abort, request

from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, PredictionRequest, is_job_id
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.error_responses import error_headers
from stargaze.serve.web.problems import status_of_code
from stargaze.serve.web.views.prediction_view import readable_job


def find_or_submit(queue: PredictionQueue, parsed: PredictionRequest, now: datetime) -> PredictionJob:
    """Return the job of a recent identical request, or a new one; an error of the server is tried again if it may have ended."""
    job = queue.find(parsed)
    may_succeed = job is None or job.expires_in(now) == math.inf
    if job is None or (may_succeed and status_of_job(readable_job(job)) >= HTTPStatus.INTERNAL_SERVER_ERROR):
        job = queue.submit(parsed, request_id=request_id())
    return job


def find_shown(queue: PredictionQueue, names: Sequence[str], now: datetime) -> PredictionJob | None:
    """Return the job that the address of a waiting page names, if it is about these repositories and has not expired.

    So a failed one is not tried again. When the job is deleted, the address is still that of the repositories.
    """
    job_id = request.args.get("job", "")
    job = queue.get(job_id) if is_job_id(job_id) else None
    if job is None or job.request is None or list(job.request.repositories) != list(names):
        return None
    return job if job.expires_in(now) > 0 else None


def get_or_404(queue: PredictionQueue, job_id: str) -> PredictionJob:
    """Return a job, or abort the request with 404."""
    job = queue.get(job_id) if is_job_id(job_id) else None
    if job is None:
        abort(HTTPStatus.NOT_FOUND)
    return job


def status_of_job(job: PredictionJob) -> HTTPStatus:
    """Return the HTTP status of the page of a job: that of its error, if it has one."""
    return status_of_code(job.error["code"]) if job.error else HTTPStatus.OK


def retry_header(status: HTTPStatus, job: PredictionJob, now: datetime) -> dict[str, str]:
    """Return the header of a response with this status that says in how many seconds the request may succeed, if it may."""
    seconds = job.expires_in(now) if job.error else math.inf
    return {"Retry-After": str(max(math.ceil(seconds), 1))} if seconds < math.inf else error_headers(status)
