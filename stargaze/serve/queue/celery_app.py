"""The Celery app and its task, which answers a batch of prediction jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
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
    visitor_error,
    waiting_error,
)
from stargaze.serve.queue.backends import QUEUE_ERRORS, RESULT_STORE_ERRORS, TIMEOUT, queue_options, result_options
from stargaze.serve.queue.batching import BatchTask
from stargaze.serve.queue.message_folder import MAX_DEATHS
from stargaze.serve.queue.result_store import ResultStore, StoredJob
from stargaze.serve.runtime.metrics import observe_job, observe_prediction, observe_queue_wait
from stargaze.serve.runtime.settings import QUEUE_NAME
from stargaze.serve.runtime.status_files import record_heartbeat
from stargaze.store import Store

TASK_NAME = "stargaze.predict"
HEARTBEAT = "heartbeat"
"""The content of a message that only shows that messages reach the prediction processes."""
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
        result_backend="disabled://",  # see ResultStore
        result_backend_thread_safe=True,  # else each thread reads the entry points of all packages for one of its own
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
        task_store_errors_even_if_ignored=False,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
        worker_prefetch_multiplier=section.max_batch_size,
        worker_enable_prefetch_count_reduction=False,  # after a lost connection it is never raised again (celery#9512)
        worker_lost_wait=1.0,  # [s]; Celery's default is ten, for an answer that a dead worker may have sent
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        enable_utc=True,
    )
    return app


def register_task(app: Celery, answer_requests: AnswerRequests, section: ServeSection, store: Store) -> None:
    """Register the task that answers a batch: every job ends with an answer or an error."""
    results = ResultStore(app)

    @app.task(base=BatchTask, name=TASK_NAME, resultrepr_maxsize=64)  # type: ignore[untyped-decorator]  # celery has no types
    def predict(messages: Sequence[Any]) -> tuple[list[str], list[str]]:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # billiard's handler would raise an error inside the prediction
        record_heartbeat(store.queue, section.time_limit + GRACE_PERIOD)
        try:
            return _process_batch(messages, results, answer_requests, section)
        except SoftTimeLimitExceeded:  # while results were read or written
            log.warning("%d jobs are tried again: the time limit ended during storing", len(messages))
            return [], []
        finally:
            record_heartbeat(store.queue)

    def save_too_slow(messages: Sequence[Any]) -> list[str]:
        now = datetime.now(UTC)
        jobs = [job_from_result(message.id, RUNNING, _content(message), now=now, time_limit=0) for message in messages]
        error = time_limit_error(section.time_limit)
        return _save_finished([dataclasses.replace(job, error=error) for job in jobs], results, delays=(0.0,))

    predict.max_batch_size = section.max_batch_size
    predict.save_too_slow = save_too_slow


def fail_dead_letter(results: ResultStore, section: ServeSection, job_id: str) -> None:
    """Store that a job failed because the workers that took its message ended."""
    with contextlib.suppress(*RESULT_STORE_ERRORS):  # otherwise the job fails at its deadline
        stored = results.get(job_id)
        if stored and stored[0] != DONE:
            job = job_from_result(job_id, *stored, now=datetime.now(UTC), time_limit=section.time_limit)
            results.replace(job_id, stored, dataclasses.replace(job, error=_death_error(MAX_DEATHS)))


def _death_error(deaths: int) -> ErrorDetails:
    message = f"the worker died {deaths} times while it answered this request, so it is not tried again"
    return {"code": "worker_died", "message": message, "hint": "request each repository alone"}


def send_message(app: Celery, section: ServeSection, content: Any, **options: Any) -> None:
    """Send a message to the prediction processes; raises one of QUEUE_ERRORS within seconds."""
    options["declare"] = []  # the queues are declared once, not with every message
    if section.broker_url:
        options |= {"timeout": TIMEOUT, "confirm_timeout": TIMEOUT}
    with app.producer_or_acquire() as producer:
        try:
            # The worker stores jobs itself; otherwise Celery would subscribe to each result.
            app.send_task(TASK_NAME, args=[content], queue=QUEUE_NAME, ignore_result=True, producer=producer, **options)
        except QUEUE_ERRORS:
            # Without the handshake of closing: a broker with too little memory or disk space would not answer it.
            producer.__connection__.collect()
            raise


def _process_batch(
    messages: Sequence[Any], results: ResultStore, answer_requests: AnswerRequests, section: ServeSection
) -> tuple[list[str], list[str]]:
    """Answer the jobs of messages; return the ids of those that have ended, and of those that must not be tried again."""
    settled = [message.id for message in messages if _content(message) == HEARTBEAT]
    messages = [message for message in messages if message.id not in settled]
    stored = _read_jobs(results, [message.id for message in messages])
    # A duplicate of a message whose answer is stored already, or of an attempt that another has replaced.
    settled += [job_id for job_id, job in stored.items() if job and job[0] == DONE]
    jobs = [_start_job(message, stored.get(message.id), section) for message in messages if message.id not in settled]
    running = [job for job in jobs if job.error is None]
    with contextlib.suppress(*RESULT_STORE_ERRORS):  # storing the answers is retried
        results.save(running, RUNNING)
    started = time.perf_counter()
    answered = _answer_jobs(running, answer_requests, section.time_limit)
    if running:
        observe_prediction(time.perf_counter() - started, len(answered))
    late = [job for job in jobs if job.error and not is_poisonous(job)]
    poisonous = [job for job in jobs if job.error and is_poisonous(job)]
    return settled + _save_finished([*answered, *late], results), _save_finished(poisonous, results)


def _content(message: Any) -> Any:
    """Return the content of a message, None if it has none."""
    return message.args[0] if isinstance(message.args, Sequence) and message.args else None


def _read_jobs(results: ResultStore, job_ids: Sequence[str]) -> Mapping[str, StoredJob | None]:
    with contextlib.suppress(*RESULT_STORE_ERRORS):
        return results.get_many(job_ids, with_unfinished=True)
    return {}


def _start_job(message: Any, stored: StoredJob | None, section: ServeSection) -> PredictionJob:
    """Return the job of a message with its attempt counted; a job that is late, or whose worker died too often, gets an error."""
    now = datetime.now(UTC)
    was_started = stored is not None and stored[0] == RUNNING
    job = job_from_result(message.id, RUNNING, _content(message), now=now, time_limit=section.time_limit)
    attempts = job_from_result(message.id, *stored, now=now, time_limit=0).attempt if stored and was_started else 0
    job = dataclasses.replace(job, attempt=attempts + 1)
    if job.attempt > MAX_ATTEMPTS:  # acks_late redelivers the job of a dead worker without limit
        return dataclasses.replace(job, error=_death_error(attempts))
    if job.accepted_at and job.error is None:
        waited = (now - job.accepted_at).total_seconds()
        observe_queue_wait(waited)
        if waited > section.time_limit and not was_started:
            return dataclasses.replace(job, error=waiting_error(section.time_limit))
    return job


def is_poisonous(job: PredictionJob) -> bool:
    """Return whether the message of a failed job becomes a dead letter: it killed its workers, or it is not a request."""
    return job.attempt > MAX_ATTEMPTS or job.request is None


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
    error = visitor_error(result, job.request_id)
    reason = (
        "" if error == result else f": {result['message']} ({result['hint']})"
    )  # the visitor's names are not logged
    log.warning("failed: %s%s", result["code"], reason, extra={"request_id": job.request_id, "job_id": job.id})
    return dataclasses.replace(job, error=error)


def _save_finished(
    jobs: Sequence[PredictionJob], results: ResultStore, delays: Sequence[float] = SAVE_DELAYS
) -> list[str]:
    """Store finished jobs and return the ids of those that are stored; the queue delivers the others again."""
    for delay in delays if jobs else ():
        time.sleep(delay)
        try:
            results.save(jobs, DONE)
        except RESULT_STORE_ERRORS:
            log.warning("%d answers could not be stored", len(jobs), extra={"job_id": jobs[0].id})
        else:
            return [job.id for job in jobs]
    return []
