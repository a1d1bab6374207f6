"""The response to a request that the web server itself refuses: problem details, without the text of an exception."""

from __future__ import annotations

import json
import logging
import uuid
from http import HTTPStatus

from gunicorn.http import errors

from stargaze.serve.prediction_request import visitor_error
from stargaze.serve.web.problems import PROBLEM_TYPE, code_of_status, problem_details

STATUSES: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long"),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large"),
    (errors.UnsupportedTransferCoding, HTTPStatus.NOT_IMPLEMENTED, "the transfer coding is not supported"),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "the expectation is not supported"),
    (errors.ParseException, HTTPStatus.BAD_REQUEST, "the request is not valid HTTP"),
)
OWN_FAULTS = (errors.ConfigurationProblem, errors.InvalidResponseHeader, errors.InvalidResponseHeaderName)
log = logging.getLogger(__name__)


def error_response(error: Exception) -> bytes:
    """Log the error with an id, and return the response with that id."""
    request_id = uuid.uuid4().hex
    for kind, status, message in () if isinstance(error, OWN_FAULTS) else STATUSES:
        if isinstance(error, kind):
            log.info("refused: %s", error, extra={"request_id": request_id, "status": int(status)})
            details = {"code": code_of_status(status), "message": message, "hint": ""}
            break
    else:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        log.error("a request failed", exc_info=error, extra={"request_id": request_id, "status": int(status)})
        details = visitor_error({"code": code_of_status(status), "message": "", "hint": ""}, request_id)
    body = json.dumps(problem_details(status, details, request_id)).encode()
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\nConnection: close\r\nContent-Type: {PROBLEM_TYPE}\r\n"
        f"X-Request-ID: {request_id}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
