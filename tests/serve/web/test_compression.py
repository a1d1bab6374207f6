"""Responses are compressed for clients that accept it, without a secret that their length would reveal."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from flask.testing import FlaskClient

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

GZIP = {"Accept-Encoding": "gzip, deflate, br, zstd"}
TOKEN = re.compile(r'name="token" value="([^"]+)"')


@pytest.fixture
def job(page: FlaskClient, queue: FakePredictionQueue, sample: pd.DataFrame) -> str:
    """A finished job's id."""
    body = {"repositories": [sample["full_name"].iloc[300]]}
    job_id: str = page.post("/api/v1/predictions", json=body).json["id"]
    queue.work()
    return job_id


@pytest.mark.parametrize(
    "address",
    [
        *("/", "/model", "/static/page.css", "/static/page.js", "/nowhere", "/api/v1/openapi.json"),
        *("/api/v1/predictions/{}", "/predictions/{}", "/predictions/{}.json"),
    ],
)
def test_a_compressed_response_has_the_same_content(page: FlaskClient, job: str, address: str) -> None:
    plain = page.get(address.format(job), buffered=True)
    compressed = page.get(address.format(job), headers=GZIP, buffered=True)

    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    for answer in (plain, compressed):
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert len(compressed.data) < 0.6 * len(plain.data)
    content = gzip.decompress(compressed.data)
    varying = rb'name="token" value="[^"]+"|[0-9a-f]{32}'  # CSRF token and request id
    assert re.sub(varying, b"", content) == re.sub(varying, b"", plain.data)


@pytest.mark.parametrize(
    "accepted", ["", "identity", "gzip;q=0", "*;q=0", "br", "gzip;q=0.5, identity", "gzip;q=x;q=0"]
)
def test_a_client_that_does_not_prefer_gzip_gets_plain_text(page: FlaskClient, accepted: str) -> None:
    answer = page.get("/", headers={"Accept-Encoding": accepted} if accepted else {})

    assert "Content-Encoding" not in answer.headers
    assert b"<html" in answer.data
    assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.thorough
@pytest.mark.parametrize("path", ["/healthz", "/card/a/b.png"])
def test_small_responses_and_pictures_are_not_compressed(page: FlaskClient, path: str) -> None:
    assert "Content-Encoding" not in page.get(path, headers=GZIP).headers


@pytest.mark.parametrize("address", ["/api/v1/predictions/{}", "/static/page.css"])
@pytest.mark.parametrize("first", [{}, GZIP])
@pytest.mark.parametrize("second", [{}, GZIP])
def test_the_etag_is_valid_for_both_forms(
    page: FlaskClient, job: str, address: str, first: dict[str, str], second: dict[str, str]
) -> None:
    tag = page.get(address.format(job), headers=first, buffered=True).headers["ETag"]

    answer = page.get(address.format(job), headers=second | {"If-None-Match": tag}, buffered=True)

    assert tag.startswith("W/")
    assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
    assert "Content-Encoding" not in answer.headers


def test_a_part_of_a_file_is_not_compressed(page: FlaskClient) -> None:
    answer = page.get("/static/page.css", headers=GZIP | {"Range": "bytes=0-599"}, buffered=True)

    assert (answer.status_code, len(answer.data)) == (206, 600)
    assert "Content-Encoding" not in answer.headers


def test_head_has_the_length_of_the_compressed_response(page: FlaskClient) -> None:
    get, head = (page.open("/api/v1/openapi.json", method=method, headers=GZIP) for method in ("GET", "HEAD"))

    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert head.headers["Content-Encoding"] == "gzip"
    assert head.data == b""


def test_the_csrf_token_is_another_text_in_each_response_and_each_is_valid(
    page: FlaskClient, queue: FakePredictionQueue, sample: pd.DataFrame
) -> None:
    """The length of a compressed page would otherwise tell how much of the token somebody else has guessed (BREACH)."""
    tokens = [TOKEN.findall(page.get("/").text)[0] for _ in range(3)]

    parts = {token[start : start + 8] for token in tokens for start in range(0, len(token), 8)}
    assert len(parts) == sum(len(range(0, len(token), 8)) for token in tokens)
    for token in tokens:
        answer = page.post("/", data={"token": token, "repositories": sample["full_name"].iloc[0]})
        assert answer.status_code == 303


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-4],
        lambda token: "A" * len(token),
        lambda token: token[::-1],
        lambda token: token * 2,
        lambda token: "ü",
    ],
)
def test_a_changed_token_is_refused(page: FlaskClient, change: object) -> None:
    token = TOKEN.findall(page.get("/").text)[0]

    assert page.post("/", data={"token": change(token), "repositories": "a/b"}).status_code == 400  # type: ignore[operator]
