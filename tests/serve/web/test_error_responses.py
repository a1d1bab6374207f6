"""Visitors read what is wrong with their request, and never paths, SQL, commands, host names or texts of exceptions."""

from __future__ import annotations

import dataclasses
import logging
import re
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import VISITOR_CODES, visitor_error
from stargaze.serve.web.problems import PROBLEMS
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

SECRETS = ("/srv/store/results.sqlite", "INSERT OR REPLACE INTO jobs", "df -h", "stargaze doctor", "node-1.internal")
SECRET = "; ".join(SECRETS)
INTERNALS = re.compile(
    r"sqlite|/srv|/tmp|/home|INSERT|SELECT|df -h|stargaze (doctor|deploy|tune|serve)|worker\.log|serve\.(?!exclude)\w+|\.internal"
    r"|Traceback|Errno"
)
"""What no response to a visitor contains. Pages link to their own addresses, so whole paths are searched for."""


def kinds_of_errors() -> Iterator[type[StargazeError]]:
    """Return StargazeError and all imported classes below it."""
    kinds = [StargazeError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        yield kind


def create_error(kind: type[StargazeError]) -> StargazeError:
    """Return an error of a class whose message and hint are about the server."""
    error = kind.__new__(kind)
    StargazeError.__init__(error, SECRET, hint=SECRET)
    return error


HIDDEN = [kind for kind in kinds_of_errors() if not kind.for_visitors]
ADDRESSES = [
    *("/", "/figures", "/model", "/try", "/readyz", "/repositories?query=a", "/search?query=a", "/privacy"),
    *("/repositories/a/b", "/compare/a/b...c/d", "/badge/a/b.svg", "/card/a/b.png", "/api/v1/repositories/a/b"),
    *("/predictions/{id}", "/predictions/{id}.csv", "/predictions/{id}.json", "/api/v1/predictions/{id}"),
]
JOB = "00000000-0000-4000-8000-000000000000"


def check_nothing_internal(text: str) -> None:
    assert INTERNALS.search(text) is None, text[:2000]


@pytest.mark.parametrize("kind", HIDDEN, ids=lambda kind: kind.__name__)
def test_an_error_of_the_server_becomes_a_fixed_text_with_an_id_and_is_logged_with_it(
    page: FlaskClient,
    queue: FakePredictionQueue,
    kind: type[StargazeError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue.fault = create_error(kind)

    answers = [page.get("/api/v1/repositories/a/b"), page.get("/readyz"), page.get("/repositories/a/b")]

    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        check_nothing_internal(answer.text)
        request_id = answer.headers["X-Request-ID"]
        assert request_id in answer.text
        (record,) = [
            record
            for record in caplog.records
            if vars(record).get("request_id") == request_id and SECRET in record.getMessage()
        ]
        assert record.levelno >= logging.ERROR
    assert answers[0].json["code"] in ("service_unavailable", "queue_unavailable")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError(f"database or disk is full: {SECRET}"),
        sqlite3.DatabaseError(SECRET),
        OSError(28, "No space left on device", SECRETS[0]),
        ConnectionRefusedError(111, f"Connection refused: {SECRETS[4]}"),
        ValueError(SECRET),
        KeyError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_unexpected_exception_shows_nothing_at_any_address(
    page: FlaskClient, queue: FakePredictionQueue, error: Exception
) -> None:
    page.application.config["PROPAGATE_EXCEPTIONS"] = False  # as in production
    queue.fault = error

    answers = [page.get(address.format(id=JOB)) for address in ADDRESSES]

    for address, answer in zip(ADDRESSES, answers, strict=True):
        check_nothing_internal(answer.text if answer.is_json or "text" in answer.content_type else "")
        if "{id}" in address:
            assert answer.status_code == 500
            assert answer.headers["X-Request-ID"] in answer.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unavailable_queue_shows_nothing_at_any_address(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], method: str
) -> None:
    """Every address of the application is tried, also those that are added later."""
    token = re.search(r'name="token" value="([^"]+)"', page.get("/").text)
    assert token
    queue.closed = True
    values = {"job_id": JOB, "owner": "a", "name": "b", "names": f"{names[0]}...{names[1]}", "filename": "page.css"}
    form = {"token": token[1], "repositories": names[0], "full_name": "me/mine", "forks": "3", "job": JOB}
    rules = [rule for rule in page.application.url_map.iter_rules() if method in (rule.methods or ())]
    assert rules

    for rule in rules:
        address = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: values[match[1]], rule.rule)
        options = {"json": {"repositories": names[:1]}} if rule.rule.startswith("/api") else {"data": form}
        answer = page.open(address, method=method, buffered=True, **({} if method == "GET" else options))

        assert answer.status_code in (200, 400, 404, 503), address
        if rule.rule != "/static/<path:filename>":
            check_nothing_internal(answer.get_data(as_text=True) if "image/png" not in answer.content_type else "")


@pytest.mark.thorough
def test_a_damaged_bundle_shows_nothing(page: FlaskClient, released_store: Store) -> None:
    copy = released_store.serving / "copy"
    copy.mkdir()
    for path in released_store.current.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() + b" ")
    released_store.current.unlink()
    released_store.current.symlink_to(copy)

    for address in ADDRESSES:
        answer = page.get(address.format(id=JOB))
        check_nothing_internal(answer.text if "image" not in answer.content_type else "")
        assert str(released_store.root) not in answer.get_data(as_text=False).decode(errors="replace")


