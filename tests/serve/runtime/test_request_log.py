"""One JSON line per request, with an id that reaches the worker."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.runtime.request_log import REQUEST_ID, JsonFormatter, log_requests

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue


def test_the_clients_request_id_reaches_the_worker(page: FlaskClient, queue: FakePredictionQueue) -> None:
    answer = page.post(
        "/api/v1/predictions", json={"repositories": ["a/b"]}, headers={"X-Request-ID": "from-the-proxy.1"}
    )

    assert answer.headers["X-Request-ID"] == "from-the-proxy.1"
    assert queue.jobs[answer.json["id"]].request_id == "from-the-proxy.1"


@pytest.mark.parametrize("sent", ["", "short", "x" * 65, 'a"b"c"d"e', "eight of them "])
def test_an_invalid_request_id_is_replaced(page: FlaskClient, sent: str) -> None:
    result = page.get("/", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert result != sent
    assert REQUEST_ID.fullmatch(result)


def test_a_request_is_one_line_without_the_visitors_data(page: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="stargaze.requests"):
        page.get("/repositories?like=secret-thing")

    line = json.loads(JsonFormatter("web").format(caplog.records[-1]))
    assert (line["path"], line["status"], line["process"]) == ("/repositories", 200, "web")
    assert "secret-thing" not in json.dumps(line)
    assert "127.0.0.1" not in json.dumps(line)


def test_a_message_with_a_line_break_is_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "two\nlines", (), None)

    assert len(JsonFormatter("web").format(record).splitlines()) == 1


def test_a_line_has_the_id_of_a_created_or_read_job(page: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="stargaze.requests"):
        job = page.post("/api/v1/predictions", json={"repositories": ["a/b"]}).json
        page.get(job["url"])
        page.get("/")

    assert [record.job_id for record in caplog.records] == [job["id"], job["id"], ""]


def test_the_time_is_in_utc() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "x", (), None)

    assert json.loads(JsonFormatter("web").format(record))["time"].endswith("+00:00")


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=80))
def test_every_response_has_a_valid_request_id(sent: str) -> None:
    web = Flask("stargaze.serve")
    log_requests(web)

    result = web.test_client().get("/", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert REQUEST_ID.fullmatch(result)
    assert (result == sent.strip()) == bool(REQUEST_ID.fullmatch(sent.strip()))
