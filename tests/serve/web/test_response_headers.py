"""Which responses scripts of other sites may read (CORS)."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

PUBLIC = [
    *("/api/v1/openapi.json", "/api/v1/predictions/00000000-0000-4000-8000-000000000000", "/api/v1/nothing"),
    *("/api/v1/repositories/a/b", "/badge/a/b.svg", "/card/a/b.png"),
]
PRIVATE = ["/", "/figures", "/model", "/try", "/healthz", "/readyz", "/static/page.css", "/nowhere", "/robots.txt"]
ORIGIN = {"Origin": "https://other.example", "Prefer": "wait=0"}
EXPOSED = ("ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")


def cors_headers(headers: object) -> set[str]:
    return {name.lower() for name, _ in headers if name.lower().startswith("access-control-")}  # type: ignore[attr-defined]


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", PUBLIC)
def test_scripts_of_other_sites_may_read_the_api_and_pictures(page: FlaskClient, path: str, method: str) -> None:
    headers = page.open(path, method=method, headers=ORIGIN).headers

    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert {name.strip() for name in headers["Access-Control-Expose-Headers"].split(",")} == set(EXPOSED)
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("path", PRIVATE)
def test_scripts_of_other_sites_may_read_nothing_else(page: FlaskClient, path: str) -> None:
    headers = page.get(path, headers=ORIGIN, buffered=True).headers

    assert cors_headers(headers) == set()
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", [*PUBLIC, "/api/v1/predictions"])
@pytest.mark.parametrize("asked", ["GET", "POST"])
def test_a_preflight_request_allows_reading_only(page: FlaskClient, path: str, asked: str) -> None:
    preflight = {"Access-Control-Request-Method": asked, "Access-Control-Request-Headers": "prefer, content-type"}
    answer = page.options(path, headers=ORIGIN | preflight)

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert "Content-Type" not in answer.headers["Access-Control-Allow-Headers"]
    assert "Prefer" in answer.headers["Access-Control-Allow-Headers"]
    assert int(answer.headers["Access-Control-Max-Age"]) >= 3600
    if path != "/api/v1/nothing":
        assert answer.status_code == 200
        assert "OPTIONS" in answer.headers["Allow"]


def test_a_program_may_submit_from_anywhere_but_no_script_reads_the_answer(page: FlaskClient) -> None:
    answer = page.post("/api/v1/predictions", json={"repositories": ["a/b"]}, headers=ORIGIN)

    assert answer.status_code == 202
    assert cors_headers(answer.headers) == set()


def test_preflight_requests_do_not_count(page: FlaskClient) -> None:
    """They queue nothing; a browser sends one before each request with Prefer."""
    before = page.get("/api/v1/openapi.json").headers["RateLimit"]
    for _ in range(5):
        page.options("/api/v1/repositories/a/b", headers=ORIGIN)

    assert page.get("/api/v1/openapi.json").headers["RateLimit"].split(";t=")[0] == before.split(";t=")[0]


def test_robots_find_pages_and_queue_no_requests(page: FlaskClient) -> None:
    answer = page.get("/robots.txt")

    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    lines = answer.text.splitlines()
    assert lines[0] == "User-agent: *"
    assert {"Disallow: /predictions/", "Disallow: /api/", "Disallow: /search", "Allow: /"} < set(lines)
    assert "max-age" in answer.headers["Cache-Control"]
