"""The worker process: Celery without the features that one machine does not need."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker import state

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import ServeSection
from stargaze.errors import StargazeError
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.lookup.github_history import GithubStarHistories
from stargaze.serve.lookup.github_repositories import GithubRepositories
from stargaze.serve.lookup.github_requests import open_github
from stargaze.serve.lookup.growth import load_release_growth
from stargaze.serve.lookup.live import BundledRepositories, GithubLookup, RepositoryLookup
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.serve.prediction.track_record import TrackRecord
from stargaze.serve.prediction_request import Answer, ErrorDetails, PredictionRequest, error_details
from stargaze.serve.queue.backends import QUEUE_ERRORS, RESULT_STORE_ERRORS, declare_queues
from stargaze.serve.queue.celery_app import HEARTBEAT, create_celery_app, fail_dead_letter, register_task, send_message
from stargaze.serve.queue.result_store import ResultStore
from stargaze.serve.release.release_folder import check_release_name
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.request_log import configure_logging
from stargaze.serve.runtime.settings import Sources, read_environment, read_sources, ready_file
from stargaze.serve.runtime.status_files import (
    is_heartbeat_recent,
    read_reload_interval,
    record_heartbeat,
    record_served_bundle,
)
from stargaze.store import Store
from stargaze.system.process import TOKEN_VARIABLE

CLEANUP_INTERVAL = 3600.0
"""Time between two removals of expired results [s]."""
HEARTBEAT_INTERVAL, BROKER_HEARTBEAT_INTERVAL = 1.0, 5.0
"""Time between two heartbeats, without and with a broker [s]."""
START_TIMEOUT = 120.0
"""The longest time for loading the bundle in a new process [s]."""

log = logging.getLogger(__name__)


def main(environ: Mapping[str, str]) -> None:
    """Answer jobs with the current bundle until a signal."""
    section, store = read_environment(environ)
    context = HotReloaded(store.current, create_context_loader(section, read_sources(environ), store, environ))
    app = create_celery_app(section, store)
    register_task(app, partial(answer_with_current_bundle, context), section, store)

    def prepare() -> None:
        if interval := read_reload_interval(environ):
            context.reload_in_background(interval, partial(record_served_bundle, store.queue))
        warm_up(context)

    run_worker(app, section, store, prepare=prepare)


def answer_with_current_bundle(
    context: HotReloaded[PredictionContext], requests: Sequence[PredictionRequest]
) -> Sequence[Answer | ErrorDetails]:
    """Answer with the current bundle; if there is none or it cannot be loaded, return that error for each request."""
    try:
        current = context.get()
    except StargazeError as error:
        return [error_details(error)] * len(requests)
    return answer_requests(current, requests, datetime.now(UTC))


def warm_up(context: HotReloaded[PredictionContext]) -> None:
    """Answer one request without lookups, so that importing and loading do not delay the first visitor."""
    offline = context.get().offline()
    names = offline.bundle.known["full_name"].head(1)
    answer_requests(offline, [PredictionRequest((name,)) for name in names], datetime.now(UTC))


def run_worker(app: Celery, section: ServeSection, store: Store, *, prepare: Callable[[], Any]) -> None:
    """Run Celery's worker; ``prepare`` runs in each of its processes before their first job."""
    signals.setup_logging.connect(lambda **_: configure_logging("worker"), weak=False)
    results = ResultStore(app)
    app.conf.worker_proc_alive_timeout = START_TIMEOUT
    if not section.broker_url:
        app.conf.broker_transport_options["on_dead_letter"] = partial(fail_dead_letter, results, section)
    app.set_current()  # a child process finds its task through the current app
    if section.broker_url:
        with app.connection_for_write() as connection:
            connection.ensure_connection(interval_max=2.0)  # waits for a broker that starts later
            declare_queues(connection)
    ready = ready_file(store, os.getppid())

    def on_process_start(**_: Any) -> None:
        record_heartbeat(store.queue, START_TIMEOUT)
        # In the child, not before the fork: LightGBM's threads do not survive a fork.
        with contextlib.suppress(StargazeError):  # the first job tries again and reports it
            prepare()
        record_heartbeat(store.queue)
        with contextlib.suppress(OSError):  # the folder was deleted, or the disk is full
            ready.touch()

    next_cleanup = 0.0

    def on_task_end(**_: Any) -> None:
        nonlocal next_cleanup
        if time.monotonic() >= next_cleanup:
            next_cleanup = time.monotonic() + CLEANUP_INTERVAL
            with contextlib.suppress(*RESULT_STORE_ERRORS):
                results.cleanup()

    app.steps["worker"].add(FastShutdown)
    app.steps["consumer"].add(Heartbeat)
    signals.worker_process_init.connect(on_process_start, weak=False)
    signals.task_postrun.connect(on_task_end, weak=False)
    argv = ["worker", "--pool=prefork", f"--concurrency={section.worker_processes}", "--loglevel=INFO"]
    app.worker_main([*argv, "--without-gossip", "--without-mingle", "--without-heartbeat"])


