"""Error responses: problem details for programs, a page for browsers.

A visitor reads only what was wrong with the request, or a fixed text with the id of the request; the log has the rest, with
that id.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, abort, jsonify, render_template, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, SecurityError

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import ErrorDetails, error_details, visitor_error
from stargaze.serve.runtime.metrics import observe_error
from stargaze.serve.runtime.request_log import request_id
from stargaze.serve.runtime.settings import MAX_BODY, RETRY_AFTER
from stargaze.serve.web.problems import PROBLEM_TYPE, code_of_status, problem_details, status_of_code

MESSAGES = {
    HTTPStatus.BAD_REQUEST: "the request is not valid",
    HTTPStatus.NOT_FOUND: "page not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not support the method",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "the body has another media type",
}
HINTS = {
    HTTPStatus.NOT_FOUND: "check the address; results are deleted after some time, then submit the request again",
    HTTPStatus.METHOD_NOT_ALLOWED: "use POST to submit a request and GET to read its result",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"send at most {MAX_BODY // 1024} kB",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "send Content-Type: application/json",
}
KEPT_HEADERS = ("Allow",)
JSON_TYPES = ("application/json", PROBLEM_TYPE)
UNAVAILABLE = code_of_status(HTTPStatus.SERVICE_UNAVAILABLE)
HEALTH_PATHS = ("/healthz", "/readyz")
ErrorResponse = Response | tuple[str, int, dict[str, str]]
log = logging.getLogger(__name__)


def add_error_handlers(web: Flask) -> None:
    """Handle errors of stargaze, of Flask, and of gunicorn while it decodes a body; reject a query that is not UTF-8."""
    web.register_error_handler(StargazeError, _handle_error)
    web.register_error_handler(HTTPException, _handle_http_error)
    web.register_error_handler(ParseException, _handle_invalid_body)
    web.before_request(_check_query)


def _check_query() -> None:
    """Reject a query that is not UTF-8; Werkzeug would raise UnicodeDecodeError where a route reads it."""
    try:
        request.query_string.decode()
    except UnicodeDecodeError:
        abort(HTTPStatus.BAD_REQUEST)


def visible_error(error: StargazeError) -> ErrorDetails:
    """Return what a visitor may read of an error; if that is not all, the rest is logged."""
    details = visitor_error(error_details(error), request_id())
    if error.for_visitors:
        return details
    observe_error(type(error).__name__)
    log.error("%s: %s (%s)", error.code, error.message, error.hint, extra={"request_id": request_id()})
    return {**details, "code": UNAVAILABLE} if details["code"] == StargazeError.code else details


def status_of_error(error: StargazeError) -> HTTPStatus:
    """Return 4xx for mistakes of the client, and 503 for all other errors: the same request may succeed later."""
    status = status_of_code(error.code)
    return status if error.for_visitors else HTTPStatus.SERVICE_UNAVAILABLE


def error_headers(status: int) -> dict[str, str]:
    """Return the headers of a response with this status."""
    return {"Retry-After": str(RETRY_AFTER)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def error_response(status: int, details: ErrorDetails, headers: dict[str, str] | None = None) -> ErrorResponse:
    """Return an error in the form that the client reads."""
    headers = {**error_headers(status), **(headers or {})}
    if _wants_problem():
        return problem_response(status, details, headers)
    page = render_template("error.html", status=HTTPStatus(status), error=details, request_id=request_id())
    return page, status, headers


def problem_response(status: int, details: ErrorDetails, headers: dict[str, str] | None = None) -> Response:
    """Return an error as problem details."""
    response = jsonify(problem_details(status, details, request_id()))
    response.status_code, response.mimetype = status, PROBLEM_TYPE
    response.headers.update({**error_headers(status), **(headers or {})})
    return response


def _handle_error(error: StargazeError) -> ErrorResponse:
    return error_response(status_of_error(error), visible_error(error))


def _handle_http_error(error: HTTPException) -> ErrorResponse:
    """Handle Flask's own errors: an unknown path, a large body, an unknown host, an exception in a handler."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, SecurityError):
        return _unknown_host()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        observe_error(type(getattr(error, "original_exception", None) or error).__name__)
        return error_response(
            status, visitor_error({"code": code_of_status(status), "message": "", "hint": ""}, request_id())
        )
    message = MESSAGES.get(HTTPStatus(status), HTTPStatus(status).phrase)
    details = {"code": code_of_status(status), "message": message, "hint": HINTS.get(HTTPStatus(status), "")}
    headers = {name: value for name, value in error.get_headers() if name in KEPT_HEADERS}
    return error_response(status, details, headers)


def _handle_invalid_body(_: ParseException) -> ErrorResponse:
    status, message = HTTPStatus.BAD_REQUEST, "the chunks of the body are invalid"
    return error_response(status, {"code": code_of_status(status), "message": message, "hint": ""})


def _unknown_host() -> ErrorResponse:
    """Return the error without a page, whose links cannot be built for an unknown host."""
    if _wants_problem():
        details = {"code": "unknown_host", "message": "unknown host", "hint": ""}
        return problem_response(HTTPStatus.BAD_REQUEST, details)
    text = f"Unknown host (request ID {request_id()})\n"
    return text, HTTPStatus.BAD_REQUEST, {"Content-Type": "text/plain; charset=utf-8"}


def _wants_problem() -> bool:
    """Return whether the client is a program."""
    if request.path.startswith("/api/") or request.path in HEALTH_PATHS or request.path.endswith(".json"):
        return True
    accepted = request.accept_mimetypes
    return max(accepted.quality(kind) for kind in JSON_TYPES) > accepted.quality("text/html")
