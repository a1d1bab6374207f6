"""Metrics for Prometheus: every process writes them to files in one folder, the supervisor serves the sums.

Without a folder in the environment nothing is recorded and nothing is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stargaze.errors import ExternalError, StargazeError

if TYPE_CHECKING:
    from prometheus_client import Metric

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that names the folder; the supervisor creates it empty before it starts the other processes."""
DURATIONS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper limits of the histogram's buckets [s]."""
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""A client may invent others; each would be a time series."""


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count an HTTP request; ``route`` is a rule like ``/predictions/<job_id>``, so that there are few."""
    if metrics := _metrics():
        metrics["http_requests"].labels(method if method in METHODS else "other", route or "none", status).inc()
        metrics["http_request_seconds"].observe(seconds)


def observe_job(outcome: str) -> None:
    """Count a prediction job that was ``accepted``, ``done`` or ``failed``."""
    if metrics := _metrics():
        metrics["prediction_jobs"].labels(outcome).inc()


def observe_queue_wait(seconds: float) -> None:
    """Record how long a job waited for a worker [s]."""
    if metrics := _metrics():
        metrics["queue_wait_seconds"].observe(max(0.0, seconds))


def observe_prediction(seconds: float, batch_size: int) -> None:
    """Record how long the prediction of a batch took [s], and its number of jobs."""
    if metrics := _metrics():
        metrics["prediction_seconds"].observe(seconds)
        metrics["batch_size"].observe(batch_size)


def observe_error(kind: str) -> None:
    """Count an error by its class."""
    if metrics := _metrics():
        metrics["errors"].labels(kind).inc()


def serve_metrics(
    port: int, folder: str, queue_length: Callable[[], int], release: Callable[[], tuple[str, str | None]]
) -> Callable[[], None]:
    """Serve the metrics of all processes on a loopback port; return the function that stops it.

    ``release`` returns the digests of the installed star bundle and growth bundle.
    """
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]  # only partly typed
    registry.register(_CurrentState(queue_length, release))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        message = f"metrics cannot be served on port {port}: {error}"
        raise ExternalError(message, hint="set serve.metrics_port to a free one") from error

    def close() -> None:
        server.shutdown()
        thread.join()
        server.server_close()

    return close


@dataclass(frozen=True)
class _CurrentState:
    """Gauges that are computed at each scrape; one that fails is left out."""

    queue_length: Callable[[], int]
    release: Callable[[], tuple[str, str | None]]

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering computes nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        with contextlib.suppress(StargazeError, OSError):
            yield GaugeMetricFamily("stargaze_queue_length", "Waiting prediction jobs.", value=self.queue_length())
        with contextlib.suppress(StargazeError, OSError):
            labels = ["digest", "growth_digest"]
            release = GaugeMetricFamily("stargaze_release_info", "The current release.", labels=labels)
            release.add_metric([digest or "" for digest in self.release()], 1)
            yield release


def _metrics() -> dict[str, Any]:
    return _create_metrics() if os.environ.get(METRICS_FOLDER_VARIABLE) else {}


@functools.cache
def _create_metrics() -> dict[str, Any]:
    from prometheus_client import CollectorRegistry, Counter, Histogram

    registry = CollectorRegistry()
    counters = {
        "http_requests": ("HTTP requests.", ["method", "route", "status"]),
        "prediction_jobs": ("Prediction jobs by outcome.", ["outcome"]),
        "errors": ("Errors by class.", ["kind"]),
    }
    histograms = {
        "http_request_seconds": ("Duration of HTTP requests [s].", DURATIONS),
        "queue_wait_seconds": ("Time from acceptance until a worker takes the job [s].", DURATIONS),
        "prediction_seconds": ("Duration of one batch's prediction [s].", DURATIONS),
        "batch_size": ("Jobs in one batch.", BATCH_SIZES),
    }
    created = {name: Counter(f"stargaze_{name}", *options, registry=registry) for name, options in counters.items()}
    return created | {
        name: Histogram(f"stargaze_{name}", text, buckets=buckets, registry=registry)
        for name, (text, buckets) in histograms.items()
    }
