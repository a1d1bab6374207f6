"""The page at its printed address, asked with its own Host header."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.serve.swarm.public_page import PublicPage, await_pages
from stargaze.system.ssh import SshHost

DIGEST = "d" * 64
GATEWAY = SshHost("orchestration", "orchestration", "127.0.0.1", "203.0.113.9", "debian", ())


class Page(http.server.BaseHTTPRequestHandler):
    """Answers like the page of a release, and only to its own names."""

    hosts: tuple[str, ...] = ()

    def do_GET(self) -> None:
        known = self.headers["Host"].partition(":")[0] in self.hosts
        error = {"detail": "unknown host"}
        body = json.dumps({"bundle": DIGEST} if known else error).encode()
        self.send_response(200 if known else 400)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a page that knows two names."""
    handler = type("Named", (Page,), {"hosts": ("127.0.0.1", "stars.invalid")})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> SshHost:
    """A machine on which commands run as on this one."""

    def run(_: str, *argv: str, **__: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["sh", "-c", argv[-1].replace("python3", sys.executable)], capture_output=True, check=False
        )

    monkeypatch.setattr("stargaze.system.ssh.run_program", run)
    return GATEWAY


def test_an_address_that_serves_the_release_is_accepted_silently(port: int) -> None:
    notes: list[str] = []

    await_pages([PublicPage(f"http://127.0.0.1:{port}", GATEWAY)], DIGEST, 0, notes.append)

    assert notes == []


@pytest.mark.parametrize(
    ("name", "digest", "expected"),
    [
        ("localhost", DIGEST, "returns 400: unknown host"),
        ("127.0.0.1", "e" * 64, "shows another release"),
    ],
)
def test_an_address_that_serves_something_else_is_an_error(port: int, name: str, digest: str, expected: str) -> None:
    url = f"http://{name}:{port}"

    with pytest.raises(ExternalError) as caught:
        await_pages([PublicPage(url, GATEWAY)], digest, 0, lambda _: None)

    assert caught.value.message == f"{url} {expected}"


@pytest.mark.real
def test_an_address_that_only_this_machine_cannot_reach_is_reported_and_accepted(port: int, gateway: SshHost) -> None:
    notes: list[str] = []

    await_pages([PublicPage(f"http://stars.invalid:{port}", gateway)], DIGEST, 0, notes.append)

    assert "cannot be reached from this machine" in notes[0]
    assert "orchestration itself serves it" in notes[0]


@pytest.mark.real
def test_an_address_that_nobody_serves_is_an_error_that_says_why(gateway: SshHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]

    with pytest.raises(
        ExternalError, match=r"returns no response \(this machine cannot reach it: Connection refused\)"
    ):
        await_pages([PublicPage(f"http://127.0.0.1:{free}", gateway)], DIGEST, 0, lambda _: None)
