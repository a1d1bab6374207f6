"""LoadGenerator that count what becomes of their questions, before a page that the test scripts."""

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
def page() -> Iterator[Page]:
    """Serve what a function of the method says; None ends the connection without a word."""
    servers: list[ThreadingHTTPServer] = []

    def go(say: Callable[[str], Answer | None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer("POST")

            def do_GET(self) -> None:
                self._answer("GET")

            def _answer(self, method: str) -> None:
                told = say(method)
                if told is None:
                    return
                self.send_response(told[0])
                self.end_headers()
                self.wfile.write(json.dumps(told[1]).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"127.0.0.1:{server.server_port}"

    yield go
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
def test_every_end_of_a_question_is_counted_as_what_it_is(
    page: Page, first: Answer, then: Answer | None, outcome: str
) -> None:
    ours = LoadGenerator([page(lambda method: first if method == "POST" else then)], ["a/b"])

    ours.send()

    told = ours.summary()
    assert told[outcome] == 1
    assert told["accepted"] == (outcome not in ("refused", "failed"))
    assert sum(told[name] for name in load_generator.OUTCOMES) == 1


def test_an_answer_that_never_comes_is_lost(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_generator, "TIMEOUT", 0.3)
    waits = {"state": "waiting", "url": "/t"}
    ours = LoadGenerator([page(lambda method: (202, waits) if method == "POST" else (200, waits))], ["a/b"])

    ours.send()

    assert ours.summary()["lost"] == 1


def test_where_one_address_is_silent_the_next_is_asked(page: Page) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        mute, good = page(lambda _: None), page(lambda _: (200, {"state": "done"}))
        ours = LoadGenerator([nobody, mute, good], ["a/b"])

        for _ in range(3):
            ours.send()

    assert ours.summary()["answered"] == 3


def test_whom_one_page_sends_away_the_next_is_asked_and_each_but_once(page: Page) -> None:
    asked: list[str] = []

    def away(_: str) -> Answer:
        asked.append("away")
        return 503, {}

    ours = LoadGenerator([page(away), page(lambda _: (200, {"state": "done"}))], ["a/b"])
    both = LoadGenerator([page(away), page(away)], ["a/b"])
    ours.send()
    asked.clear()
    both.send()

    assert (ours.summary()["answered"], ours.summary()["refused"]) == (1, 0)
    assert (both.summary()["refused"], asked) == (1, ["away", "away"])


def test_where_nobody_answers_that_is_a_failure(page: Page) -> None:
    ours = LoadGenerator([page(lambda _: None)], ["a/b"])

    ours.send()

    assert ours.summary()["failed"] == 1
    assert "RemoteDisconnected" in next(iter(ours.summary()["reasons"]))


def test_however_slowly_visitors_ask_one_question_is_asked_at_once(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where one address may ask a few questions a minute, a blow is over before a second one is due."""
    met = threading.Event()

    def say(_: str) -> Answer:
        met.set()
        return 200, {"state": "done"}

    (tmp_path / "names").write_text("a/b")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(read=lambda: met.wait(30)))

    load_generator.main(0.001, str(tmp_path / "names"), page(say))

    told = json.loads(capsys.readouterr().out)
    assert (told["sent"], told["answered"]) == (1, 1)
