"""One line of JSON a request, with an id that goes along."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from stargaze.serve.requestlog import ID, JsonLines

if TYPE_CHECKING:
    from tests.conftest import FakeDesk


def test_an_id_that_was_sent_goes_along_to_the_worker(page: FlaskClient, desk: FakeDesk) -> None:
    answer = page.post(
        "/api/v1/predictions", json={"repositories": ["a/b"]}, headers={"X-Request-ID": "from-the-proxy.1"}
    )

    assert answer.headers["X-Request-ID"] == "from-the-proxy.1"
    assert desk.tickets[answer.json["id"]].request_id == "from-the-proxy.1"


@pytest.mark.parametrize("sent", ["", "short", "x" * 65, 'a"b"c"d"e', "eight of them "])
def test_what_cannot_be_an_id_is_replaced(page: FlaskClient, sent: str) -> None:
    found = page.get("/", headers={"X-Request-ID": sent}).headers["X-Request-ID"]

    assert found != sent
    assert ID.fullmatch(found)


def test_a_request_is_one_line_without_the_visitor(page: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="stargaze.requests"):
        page.get("/repositories?like=secret-thing")

    line = json.loads(JsonLines("web").format(caplog.records[-1]))
    assert (line["path"], line["status"], line["process"]) == ("/repositories", 200, "web")
    assert "secret-thing" not in json.dumps(line)
    assert "127.0.0.1" not in json.dumps(line)


def test_a_line_stays_one_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "two\nlines", (), None)

    assert len(JsonLines("web").format(record).splitlines()) == 1
