"""The load generator with scripted pages."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stargaze.serve.swarm import load_generator
from stargaze.serve.swarm.load_generator import LoadGenerator

Answer = tuple[int, dict[str, Any]]
Page = Callable[[Callable[[str], Answer | None]], str]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Serve the responses of a function of the method; None closes the connection."""
    servers: list[ThreadingHTTPServer] = []

    def serve(respond: Callable[[str], Answer | None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer("POST")

            def do_GET(self) -> None:
                self._answer("GET")

            def _answer(self, method: str) -> None:
                summary = respond(method)
                if summary is None:
                    return
                self.send_response(summary[0])
                self.end_headers()
                self.wfile.write(json.dumps(summary[1]).encode())

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    monkeypatch.setattr(load_generator, "POLL_INTERVAL", 0.01)
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("first", "then", "outcome"),
    [
        ((200, {"state": "done"}), None, "answered"),
        ((202, {"state": "waiting", "url": "/t"}), (200, {"state": "done"}), "answered"),
        ((202, {"state": "waiting", "url": "/t"}), (200, {"state": "failed", "error": "late"}), "job_failed"),
        ((202, {"state": "waiting", "url": "/t"}), (404, {}), "lost"),
        ((503, {}), None, "refused"),
        ((500, {}), None, "failed"),
    ],
)
def test_every_outcome_of_a_request_is_counted(page: Page, first: Answer, then: Answer | None, outcome: str) -> None:
    generator = LoadGenerator([page(lambda method: first if method == "POST" else then)], ["a/b"])

    generator.send()

    summary = generator.summary()
    assert summary[outcome] == 1
    assert summary["accepted"] == (outcome not in ("refused", "failed"))
    assert sum(summary[name] for name in load_generator.OUTCOMES) == 1


@pytest.mark.thorough
def test_a_job_that_never_finishes_is_lost(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_generator, "TIMEOUT", 0.3)
    waiting = {"state": "waiting", "url": "/t"}
    generator = LoadGenerator([page(lambda method: (202, waiting) if method == "POST" else (200, waiting))], ["a/b"])

    generator.send()

    assert generator.summary()["lost"] == 1


def test_the_next_address_is_tried_if_one_does_not_respond(page: Page) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        closed_address = f"127.0.0.1:{closed.getsockname()[1]}"
        silent, good = page(lambda _: None), page(lambda _: (200, {"state": "done"}))
        generator = LoadGenerator([closed_address, silent, good], ["a/b"])

        for _ in range(3):
            generator.send()

    assert generator.summary()["answered"] == 3


@pytest.mark.parametrize("status", [502, 504])
def test_a_request_is_repeated_if_the_proxy_got_no_answer(page: Page, status: int) -> None:
    """Whatever content that error has; the idempotency key prevents a second job."""
    responses = iter([(status, {"error": {}}), (200, {"state": "done"})])
    generator = LoadGenerator([page(lambda _: next(responses))], ["a/b"])

    generator.send()

    assert generator.summary()["answered"] == 1


def test_a_refused_request_is_tried_once_at_every_address(page: Page) -> None:
    requests: list[str] = []

    def away(_: str) -> Answer:
        requests.append("away")
        return 503, {}

    generator = LoadGenerator([page(away), page(lambda _: (200, {"state": "done"}))], ["a/b"])
    both = LoadGenerator([page(away), page(away)], ["a/b"])
    generator.send()
    requests.clear()
    both.send()

    assert (generator.summary()["answered"], generator.summary()["refused"]) == (1, 0)
    assert (both.summary()["refused"], requests) == (1, ["away", "away"])


def test_no_response_from_any_address_is_a_failure(page: Page) -> None:
    generator = LoadGenerator([page(lambda _: None)], ["a/b"])

    generator.send()

    assert generator.summary()["failed"] == 1
    assert "RemoteDisconnected" in next(iter(generator.summary()["reasons"]))


def test_one_request_is_sent_at_once_at_any_rate(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a low rate limit, a fault is over before the second request is due."""
    met = threading.Event()

    def respond(_: str) -> Answer:
        met.set()
        return 200, {"state": "done"}

    (tmp_path / "names").write_text("a/b")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(read=lambda: met.wait(30)))

    load_generator.main(0.001, str(tmp_path / "names"), page(respond))

    summary = json.loads(capsys.readouterr().out)
    assert (summary["sent"], summary["answered"]) == (1, 1)