@pytest.mark.parametrize("code", [*sorted({kind.code for kind in HIDDEN}), "a_code_of_another_version", ""])
def test_the_error_of_a_job_shows_nothing(
    page: FlaskClient, queue: FakePredictionQueue, names: list[str], code: str
) -> None:
    """Whatever a worker, another version or somebody else has stored."""
    url = page.post("/api/v1/predictions", json={"repositories": names[:1]}).json["url"]
    (job,) = queue.jobs.values()
    error = {"code": code, "message": SECRET, "hint": SECRET}
    queue.jobs[job.id] = dataclasses.replace(job, state="failed", error=error, request_id="an-id-12345678")

    answers = [page.get(url), page.get(f"/predictions/{job.id}"), page.get(f"/repositories/{names[0]}")]
    answers += [page.get(f"/predictions/{job.id}.csv"), page.get(f"/predictions/{job.id}.json")]

    for answer in answers:
        check_nothing_internal(answer.text)
    assert "an-id-12345678" in answers[0].json["error"]["message"]
    assert "an-id-12345678" in answers[1].text


@given(st.text(max_size=20), st.text(), st.text())
def test_only_errors_for_visitors_pass(code: str, message: str, hint: str) -> None:
    details = {"code": code, "message": message, "hint": hint}

    assert visitor_error(details, "1")["message"] in ("something went wrong on our side (request ID 1)", message)
    assert (visitor_error(details, "1") == details) == (code in VISITOR_CODES)
    for known in PROBLEMS.keys() - VISITOR_CODES:
        assert visitor_error({**details, "code": known}, "1") == visitor_error(
            {"code": known, "message": "", "hint": ""}, "1"
        )


@pytest.mark.parametrize(
    ("method", "address", "headers", "body", "status"),
    [
        ("GET", "/api/v1/nothing", {}, b"", 404),
        ("DELETE", "/api/v1/predictions", {}, b"", 405),
        ("POST", "/api/v1/predictions", {"Content-Type": "text/plain"}, b"x", 415),
        ("POST", "/api/v1/predictions", {"Content-Type": "application/json"}, b"x" * 70_000, 413),
        ("POST", "/api/v1/predictions", {"Content-Type": "application/json"}, b"{", 400),
        ("GET", "/nothing", {"Accept": "application/json"}, b"", 404),
        ("GET", "/nothing", {"Accept": "application/problem+json"}, b"", 404),
        ("GET", f"/predictions/{JOB}.json", {}, b"", 404),
        ("GET", "/api/v1/repositories/a/b", {"Host": "evil.example"}, b"", 400),
    ],
)
def test_programs_get_problem_details(
    page: FlaskClient, method: str, address: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = page.open(address, method=method, headers=headers, data=body)

    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert answer.json["title"] == PROBLEMS[answer.json["code"]][1]
    assert answer.json["type"] == f"/try#{answer.json['code']}"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html, application/json"]
)
def test_browsers_get_a_page_with_the_id_of_the_request(page: FlaskClient, accept: str) -> None:
    answer = page.get("/nothing", headers={"Accept": accept} if accept else {})

    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert f"Request ID: <code>{answer.headers['X-Request-ID']}</code>" in answer.text


@pytest.fixture
def names(sample: pd.DataFrame) -> list[str]:
    return list(sample["full_name"].iloc[[0, 300, 900]])


@pytest.mark.parametrize("path", ["/", "/search", "/repositories/a/b", "/api/v1/repositories/a/b", "/healthz"])
def test_a_query_that_is_not_utf8_is_a_bad_request(page: FlaskClient, path: str) -> None:
    answer = page.get(path, environ_overrides={"QUERY_STRING": "license=\xf9"})

    assert answer.status_code == 400
    assert "the request is not valid" in answer.get_data(as_text=True).lower()
