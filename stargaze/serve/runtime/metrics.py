"""What the page measures of itself, for Prometheus: every process writes files, the supervisor reads all of them.

Where no folder is set, nothing is measured and nothing is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stargaze.errors import ExternalError, StargazeError, UsageError

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram, Metric

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder; the supervisor makes it empty before it starts the others."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""A client may invent others; each would be one more line for ever."""
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Instruments:
    """What one process counts and times."""

    requests: Counter
    request_seconds: Histogram
    questions: Counter
    queue_seconds: Histogram
    prediction_seconds: Histogram
    batch_size: Histogram
    errors: Counter


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an answered request; a route is a rule as ``/predictions/<job_id>``, so that there are few."""
    if found := _instruments():
        found.requests.labels(method if method in METHODS else "other", route or "none", status).inc()
        found.request_seconds.observe(seconds)


def observe_job(outcome: str) -> None:
    """Count a question that ended: ``accepted``, ``done``, ``failed``."""
    if found := _instruments():
        found.questions.labels(outcome).inc()


def observe_queue_wait(seconds: float) -> None:
    """Note how long a question waited for a worker [s]."""
    if found := _instruments():
        found.queue_seconds.observe(max(0.0, seconds))


def observe_prediction(seconds: float, batch: int) -> None:
    """Note how long a batch of questions took [s], and how many they were."""
    if found := _instruments():
        found.prediction_seconds.observe(seconds)
        found.batch_size.observe(batch)


def observe_error(kind: str) -> None:
    """Count what went wrong, by the class of the error."""
    if found := _instruments():
        found.errors.labels(kind).inc()


def serve_metrics(
    port: int, queue_length: Callable[[], int], digest: Callable[[], str], *, folder: str = ""
) -> Callable[[], None]:
    """Answer Prometheus on a port of this machine only, with what all processes wrote; return what ends it.

    The folder is that of the environment unless it is given.

    Raises
    ------
    UsageError
        If no folder is set.
    ExternalError
        If the port is taken.
    """
    path = folder or os.environ.get(METRICS_FOLDER_VARIABLE, "")
    if not path:
        raise UsageError(
            "no folder is set in which processes could count", hint=f"export {METRICS_FOLDER_VARIABLE}=FOLDER"
        )
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]  # half of it is typed
    registry.register(_Now(queue_length, digest))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise ExternalError(
            f"metrics cannot be served on port {port}: {error}", hint="set serve.metrics_port to a free one"
        ) from error

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return close


class _Now:
    """What is asked for when Prometheus asks; what cannot be said is left out, the rest is told all the same."""

    def __init__(self, queue_length: Callable[[], int], digest: Callable[[], str]) -> None:
        self._queue_length = queue_length
        self._digest = digest

    def describe(self) -> list[Metric]:
        """Let nobody ask before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        with contextlib.suppress(StargazeError, OSError):
            yield GaugeMetricFamily("stargaze_queue_length", "Questions that wait.", value=self._queue_length())
        with contextlib.suppress(StargazeError, OSError):
            release = GaugeMetricFamily("stargaze_release_info", "The release that serves.", labels=["digest"])
            release.add_metric([self._digest()], 1)
            yield release


def _instruments() -> Instruments | None:
    return _made() if os.environ.get(METRICS_FOLDER_VARIABLE) else None


@functools.cache
def _made() -> Instruments:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    here = CollectorRegistry()
    return Instruments(
        Counter("stargaze_requests", "Answered requests.", ["method", "route", "status"], registry=here),
        Histogram("stargaze_request_seconds", "From a request to its answer [s].", buckets=SECONDS, registry=here),
        Counter("stargaze_questions", "Questions, by how they ended.", ["outcome"], registry=here),
        Histogram("stargaze_queue_seconds", "From accepted to taken by a worker [s].", buckets=SECONDS, registry=here),
        Histogram(
            "stargaze_prediction_seconds", "To answer one batch of questions [s].", buckets=SECONDS, registry=here
        ),
        Histogram("stargaze_batch_size", "Questions that were answered together.", buckets=BATCHES, registry=here),
        Counter("stargaze_errors", "What went wrong, by its kind.", ["kind"], registry=here),
    )