class FastShutdown(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """End the process as soon as no job is running; Celery's pool would take five seconds."""

    requires = ("celery.worker.components:Pool",)

    def stop(self, parent: Any) -> None:
        """End, unless a prediction is running: the consumer has stopped and returned the jobs that were not started."""
        if not state.active_requests:
            for pid in parent.pool.info["processes"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(0)


class Heartbeat(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Send a message to the queue from time to time: a prediction process that gets it records its heartbeat.

    All workers of a broker send some, and it delivers them in turn, so each of them gets its share.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Start, each time that the broker is reached."""
        section, store = read_environment(os.environ)

        def send() -> None:
            if is_heartbeat_recent(store.queue, -1.0):  # busy
                return
            try:
                send_message(parent.app, section, HEARTBEAT, retry=False)
            except QUEUE_ERRORS as error:
                log.warning("no heartbeat: %s", error)

        interval = BROKER_HEARTBEAT_INTERVAL if section.broker_url else HEARTBEAT_INTERVAL
        self._timer = parent.timer.call_repeatedly(interval, send)

    def stop(self, parent: Any) -> None:
        """Stop."""
        self._timer.cancel()


def create_context_loader(
    section: ServeSection, sources: Sources, store: Store, environ: Mapping[str, str]
) -> Callable[[Path], PredictionContext]:
    """Return the function that loads the prediction context of a release: its star bundle and its growth bundle, or neither."""
    exclusions = Exclusions.parse(section.exclude)
    repositories = open_repositories(section, sources, store, environ)
    create_lookup = create_lookup_factory(section, repositories)
    live_histories = GithubStarHistories(repositories) if repositories else None
    histories = StarHistories(store, sources.history, live_histories, sources.form)
    track_record = open_track_record(section, store)

    def load_context(folder: Path) -> PredictionContext:
        bundle = Bundle.load(folder)
        bundle.check_prototype()  # a model that predicts other values on this machine must not be used
        growth = load_release_growth(folder)
        check_release_name(folder, bundle.digest, growth.digest if growth else None)
        context = PredictionContext(bundle, create_lookup(bundle), histories, track_record, growth, exclusions)
        context.prepare()
        return context

    return load_context


def open_repositories(
    section: ServeSection, sources: Sources, store: Store, environ: Mapping[str, str]
) -> GithubRepositories | None:
    """Return the repositories of GitHub, for all releases of a process; None if the config disables lookups."""
    if not section.github_lookup:
        return None
    exclusions = Exclusions.parse(section.exclude)
    requests = open_github(sources.github_url, environ.get(TOKEN_VARIABLE, ""), store, exclusions=exclusions)
    return GithubRepositories(requests, exclusions)


def create_lookup_factory(
    section: ServeSection, repositories: GithubRepositories | None
) -> Callable[[Bundle], RepositoryLookup]:
    """Return the function that creates a bundle's lookup."""
    exclusions = Exclusions.parse(section.exclude)
    if repositories is None:
        return partial(BundledRepositories, exclusions=exclusions)
    return partial(GithubLookup, github=repositories, exclusions=exclusions)


def open_track_record(section: ServeSection, store: Store) -> TrackRecord | None:
    """Return the track record; None if the config disables it."""
    return TrackRecord(store.predictions, Exclusions.parse(section.exclude)) if section.track_record else None


if __name__ == "__main__":
    main(os.environ)
