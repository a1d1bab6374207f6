"""The JSON API: one repository; a prediction request (POST) and its job (GET)."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, url_for
from werkzeug.datastructures import MultiDict

from stargaze.config import ServeSection
from stargaze.errors import InvalidInputError
from stargaze.features.ingest.validate import shorten
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue, visitor_error
from stargaze.serve.queue.long_polling import LongPoller
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.api.openapi import openapi_document
from stargaze.serve.web.error_responses import problem_response
from stargaze.serve.web.prediction_jobs import find_or_submit, get_or_404, retry_header
from stargaze.serve.web.problems import status_of_code
from stargaze.serve.web.request_parsing import parse_json_request, parse_request

IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
DEFAULT_WAIT = 5.0
"""How long the request of one repository waits if the client does not say how long [s]."""
POLL_AFTER = 1
"""Value of the Retry-After header if the result is not ready yet [s]."""
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
        return _job_response(job, wait)

    @blueprint.get("/repositories/<owner>/<name>")
    def repository(owner: str, name: str) -> Response:
        what_if = _single_values(request.args)
        parsed = parse_request([f"{owner}/{name}"], max_repositories=1, now=clock(), what_if=what_if)
        filled = {field: value for field, value in what_if.items() if value.strip()}
        parsed = dataclasses.replace(parsed, what_if=filled)
        job = find_or_submit(queue, parsed, clock())
        wait = preferred_wait(request.headers.get("Prefer", ""), DEFAULT_WAIT)
        job = poller.wait(job, wait) or job
        if job.error:
            error = visitor_error(job.error, job.request_id)
            status = status_of_code(error["code"])
            return problem_response(status, error, retry_header(status, job, clock()))
        response = _job_response(job, wait)
        if job.state not in FINISHED_STATES:
            response.status_code = HTTPStatus.ACCEPTED
            response.headers.update({"Location": url_for("api.get", job_id=job.id), "Retry-After": str(POLL_AFTER)})
        return response

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(openapi_document(section))

    return blueprint


def _job_response(job: PredictionJob, wait: float) -> Response:
    """Return the representation of a job, with an ETag if it is finished."""
    response = jsonify(job_to_json(job))
    if wait and "Prefer" in request.headers:
        response.headers["Preference-Applied"] = f"wait={wait:g}"
    if job.state in FINISHED_STATES:
        response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32], weak=True)
        response.headers["Cache-Control"] = "private, no-cache"
        response.make_conditional(request)
    return response


def _single_values(query: MultiDict[str, str]) -> dict[str, str]:
    """Return the fields of a query; InvalidInputError if it has one twice."""
    if repeated := [name for name in query if len(query.getlist(name)) > 1]:
        raise InvalidInputError(f"the query contains {shorten(repeated[0])} twice", hint="send each field once")
    return dict(query.items())


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
        "errors": [{**error, **visitor_error(error, job.request_id)} for error in answer.get("errors", [])],
        "error": job.error and visitor_error(job.error, job.request_id),
    }


def preferred_wait(prefer: str, default: float = 0.0) -> float:
    """Return how long a client wants to wait for the result [s], from its header Prefer (RFC 7240).

    >>> preferred_wait("respond-async, wait=5"), preferred_wait("wait=600"), preferred_wait("wait=x")
    (5.0, 10.0, 0.0)
    """
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?=$|[,;\s])", prefer)
    return min(float(match[1]), MAX_WAIT) if match else default


def _idempotency_key() -> str:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidInputError("Idempotency-Key must consist of 1 to 255 visible ASCII characters", hint="use a UUID")
    return key or ""
