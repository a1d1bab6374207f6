"""Schemathesis tests the API against its OpenAPI document with generated requests."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import PredictionJob, PredictionRequest
from stargaze.serve.web.app import make_web
from stargaze.store import Store

if TYPE_CHECKING:
    from tests.serve.fake_queue import FakePredictionQueue

EXAMPLES, SEED, LIMIT = 40, 20260301, 900.0
SEEDS = [SEED + number for number in range(int(os.environ.get("STARGAZE_SCHEMATHESIS_SEEDS", "1")))]
PHASES = (
    "examples,coverage,fuzzing,stateful" if "STARGAZE_SCHEMATHESIS_SEEDS" in os.environ else "examples,fuzzing,stateful"
)
"""The coverage of all values of all fields takes minutes: STARGAZE_SCHEMATHESIS_SEEDS=3."""
CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 404, 422, 503]

[[operations]]
include-operation-id = "repository"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 400, 404, 503]
"""
"""A schema of one request cannot express that a key was already used, or that a what-if is later than the repository's values."""

HOOKS = """
import schemathesis
from hypothesis import strategies

schemathesis.openapi.format("date", strategies.just("2016-06-01"))
TOTALS = {"issues", "pull_requests", "commits", "releases"}


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) or isinstance(value, str) and value.isdigit()


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body if isinstance(case.body, dict) else {}
    figures = body.get("figures") if isinstance(body.get("figures"), list) else []
    for row in [*figures, body.get("what_if")]:
        if isinstance(row, dict) and len(row) > 1:
            for name in [name for name, value in row.items() if name in TOTALS and is_count(value)]:
                if len(row) > 1:
                    del row[name]
"""
"""A schema cannot reject dates in the future, in the wrong order, or after those of the repository, nor fewer issues than open
ones: a total is sent alone."""


class InstantQueue:
    """Answers each request when it is submitted."""

    def __init__(self, queue: FakePredictionQueue) -> None:
        self._queue = queue
        self._lock = threading.Lock()

    def submit(self, request: PredictionRequest, *, key: str = "", request_id: str = "") -> PredictionJob:
        with self._lock:
            job = self._queue.submit(request, key=key, request_id=request_id)
            if job.state == "queued":
                answered = dataclasses.replace(job, **self._queue._result(job))
                self._queue.jobs[job.id] = answered
            return self._queue.jobs[job.id]

    def find(self, request: PredictionRequest) -> PredictionJob | None:
        with self._lock:
            return self._queue.find(request)

    def get(self, job_id: str) -> PredictionJob | None:
        return self._queue.get(job_id)

    def finished(self, job_ids: Collection[str]) -> Mapping[str, PredictionJob | None]:
        return self._queue.finished(job_ids)

    def check(self) -> None:
        self._queue.check()


class SilentHandler(WSGIRequestHandler):
    """Does not log requests."""

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        pass


@contextlib.contextmanager
def serve(store: Store, queue: FakePredictionQueue) -> Iterator[str]:
    """Serve the app on loopback without a rate limit."""
    web = make_web(ServeSection(rate_limit=0), store, InstantQueue(queue))
    server = make_server("127.0.0.1", 0, web, threaded=True, request_handler=SilentHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.real
@pytest.mark.parametrize("seed", SEEDS)
def test_schemathesis_finds_no_difference(
    released_store: Store, queue: FakePredictionQueue, tmp_path: Path, seed: int
) -> None:
    with serve(released_store, queue) as url:
        (tmp_path / "schemathesis.toml").write_text(CHECKS)
        (tmp_path / "hooks.py").write_text(HOOKS)
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{url}/api/v1/openapi.json",
            "--checks=all",
        ]
        command += [f"--max-examples={EXAMPLES}", f"--seed={seed}", "--no-shrink", "--generation-database=none"]
        command += ["--continue-on-failure", "--no-color", f"--phases={PHASES}"]
        environ = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(tmp_path)}
        completed = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=tmp_path, env=environ
        )

    assert completed.returncode == 0, completed.stdout[-8_000:] + completed.stderr[-2_000:]
    result = re.search(r"([\d,]+) generated", completed.stdout)
    assert result
    assert int(result[1].replace(",", "")) > 300
