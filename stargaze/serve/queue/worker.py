"""The worker process: Celery with nothing that one machine does not need."""

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
from stargaze.serve.prediction.answer import answer_requests
from stargaze.serve.prediction.context import PredictionContext
from stargaze.serve.prediction_request import Answer, ErrorDetails, PredictionRequest, error_details
from stargaze.serve.queue.backends import declare
from stargaze.serve.queue.celery_app import make_app, register
from stargaze.serve.queue.worker_context import finders_of, ledger_of, past_of
from stargaze.serve.runtime import request_log as requestlog
from stargaze.serve.runtime.hot_reload import HotReloaded
from stargaze.serve.runtime.settings import read_environment, read_sources, ready_file
from stargaze.serve.runtime.status_files import (
    HEARTBEAT_INTERVAL,
    heartbeat_file,
    read_reload_interval,
    record_served_bundle,
)
from stargaze.store import Store

CLEAN_UP = 3600.0
"""How often answers that have expired are dropped [s]."""

log = logging.getLogger(__name__)


def main(environ: Mapping[str, str]) -> None:
    """Answer questions with the bundle that serves, until told to end."""
    section, store = read_environment(environ)
    sources = read_sources(environ)
    finders, past, ledger = (
        finders_of(section, sources, store, environ),
        past_of(sources, store),
        ledger_of(section, store),
    )

    def open_office(folder: Path) -> PredictionContext:
        bundle = load(folder)
        office = PredictionContext(bundle, finders(bundle), past, ledger)
        office.prepare()
        return office

    offices = HotReloaded(store.current, open_office)
    app = make_app(section, store)
    register(app, lambda questions: answer(offices, questions), section)
    interval = read_reload_interval(environ)

    def prepare() -> None:
        if interval:
            offices.reload_in_background(interval, partial(record_served_bundle, store.queue))
        warm_up(offices)

    run(app, section, store, prepare=prepare)


def answer(
    offices: HotReloaded[PredictionContext], questions: Sequence[PredictionRequest]
) -> Sequence[Answer | ErrorDetails]:
    """Answer with the release of this moment; where there is none, or it cannot be loaded, that is the answer."""
    try:
        office = offices.get()
    except StargazeError as error:
        return [error_details(error)] * len(questions)
    return answer_requests(office, questions, datetime.now(UTC))


def load(folder: Path) -> Bundle:
    """Load the bundle and let it predict its prototype: a model that answers otherwise here must not answer at all."""
    bundle = Bundle.load(folder)
    bundle.check_prototype()
    return bundle


def warm_up(offices: HotReloaded[PredictionContext]) -> None:
    """Answer one question that nobody asked: importing and loading take seconds that the first visitor is spared."""
    office = offices.get().offline()
    answer_requests(
        office, [PredictionRequest((name,)) for name in office.bundle.known["full_name"].head(1)], datetime.now(UTC)
    )


def run(app: Celery, section: ServeSection, store: Store, *, prepare: Callable[[], Any]) -> None:
    """Start Celery's worker; ``prepare`` runs in each of its children before their first question."""
    signals.setup_logging.connect(lambda **_: requestlog.configure_logging("worker"), weak=False)
    app.set_current()  # a child finds its task through the app that is current
    if section.broker_url:
        with app.connection_for_write() as connection:
            connection.ensure_connection(interval_max=2.0)  # a broker that starts later is waited for
            declare(connection)
    ready = ready_file(store, os.getppid())

    def begin(**_: Any) -> None:
        # In the child, not before the fork: LightGBM's threads do not survive one.
        with contextlib.suppress(StargazeError):  # the first question tries again and reports it
            prepare()
        ready.touch()

    next_cleaning = 0.0

    def tidy(**_: Any) -> None:
        nonlocal next_cleaning
        if time.monotonic() >= next_cleaning:
            next_cleaning = time.monotonic() + CLEAN_UP
            app.backend.cleanup()

    app.steps["worker"].add(FastShutdown)
    app.steps["consumer"].add(Pulse)
    signals.worker_process_init.connect(begin, weak=False)
    signals.task_postrun.connect(tidy, weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(
        ["worker", "--pool=prefork", f"--concurrency={section.worker_processes}", "--loglevel=INFO", *quiet]
    )


class FastShutdown(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """End the process once no question is left: Celery's pool would take five seconds to notice its own end."""

    requires = ("celery.worker.components:Pool",)

    def stop(self, parent: Any) -> None:
        """Leave, unless a prediction still runs: the consumer has stopped, and gave back what it had not begun."""
        if not state.active_requests:
            for pid in parent.pool.info["processes"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os._exit(0)


class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Touch a file from the main loop: whoever looks at its date knows that the loop turns, and loads nothing for it."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Begin, each time that the broker has been reached."""
        path = heartbeat_file(read_environment(os.environ)[1].queue)
        self._timer = parent.timer.call_repeatedly(HEARTBEAT_INTERVAL, path.touch)

    def stop(self, parent: Any) -> None:
        """Pause."""
        self._timer.cancel()


if __name__ == "__main__":
    main(os.environ)
