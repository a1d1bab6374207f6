"""Problem details (RFC 9457): the form of all errors of the API, and the codes that a request can cause."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from stargaze.errors import InvalidInputError, StargazeError
from stargaze.features.ingest.user_input import InvalidFieldError, UnknownRepositoryError
from stargaze.serve.prediction_request import ErrorDetails, IdempotencyKeyReusedError, QueueUnavailableError

PROBLEM_TYPE = "application/problem+json"
PROBLEMS: Mapping[str, tuple[int, str]] = {
    InvalidInputError.code: (400, "Invalid request"),
    InvalidFieldError.code: (400, "Invalid field"),
    "unknown_host": (400, "Unknown host"),
    "forbidden": (403, "Forbidden"),
    "not_found": (404, "Not found"),
    UnknownRepositoryError.code: (404, "Unknown repository"),
    "blocked_repository": (404, "Blocked repository"),
    "excluded_repository": (404, "Excluded repository"),
    "method_not_allowed": (405, "Method not allowed"),
    "request_timeout": (408, "Request timeout"),
    "body_too_large": (413, "Body too large"),
    "uri_too_long": (414, "URI too long"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "expectation_failed": (417, "Expectation failed"),
    IdempotencyKeyReusedError.code: (422, "Idempotency key reused"),
    "rate_limited": (429, "Too many requests"),
    "headers_too_large": (431, "Headers too large"),
    StargazeError.code: (500, "Internal error"),
    "worker_died": (500, "Worker died"),
    "unreadable_result": (500, "Unreadable result"),
    "not_implemented": (501, "Not implemented"),
    "bad_gateway": (502, "Bad gateway"),
    "invalid_github_data": (502, "Invalid data from GitHub"),
    "service_unavailable": (503, "Service unavailable"),
    QueueUnavailableError.code: (503, "Queue unavailable"),
    "github_rate_limited": (503, "Rate limited by GitHub"),
    "github_unavailable": (503, "GitHub unavailable"),
    "waited_too_long": (503, "Waited too long"),
    "time_limit_exceeded": (503, "Time limit exceeded"),
    "no_answer": (503, "No answer"),
    "gateway_timeout": (504, "Gateway timeout"),
}
"""Status and title of each code; the first code of a status is that of the server's own errors."""
FALLBACK = {False: InvalidInputError.code, True: StargazeError.code}
"""Codes of other statuses, by whether the server is at fault."""


def code_of_status(status: int) -> str:
    """Return the code of an error that is described by its HTTP status alone.

    >>> code_of_status(404), code_of_status(418)
    ('not_found', 'invalid_request')
    """
    codes = (code for code, (known, _) in PROBLEMS.items() if known == status)
    return next(codes, FALLBACK[status >= HTTPStatus.INTERNAL_SERVER_ERROR])


def status_of_code(code: str) -> HTTPStatus:
    """Return the HTTP status of a problem with this code."""
    return HTTPStatus(PROBLEMS.get(code, PROBLEMS[StargazeError.code])[0])


def problem_details(status: int, error: ErrorDetails, request_id: str) -> dict[str, Any]:
    """Return an error as problem details; ``type`` refers to the list of codes on the page about the API."""
    return {
        "type": f"/try#{error['code']}",
        "title": PROBLEMS.get(error["code"], PROBLEMS[StargazeError.code])[1],
        "status": int(status),
        "detail": error["message"],
        "code": error["code"],
        "hint": error["hint"],
        "request_id": request_id,
    }
