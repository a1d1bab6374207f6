"""What the web server itself refuses is answered with problem details that contain no text of an exception."""

from __future__ import annotations

import json
import logging

import pytest
from gunicorn.http import errors

from stargaze.serve.web.server.error_response import error_response

SECRET = "/srv/store/secret.sqlite"
CASES = [
    (errors.InvalidRequestLine(SECRET), 400, "invalid_request"),
    (errors.InvalidHeader(SECRET), 400, "invalid_request"),
    (errors.InvalidChunkSize(SECRET), 400, "invalid_request"),
    (errors.LimitRequestLine(5, 4), 414, "uri_too_long"),
    (errors.LimitRequestHeaders(SECRET), 431, "headers_too_large"),
    (errors.UnsupportedTransferCoding(SECRET), 501, "not_implemented"),
    (errors.ExpectationFailed(SECRET), 417, "expectation_failed"),
    (errors.InvalidResponseHeader(SECRET), 500, "internal_error"),
    (OSError(28, "No space left on device", SECRET), 500, "internal_error"),
    (ZeroDivisionError(SECRET), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), CASES, ids=lambda case: type(case).__name__)
def test_a_refused_request_gets_problem_details_and_its_reason_is_logged(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    head, _, body = error_response(error).partition(b"\r\n\r\n")

    problem = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert (problem["status"], problem["code"]) == (status, code)
    assert SECRET.encode() not in body
    (record,) = caplog.records
    assert record.request_id == problem["request_id"]  # type: ignore[attr-defined]
    assert str(error) in caplog.text
