"""The guards around page and API, and the two health checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient

from stargaze.serve.runtime.settings import MAX_BODY
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

PATHS = ["/", "/figures", "/healthz", "/readyz", "/api/v1/predictions", "/static/page.css", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
    ],
)
def test_every_answer_carries_the_guards(page: FlaskClient, path: str, header: str, value: str) -> None:
    assert page.get(path, buffered=True).headers[header] == value


@pytest.mark.parametrize("path", PATHS)
def test_nothing_inline_and_nothing_from_elsewhere_runs(page: FlaskClient, path: str) -> None:
    policy = page.get(path, buffered=True).headers["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize("path", ["/", "/figures"])
def test_the_page_has_no_inline_style_or_script(page: FlaskClient, path: str) -> None:
    """The policy would drop them silently."""
    html = page.get(path).text

    assert " style=" not in html
    assert "<style" not in html
    assert "<script>" not in html


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a b", ""])
@pytest.mark.parametrize("path", ["/", "/api/v1/predictions", "/healthz"])
def test_a_foreign_host_header_is_refused(page: FlaskClient, path: str, host: str) -> None:
    answer = page.get(path, headers={"Host": host})

    assert answer.status_code == 400
    assert "evil.example" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:8000"])
def test_this_machine_may_ask_under_its_own_names(page: FlaskClient, host: str) -> None:
    assert page.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/figures", "/api/v1/predictions"])
def test_a_body_over_the_limit_is_refused_unread(page: FlaskClient, path: str) -> None:
    kind = "application/json" if path.startswith("/api") else "application/x-www-form-urlencoded"

    answer = page.post(path, data=b"x" * (MAX_BODY + 1), content_type=kind)

    assert answer.status_code == 413


def test_the_cookie_is_neither_read_by_scripts_nor_sent_by_other_sites(page: FlaskClient) -> None:
    cookie = page.get("/").headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_the_cookie_of_https_stays_with_https(page: FlaskClient, scheme: str, secure: bool) -> None:
    assert ("Secure" in page.get("/", base_url=f"{scheme}://localhost").headers["Set-Cookie"]) is secure


def test_a_mistake_of_ours_is_500_with_the_guards_and_without_its_traceback(page: FlaskClient) -> None:
    page.application.config["PROPAGATE_EXCEPTIONS"] = False  # as in production, where no test looks on
    page.application.view_functions["pages.ask"] = lambda: 1 / 0

    answer = page.get("/")

    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not page.application.debug


@pytest.mark.parametrize("path", PATHS)
def test_other_sites_can_neither_embed_nor_open_it_as_their_own(page: FlaskClient, path: str) -> None:
    headers = page.get(path, buffered=True).headers

    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_unknown_page_is_a_page(page: FlaskClient) -> None:
    answer = page.get("/<script>alert(1)</script>")

    assert answer.status_code == 404
    assert "<script>alert" not in answer.text
    assert "text/html" in answer.content_type


def test_it_is_alive_without_queue_and_bundle(page: FlaskClient, queue: FakePredictionQueue, released: Store) -> None:
    queue.closed = True
    released.current.unlink()

    assert page.get("/healthz").status_code == 200


def test_it_is_ready_with_both(page: FlaskClient, released: Store) -> None:
    answer = page.get("/readyz")

    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "bundle": released.current.resolve().name}


def test_it_is_not_ready_without_a_release(page: FlaskClient, released: Store) -> None:
    released.current.unlink()

    answer = page.get("/readyz")

    assert answer.status_code == 503
    assert answer.json["error"]["hint"] == "stargaze deploy"


def test_it_is_not_ready_with_a_bundle_that_does_not_verify(page: FlaskClient, released: Store) -> None:
    copy = released.serving / "copy"
    copy.mkdir()
    for path in released.current.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() + b" ")
    released.current.unlink()
    released.current.symlink_to(copy)

    assert page.get("/readyz").status_code == 503


def test_it_is_not_ready_when_the_queue_is_closed(page: FlaskClient, queue: FakePredictionQueue) -> None:
    queue.closed = True

    answer = page.get("/readyz")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
