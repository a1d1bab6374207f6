"""The Celery app and its task, which answers a batch of prediction jobs."""

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
from stargaze.serve.queue.backends import RESULT_STORE_ERRORS, queue_options, result_options
from stargaze.serve.queue.batching import BatchTask, is_redelivered
from stargaze.serve.queue.result_store import ResultStore
from stargaze.serve.runtime.metrics import observe_job, observe_prediction, observe_queue_wait
from stargaze.serve.runtime.settings import QUEUE_NAME
from stargaze.store import Store

TASK_NAME = "stargaze.predict"
SAVE_DELAYS = (0.0, 0.5, 2.0)
"""Before each attempt to store an answer [s]."""
log = logging.getLogger(__name__)

AnswerRequests = Callable[[Sequence[PredictionRequest]], Sequence[Answer | ErrorDetails]]
"""Returns one answer or error for each request, in their order."""


def create_celery_app(section: ServeSection, store: Store) -> Celery:
    """Create the Celery app for web processes and workers."""
    app = Celery("stargaze", set_as_current=False)
    app.conf.update(
        **queue_options(section, store),
        **result_options(section, store),
        broker_connection_retry_on_startup=True,
        result_backend_always_retry=False,  # if it is unreachable, the response is 503 at once
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
        # A broker redelivers the messages of a dead worker; the filesystem does not, so there a worker takes one at a time.
        worker_prefetch_multiplier=section.max_batch_size if section.broker_url else 1,
        worker_lost_wait=1.0,  # [s]; Celery's default is ten, for an answer that a dead worker may have sent
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return app


def register_task(app: Celery, answer_requests: AnswerRequests, section: ServeSection) -> None:
    """Register the task that answers a batch: every job ends with an answer or an error."""

    @app.task(base=BatchTask, name=TASK_NAME, resultrepr_maxsize=64)  # type: ignore[untyped-decorator]  # celery has no types
    def predict(messages: Sequence[Any]) -> tuple[list[str], list[str]]:
        results = ResultStore(app)
        jobs = [_start_job(message, results, section) for message in messages]
        running = [job for job in jobs if job.error is None]
        with contextlib.suppress(*RESULT_STORE_ERRORS):  # storing the answers is retried
            results.save(running, RUNNING)
        started = time.perf_counter()
        answered = _answer_jobs(running, answer_requests, section.time_limit)
        observe_prediction(time.perf_counter() - started, len(answered))
        return _save_finished(answered, results), _save_finished([job for job in jobs if job.error], results)

    predict.max_batch_size = section.max_batch_size if section.broker_url else 1
    predict.store_errors_even_if_ignored = True


def _start_job(message: Any, results: ResultStore, section: ServeSection) -> PredictionJob:
    """Return the job of a message with its attempt counted; a job whose worker died too often gets an error."""
    now = datetime.now(UTC)
    job = job_from_result(message.id, RUNNING, message.args[0], now=now, time_limit=section.time_limit)
    # The filesystem does not report redelivery.
    attempts = _count_attempts(results, message.id) if is_redelivered(message) or not section.broker_url else 0
    job = dataclasses.replace(job, attempt=attempts + 1)
    if job.attempt > MAX_ATTEMPTS:  # acks_late redelivers the job of a dead worker without limit
        text = f"the worker died {attempts} times while it answered this request, so it is not tried again"
        return dataclasses.replace(job, error={"message": text, "hint": "look into logs/worker.log below the store"})
    if job.accepted_at:
        observe_queue_wait((now - job.accepted_at).total_seconds())
    return job


def _count_attempts(results: ResultStore, job_id: str) -> int:
    with contextlib.suppress(*RESULT_STORE_ERRORS):
        stored = results.get(job_id)
        return int(stored[1].get("attempt", 0)) if stored and isinstance(stored[1], Mapping) else 0
    return 0


def _answer_jobs(
    jobs: Sequence[PredictionJob], answer_requests: AnswerRequests, time_limit: float
) -> list[PredictionJob]:
    requests = [job.request or PredictionRequest() for job in jobs]
    try:
        results = answer_requests(requests) if requests else []
    except SoftTimeLimitExceeded:
        results = [time_limit_error(time_limit)] * len(jobs)
    except Exception:
        log.exception("%d jobs failed", len(jobs))
        results = [UNEXPECTED_ERROR] * len(jobs)
    return [_finish_job(job, result) for job, result in zip(jobs, results, strict=True)]


def _finish_job(job: PredictionJob, result: Answer | ErrorDetails) -> PredictionJob:
    if "digest" in result:
        observe_job("done")
        log.info("answered", extra={"request_id": job.request_id, "job_id": job.id})
        return dataclasses.replace(job, answer=result)
    observe_job("failed")
    log.warning("failed: %s", result["message"], extra={"request_id": job.request_id, "job_id": job.id})
    return dataclasses.replace(job, error=result)


def _save_finished(jobs: Sequence[PredictionJob], results: ResultStore) -> list[str]:
    """Store finished jobs and return the ids of those that are stored; the queue delivers the others again."""
    for delay in SAVE_DELAYS if jobs else ():
        time.sleep(delay)
        try:
            results.save(jobs, DONE)
        except RESULT_STORE_ERRORS:
            log.warning("%d answers could not be stored", len(jobs), extra={"job_id": jobs[0].id})
        else:
            return [job.id for job in jobs]
    return []
