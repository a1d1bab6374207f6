"""Celery's wiring: the app and its one task. What a prediction is stands in ``answer``."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import (
    DONE,
    GRACE_PERIOD,
    MAX_ATTEMPTS,
    RUNNING,
    UNEXPECTED_ERROR,
    Answer,
    ErrorDetails,
    PredictionJob,
    PredictionRequest,
    job_from_result,
    time_limit_error,
)
from stargaze.serve.queue.backends import AWAY, queue_options, result_options
from stargaze.serve.queue.batching import BatchTask, is_redelivered
from stargaze.serve.queue.result_store import Results
from stargaze.serve.runtime.metrics import observe_job, observe_prediction, observe_queue_wait
from stargaze.serve.runtime.settings import QUEUE_NAME
from stargaze.store import Store

TASK = "stargaze.predict"

PAUSES = (0.0, 0.5, 2.0)
"""Before each try to store an answer [s]."""

log = logging.getLogger(__name__)

Respond = Callable[[Sequence[PredictionRequest]], Sequence[Answer | ErrorDetails]]
"""Answers questions, one each and in their order; an error has ``message`` and ``hint``, an answer ``digest``."""


def make_app(section: ServeSection, store: Store) -> Celery:
    """Wire Celery to queue and results; page and worker share it."""
    app = Celery("stargaze", set_as_current=False)
    app.conf.update(
        **queue_options(section, store),
        **result_options(section, store),
        broker_connection_retry_on_startup=True,
        result_backend_always_retry=False,  # what is away is answered with 503 at once, not after some retries
        result_expires=section.results_ttl,
        accept_content=["json"],
        result_accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_default_queue=QUEUE_NAME,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_soft_time_limit=section.time_limit,
        task_time_limit=section.time_limit + GRACE_PERIOD,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        # A broker gives back what a dead worker had taken; files do not, so there a worker takes one at a time.
        worker_prefetch_multiplier=section.max_batch_size if section.broker_url else 1,
        worker_lost_wait=1.0,  # [s]; Celery waits ten for an answer that a dead worker may have sent
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return app


def register(app: Celery, respond: Respond, section: ServeSection) -> None:
    """Give the app its task: note what runs, answer all that waits at once, and let no failure go without a reason."""

    @app.task(base=BatchTask, name=TASK, resultrepr_maxsize=64)  # type: ignore[untyped-decorator]  # celery has no types
    def predict(requests: Sequence[Any]) -> tuple[list[str], list[str]]:
        results = Results(app)
        begun = [_begin(request, results, section) for request in requests]
        running = [one for one in begun if one.error is None]
        dead = [one for one in begun if one.error is not None]
        with contextlib.suppress(*AWAY):  # the answers are stored with more patience
            results.keep(running, RUNNING)
        started = time.perf_counter()
        answered = _answered(running, respond, section.time_limit)
        observe_prediction(time.perf_counter() - started, len(answered))
        return _kept(answered, results), _kept(dead, results)

    predict.most = section.max_batch_size if section.broker_url else 1
    predict.store_errors_even_if_ignored = True


def _begin(request: Any, results: Results, section: ServeSection) -> PredictionJob:
    """Note that a question runs, and how often it was begun; one whose worker died too often is answered so."""
    ticket = job_from_result(request.id, RUNNING, request.args[0], now=datetime.now(UTC), time_limit=section.time_limit)
    may_be_known = is_redelivered(request) or not section.broker_url  # the queue of files does not tell
    before = _attempts(results, request.id) if may_be_known else 0
    running = dataclasses.replace(ticket, attempt=before + 1)
    if running.attempt > MAX_ATTEMPTS:  # acks_late brings back a question whose worker died: not for ever
        return dataclasses.replace(running, error=_deadly(before))
    if ticket.accepted_at:
        observe_queue_wait((datetime.now(UTC) - ticket.accepted_at).total_seconds())
    return running


def _attempts(results: Results, ticket_id: str) -> int:
    """Return how often the question was begun before."""
    with contextlib.suppress(*AWAY):
        found = results.look(ticket_id)
        return int(found[1].get("attempt", 0)) if found and isinstance(found[1], Mapping) else 0
    return 0


def _answered(tickets: Sequence[PredictionJob], respond: Respond, time_limit: float) -> list[PredictionJob]:
    questions = [ticket.request or PredictionRequest() for ticket in tickets]
    try:
        found = respond(questions) if questions else []
    except SoftTimeLimitExceeded:
        found = [time_limit_error(time_limit)] * len(tickets)
    except Exception:
        log.exception("%d questions could not be answered", len(tickets))
        found = [UNEXPECTED_ERROR] * len(tickets)
    return [_with(ticket, said) for ticket, said in zip(tickets, found, strict=True)]


def _with(ticket: PredictionJob, said: Answer | ErrorDetails) -> PredictionJob:
    if "digest" in said:
        observe_job("done")
        log.info("answered", extra={"request_id": ticket.request_id, "job_id": ticket.id})
        return dataclasses.replace(ticket, answer=said)
    observe_job("failed")
    log.warning("%s: %s", ticket.id, said["message"], extra={"request_id": ticket.request_id})
    return dataclasses.replace(ticket, error=said)


def _kept(tickets: Sequence[PredictionJob], results: Results) -> list[str]:
    """Store answers and return the ids of those that are stored; the queue gives the others to a worker again."""
    for pause in PAUSES if tickets else ():
        time.sleep(pause)
        try:
            results.keep(tickets, DONE)
        except AWAY:
            log.warning("%d answers are not stored yet", len(tickets), extra={"job_id": tickets[0].id})
        else:
            return [ticket.id for ticket in tickets]
    return []


def _deadly(times: int) -> ErrorDetails:
    message = f"the worker died {times} times while it answered this question, so it is not tried again"
    return {"message": message, "hint": "look into logs/worker.log below the store"}
