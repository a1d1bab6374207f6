"""Status files of a container's processes, the health check that reads them, and the queue folder."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stargaze.serve.runtime import healthcheck
from stargaze.serve.runtime.status_files import (
    HEARTBEAT_FILE,
    ROLE_FILE,
    is_heartbeat_recent,
    prepare_queue_folder,
    record_heartbeat,
    record_served_bundle,
    served_bundles,
)
from stargaze.store import Store


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    folder = tmp_path / "queue"
    folder.mkdir()
    return folder


def test_only_living_processes_report_their_bundle(queue: Path) -> None:
    record_served_bundle(queue, "a" * 64)
    record_served_bundle(queue, "b" * 64)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (queue / "served-bundles" / str(ended.pid)).write_text("c" * 64)

    assert served_bundles(queue) == ["b" * 64]
    assert [path.name for path in (queue / "served-bundles").iterdir()] == [str(os.getpid())]


def test_a_worker_is_healthy_if_it_is_ready_and_has_a_heartbeat(queue: Path) -> None:
    (queue / ROLE_FILE).write_text("worker")
    assert healthcheck.main([], queue) == 1

    (queue / "ready-0").touch()
    record_heartbeat(queue)
    assert healthcheck.main([], queue) == 0

    os.utime(queue / HEARTBEAT_FILE, (os.getpid(), time.monotonic() - 61))
    assert not is_heartbeat_recent(queue, 60)
    assert healthcheck.main([], queue) == 1


def test_a_busy_process_needs_no_heartbeat_unless_it_is_dead(queue: Path) -> None:
    record_heartbeat(queue, 100.0)
    assert is_heartbeat_recent(queue, 1.0)
    ended = subprocess.Popen(["true"])
    ended.wait()

    os.utime(queue / HEARTBEAT_FILE, (ended.pid, time.monotonic() + 100))

    assert not is_heartbeat_recent(queue, 1.0)


def test_a_heartbeat_needs_no_space_and_no_clock(queue: Path) -> None:
    record_heartbeat(queue)

    status = (queue / HEARTBEAT_FILE).stat()
    assert status.st_size == 0
    assert abs(status.st_mtime - time.monotonic()) < 60


def test_a_heartbeat_of_an_earlier_start_of_the_machine_does_not_count(store: Store) -> None:
    prepare_queue_folder(store)
    record_heartbeat(store.queue, 10_000.0)

    prepare_queue_folder(store)

    assert not is_heartbeat_recent(store.queue, 60.0)


def test_a_web_server_must_be_ready_once_and_then_only_listen(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the container does not help while the broker is unreachable."""
    (queue / ROLE_FILE).write_text("web")
    status = {"/readyz": 503}

    class WebServer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[self.path])
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), WebServer) as server:
        monkeypatch.setattr(healthcheck, "WEB_PORT", server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            assert healthcheck.main([], queue) == 1
            status["/readyz"] = 200
            assert healthcheck.main([], queue) == 0
            status["/readyz"] = 503
            assert healthcheck.main([], queue) == 0
        finally:
            server.shutdown()
    assert healthcheck.main([], queue) == 1


def test_served_bundles_are_printed_as_json(queue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main(["served-bundles"], queue) == 0
    assert capsys.readouterr().out == "[]\n"


def test_a_queue_folder_of_another_version_is_emptied_with_its_results(store: Store) -> None:
    """Messages and results are transient, so nothing is migrated."""
    store.queue.mkdir(parents=True)
    stale = [store.queue / "pulse", store.queue / "message.msg", store.results]
    for path in stale:
        path.write_text("of another version")

    prepare_queue_folder(store)

    assert [path for path in stale if path.exists()] == []
    assert (store.queue / "messages").is_dir()


def test_a_queue_folder_of_this_version_is_kept(store: Store) -> None:
    prepare_queue_folder(store)
    (store.queue / "messages" / "message.msg").touch()
    store.results.touch()

    prepare_queue_folder(store)

    assert (store.queue / "messages" / "message.msg").exists()
    assert store.results.exists()
