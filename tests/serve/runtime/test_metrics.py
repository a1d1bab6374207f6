"""What is measured, and where it is told."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from stargaze.errors import ExternalError, UsageError
from stargaze.serve.runtime.metrics import METRICS_FOLDER_VARIABLE, serve_metrics
from stargaze.serve.supervisor.listen_socket import listen

OBSERVED = """
from stargaze.serve.runtime.metrics import *
observe_request("GET", "/predictions/<ticket_id>", 200, 0.003)
observe_request("JUMP", "", 404, 0.003)
observe_job("done")
observe_queue_wait(-0.1)
observe_queue_wait(0.2)
observe_prediction(0.04, 64)
observe_error("ExternalError")
"""


def process(code: str, folder: Path | None) -> str:
    environ = {**os.environ, METRICS_FOLDER_VARIABLE: str(folder) if folder else ""}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return done.stdout


def told(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def scraped(
    folder: Path, queue_length: Callable[[], int] = lambda: 3, digest: Callable[[], str] = lambda: "ab12"
) -> str:
    """Serve, ask once and close again."""
    port = free_port()
    close = serve_metrics(port, queue_length, digest, folder=str(folder))
    try:
        return told(port)
    finally:
        close()


def fails() -> int:
    raise ExternalError("the queue is away")


@pytest.mark.real
def test_what_every_process_counted_is_told_in_sum(tmp_path: Path) -> None:
    for _ in range(2):
        process(OBSERVED, tmp_path)

    text = scraped(tmp_path)

    for line in (
        'stargaze_requests_total{method="GET",route="/predictions/<ticket_id>",status="200"} 2.0',
        'stargaze_requests_total{method="other",route="none",status="404"} 2.0',
        "stargaze_request_seconds_count 4.0",
        'stargaze_questions_total{outcome="done"} 2.0',
        "stargaze_queue_seconds_count 4.0",
        "stargaze_prediction_seconds_count 2.0",
        "stargaze_batch_size_sum 128.0",
        'stargaze_errors_total{kind="ExternalError"} 2.0',
        "stargaze_queue_length 3.0",
        'stargaze_release_info{digest="ab12"} 1.0',
    ):
        assert line in text.splitlines()


@pytest.mark.real
def test_a_process_that_was_forked_counts_for_itself(tmp_path: Path) -> None:
    forked = """
import os
from stargaze.serve.runtime.metrics import observe_job
observe_job("done")
child = os.fork()
observe_job("done")
if child:
    os.waitpid(child, 0)
"""
    process(forked, tmp_path)

    assert 'stargaze_questions_total{outcome="done"} 3.0' in scraped(tmp_path)


def test_a_queue_that_is_away_leaves_out_its_length_alone(tmp_path: Path) -> None:
    text = scraped(tmp_path, queue_length=fails)

    assert "stargaze_queue_length" not in text
    assert "stargaze_release_info" in text


def test_only_this_machine_is_answered(tmp_path: Path) -> None:
    port = free_port()
    close = serve_metrics(port, lambda: 0, str, folder=str(tmp_path))
    try:
        with listen("127.0.0.2", port):  # taken, if the port were served on every address
            assert "stargaze_queue_length 0.0" in told(port)
    finally:
        close()


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(ExternalError, match="metrics cannot be served on port"):
        serve_metrics(listener.getsockname()[1], lambda: 0, str, folder=str(tmp_path))


def test_metrics_without_a_folder_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(METRICS_FOLDER_VARIABLE, raising=False)

    with pytest.raises(UsageError, match="no folder"):
        serve_metrics(free_port(), lambda: 0, str)


@pytest.mark.real
def test_without_a_folder_nothing_is_imported() -> None:
    assert process(OBSERVED + 'import sys; print("prometheus_client" in sys.modules)', None).strip() == "False"


def test_the_page_itself_tells_no_metrics(page: FlaskClient) -> None:
    assert page.get("/metrics").status_code == 404


@pytest.mark.real
def test_a_request_is_counted_by_its_rule_and_not_by_its_address(tmp_path: Path) -> None:
    """Whoever asks for a thousand addresses that do not exist must not make a thousand counters."""
    asking = """
from flask import Flask
from stargaze.serve.runtime.request_log import log_requests
web = Flask("stargaze.serve")
log_requests(web)
web.get("/of/<name>")(lambda name: name)
for path in ("/of/one", "/of/two", "/nothing", "/nowhere"):
    web.test_client().get(path)
"""
    process(asking, tmp_path)

    text = scraped(tmp_path)

    assert 'stargaze_requests_total{method="GET",route="/of/<name>",status="200"} 2.0' in text
    assert 'stargaze_requests_total{method="GET",route="none",status="404"} 2.0' in text
