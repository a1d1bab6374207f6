"""Celery's wiring: the app and its one task. What a prediction is stands in ``answer``."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Engine, event

from stargaze.artifacts import Store
from stargaze.config import ServeSection
from stargaze.errors import BadDataError, StargazeError
from stargaze.serve.settings import QUEUE
from stargaze.serve.tickets import ATTEMPTS, GRACE, RUNNING, Answer, Error, Question, Ticket, read, too_slow

TASK = "stargaze.predict"
POLLING = 0.05
"""The filesystem cannot wake a worker: it looks this often [s]."""

log = logging.getLogger(__name__)


def make_app(section: ServeSection, store: Store) -> Celery:
    """Wire Celery to the queue and the results below the store; page and worker share it."""
    app = Celery("stargaze", set_as_current=False)
    app.conf.update(
        broker_url="filesystem://",
        broker_transport="stargaze.serve.queue:Transport",
        broker_transport_options={
            "data_folder_in": str(messages(store)),
            "data_folder_out": str(messages(store)),
            "control_folder": str(store.queue / "control"),
            "polling_interval": POLLING,
        },
        broker_connection_retry_on_startup=True,
        result_backend=f"db+sqlite:///{store.results}",
        result_backend_always_retry=False,  # a full disk is answered with 503 at once, not after some retries
        database_engine_callback=_tune_sqlite,
        result_expires=section.results_expire,
        accept_content=["json"],
        result_accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_soft_time_limit=section.time_limit,
        task_time_limit=section.time_limit + GRACE,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        worker_prefetch_multiplier=1,
        worker_lost_wait=1.0,  # [s]; Celery waits ten for an answer that a dead worker may have sent
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=True,
        enable_utc=True,
    )
    return app


def messages(store: Store) -> Path:
    """Return the folder of messages that wait."""
    return store.queue / "messages"


def register(app: Celery, respond: Callable[[Question], Answer], time_limit: float) -> None:
    """Give the app its task: note that it runs, answer, and let no failure go without a reason."""

    @app.task(name=TASK, bind=True, resultrepr_maxsize=64)  # type: ignore[untyped-decorator]  # celery has no types
    def predict(task: Any, stored: Mapping[str, Any]) -> dict[str, Any]:
        ticket_id = str(task.request.id)
        before = task.backend.get_task_meta(ticket_id, cache=False)
        ticket = read(ticket_id, RUNNING, stored, now=datetime.now(UTC), time_limit=time_limit)
        attempt = _attempts(before) + 1
        running = dataclasses.replace(ticket, attempt=attempt)
        if attempt > ATTEMPTS:  # acks_late brings back a question whose worker died: not for ever
            return dataclasses.replace(running, error=_deadly(attempt - 1)).as_stored()
        task.update_state(state=RUNNING, meta=running.as_stored())
        return _answered(running, respond, time_limit).as_stored()


def _attempts(meta: Mapping[str, Any]) -> int:
    """Return how often the question was begun before."""
    return int(meta["result"].get("attempt", 0)) if isinstance(meta["result"], Mapping) else 0


def _answered(running: Ticket, respond: Callable[[Question], Answer], time_limit: float) -> Ticket:
    try:
        if running.question is None:
            raise BadDataError("the question is empty", hint="name a repository")
        return dataclasses.replace(running, answer=respond(running.question))
    except SoftTimeLimitExceeded:
        return dataclasses.replace(running, error=too_slow(time_limit))
    except StargazeError as error:
        log.warning("%s: %s", running.id, error.message)
        return dataclasses.replace(running, error={"message": error.message, "hint": error.hint})


def _deadly(times: int) -> Error:
    message = f"the worker died {times} times while it answered this question, so it is not tried again"
    return {"message": message, "hint": "look into logs/worker.log below the store"}


def _tune_sqlite(engine: Engine) -> None:
    """Let several processes read while one writes, and let a writer wait a moment for another."""

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA busy_timeout = 3000")  # [ms]
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
