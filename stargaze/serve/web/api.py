"""The API for programs: ask with POST, read with GET, both in JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request, url_for

from stargaze.config import ServeSection
from stargaze.errors import BadDataError
from stargaze.features.ingest.user_input import FORM_FIELDS
from stargaze.serve.prediction_request import FINISHED_STATES, PredictionJob, PredictionQueue, is_job_id
from stargaze.serve.queue.long_polling import LongPoller
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.web.openapi import description
from stargaze.serve.web.request_parsing import parse_request

SHAPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "repositories": ("a list of names", lambda value: _are(value, str)),
    "figures": ("a list of objects of texts and numbers", lambda value: _are(value, dict) and all(map(_plain, value))),
    "what_if": ("an object of texts and numbers", lambda value: isinstance(value, dict) and _plain(value)),
    "explain": ("true or false", lambda value: isinstance(value, bool)),
}
WORDED = {field.name for field in FORM_FIELDS if field.kind not in ("count", "flag")}
"""Figures that are texts: a number there is a mistake, and would become a language named "3"."""
KEY = re.compile(r"[!-~]{1,255}")
LONGEST_WAIT = 10.0
"""A waiting client holds one of a process's threads [s]."""
EXAMPLE = '{"repositories": ["owner/name"]} or {"figures": [{"full_name": "owner/name", "forks": 12}]}'


def make(section: ServeSection, desk: PredictionQueue, clock: Callable[[], datetime]) -> Blueprint:
    """Return the routes below ``/api/v1``."""
    blueprint = Blueprint("api", __name__, url_prefix="/api/v1")
    lookout = LongPoller(desk)

    @blueprint.post("/predictions")
    def ask() -> tuple[Response, int, dict[str, str]]:
        if not request.is_json:
            abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        body = _read(_parsed(request.get_data()))
        question = parse_request(
            body.get("repositories", []),
            body.get("figures", []),
            most=section.max_repositories,
            now=clock(),
            what_if=body.get("what_if", {}),
            explain=body.get("explain", True),
        )
        job = desk.submit(question, key=_key(request.headers.get("Idempotency-Key")), request_id=request_id())
        wait = preferred_wait(request.headers.get("Prefer", ""))
        job = lookout.wait(job, wait) or job
        answer = as_json(job)
        headers = {"Location": answer["url"]} | ({"Preference-Applied": f"wait={wait:g}"} if wait else {})
        return jsonify(answer), HTTPStatus.OK if job.state in FINISHED_STATES and wait else HTTPStatus.ACCEPTED, headers

    @blueprint.get("/predictions/<job_id>")
    def look(job_id: str) -> Response:
        wait = preferred_wait(request.headers.get("Prefer", ""))
        job = desk.get(job_id) if is_job_id(job_id) else None
        job = lookout.wait(job, wait) if job else None
        if job is None:
            abort(HTTPStatus.NOT_FOUND)
        response = jsonify(as_json(job))
        if wait:
            response.headers["Preference-Applied"] = f"wait={wait:g}"
        if job.state in FINISHED_STATES:
            response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
            response.headers["Cache-Control"] = "private, no-cache"
            response.make_conditional(request)
        return response

    @blueprint.get("/openapi.json")
    def described() -> Response:
        return jsonify(description(section))

    return blueprint


def _are(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _plain(values: dict[str, Any]) -> bool:
    return all(
        isinstance(value, str | None if name in WORDED else str | int | float | None) for name, value in values.items()
    )


def as_json(job: PredictionJob) -> dict[str, Any]:
    """Return what a program sees of a job."""
    answer = job.answer or {}
    return {
        "id": job.id,
        "state": job.state,
        "url": url_for("api.look", job_id=job.id),
        "page": url_for("pages.prediction", job_id=job.id),
        "digest": answer.get("digest"),
        "answered_at": answer.get("answered_at"),
        "predictions": answer.get("predictions"),
        "error": job.error,
    }


def preferred_wait(prefer: str) -> float:
    """Return how long a client likes to wait for the answer [s], by its header Prefer (RFC 7240); 0 if it says nothing of it.

    Examples
    --------
    >>> preferred_wait("respond-async, wait=5"), preferred_wait("wait=600"), preferred_wait("wait=x")
    (5.0, 10.0, 0.0)
    """
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?=$|[,;\s])", prefer)
    return min(float(found[1]), LONGEST_WAIT) if found else 0.0


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadDataError("the body is not JSON", hint=f"send {EXAMPLE}") from error


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _read(body: Any) -> dict[str, Any]:
    """Check the shape of the body; what the names and figures say is checked where the page checks it too."""
    if not isinstance(body, dict) or not set(body) <= set(SHAPES):
        raise BadDataError("the body is not a question", hint=f"send {EXAMPLE}")
    for name, value in body.items():
        what, fits = SHAPES[name]
        if not fits(value):
            raise BadDataError(f"{name} is not {what}", hint=f"send {EXAMPLE}")
    return body


def _key(text: str | None) -> str:
    """Check an idempotency key: it is stored nowhere, but what cannot be one is a client's mistake."""
    if text is not None and not KEY.fullmatch(text):
        raise BadDataError("Idempotency-Key is not 1 to 255 visible characters", hint="a UUID is a good one")
    return text or ""
