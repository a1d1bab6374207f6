"""The recorded metrics, and the address at which they are served."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from stargaze.errors import ExternalError
from stargaze.serve.runtime.metrics import METRICS_FOLDER_VARIABLE, serve_metrics
from stargaze.serve.supervisor.supervise import listen

OBSERVED = """
from stargaze.serve.runtime.metrics import *
observe_request("GET", "/predictions/<job_id>", 200, 0.003)
observe_request("JUMP", "", 404, 0.003)
observe_job("done")
observe_queue_wait(-0.1)
observe_queue_wait(0.2)
observe_prediction(0.04, 64)
observe_error("ExternalError")
"""


def run_process(code: str, folder: Path | None) -> str:
    environ = {**os.environ, METRICS_FOLDER_VARIABLE: str(folder) if folder else ""}
    completed = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return completed.stdout


def scrape(port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def serve_and_scrape(
    folder: Path,
    queue_length: Callable[[], int] = lambda: 3,
    release: Callable[[], tuple[str, str]] = lambda: ("ab12", "cd34"),
) -> str:
    """Serve, scrape once and close."""
    port = free_port()
    close = serve_metrics(port, str(folder), queue_length, release)
    try:
        return scrape(port)
    finally:
        close()


def fails() -> int:
    raise ExternalError("the queue is unreachable")


@pytest.mark.real
def test_the_metrics_of_all_processes_are_summed(tmp_path: Path) -> None:
    for _ in range(2):
        run_process(OBSERVED, tmp_path)

    text = serve_and_scrape(tmp_path)

    for line in (
        'stargaze_http_requests_total{method="GET",route="/predictions/<job_id>",status="200"} 2.0',
        'stargaze_http_requests_total{method="other",route="none",status="404"} 2.0',
        "stargaze_http_request_seconds_count 4.0",
        'stargaze_prediction_jobs_total{outcome="done"} 2.0',
        "stargaze_queue_wait_seconds_count 4.0",
        "stargaze_prediction_seconds_count 2.0",
        "stargaze_batch_size_sum 128.0",
        'stargaze_errors_total{kind="ExternalError"} 2.0',
        "stargaze_queue_length 3.0",
        'stargaze_release_info{digest="ab12",growth_digest="cd34"} 1.0',
    ):
        assert line in text.splitlines()


@pytest.mark.real
def test_a_forked_process_counts_for_itself(tmp_path: Path) -> None:
    forked = """
import os
from stargaze.serve.runtime.metrics import observe_job
observe_job("done")
child = os.fork()
observe_job("done")
if child:
    os.waitpid(child, 0)
"""
    run_process(forked, tmp_path)

    assert 'stargaze_prediction_jobs_total{outcome="done"} 3.0' in serve_and_scrape(tmp_path)


@pytest.mark.thorough
def test_an_unreachable_queue_leaves_out_only_its_length(tmp_path: Path) -> None:
    text = serve_and_scrape(tmp_path, queue_length=fails)

    assert "stargaze_queue_length" not in text
    assert "stargaze_release_info" in text


@pytest.mark.thorough
def test_metrics_are_served_on_loopback_only(tmp_path: Path) -> None:
    port = free_port()
    close = serve_metrics(port, str(tmp_path), lambda: 0, str)
    try:
        with listen("127.0.0.2", port):  # in use, if metrics were served on every address
            assert "stargaze_queue_length 0.0" in scrape(port)
    finally:
        close()


def test_a_port_in_use_is_an_error_of_one_line(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(ExternalError, match="metrics cannot be served on port"):
        serve_metrics(listener.getsockname()[1], str(tmp_path), lambda: 0, str)


@pytest.mark.real
def test_without_a_folder_nothing_is_imported() -> None:
    assert run_process(OBSERVED + 'import sys; print("prometheus_client" in sys.modules)', None).strip() == "False"


def test_the_web_server_itself_serves_no_metrics(page: FlaskClient) -> None:
    assert page.get("/metrics").status_code == 404


@pytest.mark.real
def test_a_request_is_counted_by_its_route_not_its_path(tmp_path: Path) -> None:
    """A client that requests a thousand missing paths must not create a thousand time series."""
    requests = """
from flask import Flask
from stargaze.serve.runtime.request_log import log_requests
web = Flask("stargaze.serve")
log_requests(web)
web.get("/of/<name>")(lambda name: name)
for path in ("/of/one", "/of/two", "/nothing", "/nowhere"):
    web.test_client().get(path)
"""
    run_process(requests, tmp_path)

    text = serve_and_scrape(tmp_path)

    assert 'stargaze_http_requests_total{method="GET",route="/of/<name>",status="200"} 2.0' in text
    assert 'stargaze_http_requests_total{method="GET",route="none",status="404"} 2.0' in text
