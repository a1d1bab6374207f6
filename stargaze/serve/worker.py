"""The worker process: Celery with nothing that one machine does not need."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from celery import Celery, signals

from stargaze.artifacts import Store
from stargaze.bundle import Bundle
from stargaze.config import ServeSection
from stargaze.errors import StargazeError
from stargaze.serve.answer import respond
from stargaze.serve.following import Following
from stargaze.serve.settings import from_environment, ready_file
from stargaze.serve.tasks import make_app, register

CLEAN_UP = 3600.0
"""How often answers that have expired are dropped [s]."""

log = logging.getLogger(__name__)


def main(environ: Mapping[str, str]) -> None:
    """Answer questions with the bundle that serves, until told to end."""
    section, store = from_environment(environ)
    bundles = Following(store.current, Bundle.load)
    app = make_app(section, store)
    register(app, lambda question: respond(bundles.get(), question, datetime.now(UTC)), section.time_limit)
    run(app, section, store, warm_up=bundles.get)


def run(app: Celery, section: ServeSection, store: Store, *, warm_up: Callable[[], Any]) -> None:
    """Start Celery's worker; ``warm_up`` runs in each of its children before their first question."""

    def begin(**_: Any) -> None:
        # In the child, not before the fork: LightGBM's threads do not survive one.
        with contextlib.suppress(StargazeError):  # the first question tries again and reports it
            warm_up()

    def announce(sender: Any, **_: Any) -> None:
        app.backend.cleanup()
        sender.timer.call_repeatedly(min(CLEAN_UP, section.results_expire), app.backend.cleanup)
        ready_file(store, os.getppid()).touch()

    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_ready.connect(announce, weak=False)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={section.workers}", "--loglevel=INFO", *quiet])


if __name__ == "__main__":
    main(os.environ)
