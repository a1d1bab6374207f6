"""Files by which a container's processes say how they are, and the health check that reads them."""

from __future__ import annotations

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stargaze.serve.runtime import healthcheck as health
from stargaze.serve.runtime.status_files import (
    heartbeat_file,
    is_heartbeat_recent,
    record_served_bundle,
    role_file,
    served_bundles,
)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    folder = tmp_path / "queue"
    folder.mkdir()
    return folder


def test_a_process_says_what_it_answers_with_as_long_as_it_lives(queue: Path) -> None:
    record_served_bundle(queue)("a" * 64)
    record_served_bundle(queue)("b" * 64)
    gone = subprocess.Popen(["true"])
    gone.wait()
    (queue / "serves" / str(gone.pid)).write_text("c" * 64)

    assert served_bundles(queue) == ["b" * 64]
    assert [path.name for path in (queue / "serves").iterdir()] == [str(os.getpid())]


def test_a_worker_is_well_once_it_is_ready_and_while_its_loop_turns(queue: Path) -> None:
    role_file(queue).write_text("worker")
    assert health.main([], queue) == 1

    (queue / "ready-0").touch()
    heartbeat_file(queue).touch()
    assert health.main([], queue) == 0

    os.utime(heartbeat_file(queue), (0, 0))
    assert not is_heartbeat_recent(queue, 60)
    assert health.main([], queue) == 1


def test_a_page_must_be_ready_once_and_alive_from_then_on(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away is not mended by new pages."""
    role_file(queue).write_text("web")
    answers = {"/readyz": 503}

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers[self.path])
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        monkeypatch.setattr(health, "WEB_PORT", server.server_address[1])
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert health.main([], queue) == 1
            answers["/readyz"] = 200
            assert health.main([], queue) == 0
            answers["/readyz"] = 503
            assert health.main([], queue) == 0
        finally:
            server.shutdown()
    assert health.main([], queue) == 1


def test_what_is_asked_for_is_told_as_json(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert health.main(["serves"], queue) == 0
    assert capsys.readouterr().out == "[]\n"
