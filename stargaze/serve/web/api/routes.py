"""The JSON API: POST submits a prediction request, GET returns the job."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, url_for

from stargaze.config import ServeSection
from stargaze.errors import BadDataError
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue, is_job_id
from stargaze.serve.queue.long_polling import LongPoller
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.api.openapi import openapi_document
from stargaze.serve.web.request_parsing import parse_json_request

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
MAX_WAIT = 10.0
"""A waiting client occupies a thread of the process [s]."""


def api_blueprint(section: ServeSection, queue: PredictionQueue, clock: Callable[[], datetime]) -> Blueprint:
    """Return the routes below ``/api/v1``."""
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
    poller = LongPoller(queue)

    @blueprint.post("/predictions")
    def submit() -> tuple[Response, int, dict[str, str]]:
        if not request.is_json:
            abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        parsed = parse_json_request(request.get_data(), max_repositories=section.max_repositories, now=clock())
        job = queue.submit(parsed, key=_idempotency_key(), request_id=request_id())
        wait = preferred_wait(request.headers.get("Prefer", ""))
        job = poller.wait(job, wait) or job
        body = job_to_json(job)
        headers = {"Location": body["url"]} | ({"Preference-Applied": f"wait={wait:g}"} if wait else {})
        return jsonify(body), HTTPStatus.OK if job.state in FINISHED_STATES and wait else HTTPStatus.ACCEPTED, headers

    @blueprint.get("/predictions/<job_id>")
    def get(job_id: str) -> Response:
        wait = preferred_wait(request.headers.get("Prefer", ""))
        job = poller.wait(get_or_404(queue, job_id), wait)
        if job is None:
            abort(HTTPStatus.NOT_FOUND)
        response = jsonify(job_to_json(job))
        if wait:
            response.headers["Preference-Applied"] = f"wait={wait:g}"
        if job.state in FINISHED_STATES:
            response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
            response.headers["Cache-Control"] = "private, no-cache"
            response.make_conditional(request)
        return response

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(openapi_document(section))

    return blueprint


def get_or_404(queue: PredictionQueue, job_id: str) -> PredictionJob:
    """Return a job, or abort the request with 404."""
    job = queue.get(job_id) if is_job_id(job_id) else None
    if job is None:
        abort(HTTPStatus.NOT_FOUND)
    return job


def job_to_json(job: PredictionJob) -> dict[str, Any]:
    """Return the representation of a job in the API."""
    answer = job.answer or {}
    return {
        "id": job.id,
        "state": job.state,
        "url": url_for("api.get", job_id=job.id),
        "page": url_for("pages.prediction", job_id=job.id),
        "digest": answer.get("digest"),
        "growth_digest": answer.get("growth_digest"),
        "answered_at": answer.get("answered_at"),
        "predictions": answer.get("predictions"),
        "errors": answer.get("errors", []),
        "error": job.error,
    }


def preferred_wait(prefer: str) -> float:
    """Return how long a client wants to wait for the result [s], from its header Prefer (RFC 7240); 0 by default.

    >>> preferred_wait("respond-async, wait=5"), preferred_wait("wait=600"), preferred_wait("wait=x")
    (5.0, 10.0, 0.0)
    """
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?=$|[,;\s])", prefer)
    return min(float(match[1]), MAX_WAIT) if match else 0.0


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise BadDataError("Idempotency-Key must consist of 1 to 255 visible ASCII characters", hint="use a UUID")
    return key or ""
