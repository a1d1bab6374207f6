"""Security headers, error responses and health checks."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from stargaze.serve.runtime.settings import MAX_BODY
from stargaze.serve.web.app import SchemeAwareSessions
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATHS = ["/", "/figures", "/healthz", "/readyz", "/api/v1/predictions", "/static/page.css", "/nowhere"]


@pytest.mark.thorough
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
    ],
)
def test_every_response_has_security_headers(page: FlaskClient, path: str, header: str, value: str) -> None:
    assert page.get(path, buffered=True).headers[header] == value


@pytest.mark.parametrize("path", PATHS)
def test_the_content_security_policy_allows_only_own_files(page: FlaskClient, path: str) -> None:
    policy = page.get(path, buffered=True).headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/figures"])
def test_the_page_has_no_inline_style_or_script(page: FlaskClient, path: str) -> None:
    """The content security policy would block them silently."""
    html = page.get(path).text

    assert " style=" not in html
    assert "<style" not in html
    assert "<script>" not in html


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a b", ""])
@pytest.mark.parametrize("path", ["/", "/api/v1/predictions", "/healthz"])
def test_an_unknown_host_header_is_rejected(page: FlaskClient, path: str, host: str) -> None:
    answer = page.get(path, headers={"Host": host})

    assert answer.status_code == 400
    assert "evil.example" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:8000", "LocalHost:8000"])
def test_own_host_names_are_accepted(page: FlaskClient, host: str) -> None:
    assert page.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/figures", "/api/v1/predictions"])
def test_a_large_body_is_413(page: FlaskClient, path: str) -> None:
    kind = "application/json" if path.startswith("/api") else "application/x-www-form-urlencoded"

    answer = page.post(path, data=b"x" * (MAX_BODY + 1), content_type=kind)

    assert answer.status_code == 413


def test_the_cookie_is_http_only_and_same_site(page: FlaskClient) -> None:
    cookie = page.get("/").headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_the_cookie_is_secure_with_https(page: FlaskClient, scheme: str, secure: bool) -> None:
    assert ("Secure" in page.get("/", base_url=f"{scheme}://localhost").headers["Set-Cookie"]) is secure


def test_requests_share_one_serializer_of_sessions(page: FlaskClient) -> None:
    sessions = page.application.session_interface
    assert isinstance(sessions, SchemeAwareSessions)
    assert sessions.get_signing_serializer(page.application) is sessions.get_signing_serializer(page.application)


def test_an_unexpected_error_is_500_with_headers_and_without_traceback(page: FlaskClient) -> None:
    page.application.config["PROPAGATE_EXCEPTIONS"] = False  # as in production
    page.application.view_functions["pages.index"] = lambda: 1 / 0

    answer = page.get("/")

    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not page.application.debug


@pytest.mark.parametrize("path", [path for path in PATHS if "/api/" not in path])
def test_other_sites_can_neither_embed_the_page_nor_share_its_process(page: FlaskClient, path: str) -> None:
    headers = page.get(path, buffered=True).headers

    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_unknown_path_is_an_html_page(page: FlaskClient) -> None:
    answer = page.get("/<script>alert(1)</script>")

    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
    assert "text/html" in answer.content_type


def test_healthz_needs_neither_queue_nor_bundle(
    page: FlaskClient, queue: FakePredictionQueue, released_store: Store
) -> None:
    queue.closed = True
    released_store.current.unlink()

    assert page.get("/healthz").status_code == 200


def test_readyz_reports_the_bundle(page: FlaskClient, released_store: Store) -> None:
    answer = page.get("/readyz")

    assert answer.status_code == 200
    digest = released_store.current.resolve().name
    assert answer.json == {"status": "ready", "bundle": digest, "growth_digest": None}


def test_readyz_reports_the_growth_bundle(page: FlaskClient, released_store: Store) -> None:
    release = released_store.current.resolve()
    folder = released_store.serving / f"{release.name}-{'a1' * 32}"
    shutil.copytree(release, folder)
    released_store.current.unlink()
    released_store.current.symlink_to(folder)

    assert page.get("/readyz").json["growth_digest"] == "a1" * 32


def test_readyz_fails_without_a_release(page: FlaskClient, released_store: Store) -> None:
    released_store.current.unlink()

    answer = page.get("/readyz")

    assert answer.status_code == 503
    assert answer.json["code"] == "service_unavailable"
    assert "stargaze" not in answer.text


def test_readyz_fails_with_a_damaged_bundle(page: FlaskClient, released_store: Store) -> None:
    copy = released_store.serving / "copy"
    copy.mkdir()
    for path in released_store.current.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() + b" ")
    released_store.current.unlink()
    released_store.current.symlink_to(copy)

    assert page.get("/readyz").status_code == 503


def test_readyz_fails_without_the_queue(page: FlaskClient, queue: FakePredictionQueue) -> None:
    queue.closed = True

    answer = page.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
