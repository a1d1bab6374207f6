"""Metrics for Prometheus: every process writes them to files in one folder, the supervisor serves the sums.

Without a folder in the environment nothing is recorded and nothing is imported.
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
"""Names the folder; the supervisor creates it empty before it starts the other processes."""
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper limits of the histogram's buckets [s]."""
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""A client may invent others; each would be a time series."""


@dataclass(frozen=True)
class Metrics:
    """The counters and histograms of one process."""

    requests: Counter
    request_seconds: Histogram
    jobs: Counter
    queue_seconds: Histogram
    prediction_seconds: Histogram
    batch_size: Histogram
    errors: Counter


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an HTTP request; ``route`` is a rule like ``/predictions/<job_id>``, so that there are few."""
    if metrics := _metrics():
        metrics.requests.labels(method if method in METHODS else "other", route or "none", status).inc()
        metrics.request_seconds.observe(seconds)


def observe_job(outcome: str) -> None:
    """Count a prediction job that was ``accepted``, ``done`` or ``failed``."""
    if metrics := _metrics():
        metrics.jobs.labels(outcome).inc()


def observe_queue_wait(seconds: float) -> None:
    """Record how long a job waited for a worker [s]."""
    if metrics := _metrics():
        metrics.queue_seconds.observe(max(0.0, seconds))


def observe_prediction(seconds: float, batch_size: int) -> None:
    """Record how long the prediction of a batch took [s], and its number of jobs."""
    if metrics := _metrics():
        metrics.prediction_seconds.observe(seconds)
        metrics.batch_size.observe(batch_size)


def observe_error(kind: str) -> None:
    """Count an error by its class."""
    if metrics := _metrics():
        metrics.errors.labels(kind).inc()


def serve_metrics(
    port: int, queue_length: Callable[[], int], digest: Callable[[], str], *, folder: str = ""
) -> Callable[[], None]:
    """Serve the metrics of all processes on a loopback port; return the function that stops it.

    ``folder`` is by default that of the environment.

    Raises
    ------
    UsageError
        If no folder is set.
    ExternalError
        If the port is in use.
    """
    path = folder or os.environ.get(METRICS_FOLDER_VARIABLE, "")
    if not path:
        raise UsageError("no folder for metrics is set", hint=f"export {METRICS_FOLDER_VARIABLE}=FOLDER")
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]  # only partly typed
    registry.register(_CurrentState(queue_length, digest))
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


class _CurrentState:
    """Gauges that are computed at each scrape; one that fails is left out."""

    def __init__(self, queue_length: Callable[[], int], digest: Callable[[], str]) -> None:
        self._queue_length = queue_length
        self._digest = digest

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering computes nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        with contextlib.suppress(StargazeError, OSError):
            yield GaugeMetricFamily("stargaze_queue_length", "Waiting prediction jobs.", value=self._queue_length())
        with contextlib.suppress(StargazeError, OSError):
            release = GaugeMetricFamily("stargaze_release_info", "The current release.", labels=["digest"])
            release.add_metric([self._digest()], 1)
            yield release


def _metrics() -> Metrics | None:
    return _create_metrics() if os.environ.get(METRICS_FOLDER_VARIABLE) else None


@functools.cache
def _create_metrics() -> Metrics:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    counter, histogram = functools.partial(Counter, registry=registry), functools.partial(Histogram, registry=registry)
    return Metrics(
        counter("stargaze_http_requests", "HTTP requests.", ["method", "route", "status"]),
        histogram("stargaze_http_request_seconds", "Duration of HTTP requests [s].", buckets=DURATIONS),
        counter("stargaze_prediction_jobs", "Prediction jobs by outcome.", ["outcome"]),
        histogram("stargaze_queue_wait_seconds", "From accepted to taken by a worker [s].", buckets=DURATIONS),
        histogram("stargaze_prediction_seconds", "Duration of one batch's prediction [s].", buckets=DURATIONS),
        histogram("stargaze_batch_size", "Jobs in one batch.", buckets=BATCH_SIZES),
        counter("stargaze_errors", "Errors by class.", ["kind"]),
    )
