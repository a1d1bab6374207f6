"""Find the prediction jobs that pages, pictures and API return."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from flask import abort, request

from stargaze.serve.prediction_request import PredictionJob, PredictionQueue, PredictionRequest, is_job_id
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.problems import status_of_code
from stargaze.serve.web.views.prediction_view import readable_job


def find_or_submit(queue: PredictionQueue, parsed: PredictionRequest) -> PredictionJob:
    """Return the job of a recent identical request, or a new one; one whose error was not the client's is tried again."""
    job = queue.find(parsed)
    if job is None or status_of_job(readable_job(job)) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        job = queue.submit(parsed, request_id=request_id())
    return job


def find_shown(queue: PredictionQueue, names: Sequence[str]) -> PredictionJob | None:
    """Return the job that the address of a waiting page names, if it is about these repositories.

    So a failed one is not tried again. When the job is deleted, the address is still that of the repositories.
    """
    job_id = request.args.get("job", "")
    job = queue.get(job_id) if is_job_id(job_id) else None
    is_same = job is not None and job.request is not None and list(job.request.repositories) == list(names)
    return job if is_same else None


def get_or_404(queue: PredictionQueue, job_id: str) -> PredictionJob:
    """Return a job, or abort the request with 404."""
    job = queue.get(job_id) if is_job_id(job_id) else None
    if job is None:
        abort(HTTPStatus.NOT_FOUND)
    return job


def status_of_job(job: PredictionJob) -> HTTPStatus:
    """Return the HTTP status of the page of a job: that of its error, if it has one."""
    return status_of_code(job.error["code"]) if job.error else HTTPStatus.OK
