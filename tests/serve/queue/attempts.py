"""One request has one living job, whoever sends it at the same time, and after a failure the next attempt: for both backends."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier

from stargaze.serve.prediction_request import DONE, QUEUED, RESERVED, RUNNING, PredictionJob, PredictionRequest, new_job
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue, utc_now
from stargaze.serve.queue.result_store import ResultStore

WEB_PROCESSES, THREADS = 3, 4
REQUEST = PredictionRequest(("one/living",))


def check_attempts(
    open_queue: Callable[..., CeleryPredictionQueue], count_messages: Callable[[], int], key: str
) -> None:
    """Submit the same request from several threads of several queues; let each attempt fail in another way."""
    hours = [0]
    queues = [open_queue(clock=lambda: utc_now() + timedelta(hours=hours[0])) for _ in range(WEB_PROCESSES)]
    ids: list[str] = []
    for fail in (_fail, _fail, _leave_running, _fail, _fail):
        barrier = Barrier(WEB_PROCESSES * THREADS)
        with ThreadPoolExecutor(WEB_PROCESSES * THREADS) as pool:
            jobs = list(pool.map(partial(_submit, barrier, key), queues * THREADS))

        assert len({job.id for job in jobs}) == 1, "one living job"
        assert jobs[0].id not in ids, "the id of a failed attempt is not used again"
        ids.append(jobs[0].id)
        assert count_messages() == len(ids), "queued once"
        fail(queues[0], jobs[0])
        if fail is _leave_running:  # its worker was lost: it has failed after its deadline
            hours[0] += 1
    # The message of the lost worker may come back: a worker must not answer it any more.
    assert [queues[0]._results.get(job_id)[0] for job_id in ids] == [DONE] * len(ids)  # type: ignore[index]


def check_expiry(open_queue: Callable[..., CeleryPredictionQueue], count_messages: Callable[[], int]) -> None:
    """An answer that lacks something temporary is used until it expires, by all processes; then one new job follows."""
    seconds, accepted = [0.0], utc_now()
    first, second = (open_queue(clock=lambda: accepted + timedelta(seconds=seconds[0])) for _ in range(2))
    request, before = PredictionRequest(("an/expiry",)), count_messages()
    jobs = [first.submit(request)]
    keyed = first.submit(request, key="expiry")
    for job in (*jobs, keyed):
        expires_at = (accepted + timedelta(seconds=60)).isoformat()
        answer = {"digest": "d", "predictions": [], "errors": [], "expires_at": expires_at}
        first._results.save([dataclasses.replace(job, answer=answer)], DONE)

    seconds[0] = 59.0
    assert [queue.submit(request).id for queue in (first, second)] == [jobs[0].id] * 2
    assert (second.find(request) or keyed).id == jobs[0].id
    seconds[0] = 61.0
    assert first.find(request) is second.find(request) is None
    jobs += [queue.submit(request) for queue in (second, first)]
    assert jobs[1].id == jobs[2].id != jobs[0].id, "requests are joined while one is in work"
    assert first.submit(request, key="expiry").id == keyed.id, "a key has one answer"
    assert (second.get(jobs[0].id) or keyed).answer, "its address shows it further"
    assert count_messages() == before + 3
    error = {"code": "github_unavailable", "message": "a test", "hint": ""}
    error["expires_at"] = (accepted + timedelta(seconds=90)).isoformat()
    first._results.save([dataclasses.replace(jobs[1], error=error)], DONE)
    seconds[0] = 89.0
    assert second.submit(request).id == jobs[1].id, "the reason may still hold"
    assert (second.find(request) or keyed).error == error
    seconds[0] = 91.0
    assert second.find(request) is None
    assert second.submit(request).id not in {job.id for job in jobs}


def check_changes(results: ResultStore) -> None:
    """Change a job that another process has reserved since, or a worker has answered."""
    first, second = (
        new_job(PredictionRequest(("a/b",)), now=utc_now(), time_limit=20.0, job_id=str(uuid.UUID(int=7))) for _ in "ab"
    )
    results.save([second], RESERVED)

    results.remove_reserved(first)
    assert results.get(second.id) == (RESERVED, second.to_json())
    results.mark_queued(first)
    assert results.get(second.id) == (RESERVED, second.to_json())
    results.mark_queued(second)
    assert results.get(second.id) == (QUEUED, second.to_json())
    results.save([second], DONE)
    results.mark_queued(second)
    results.remove_reserved(second)
    assert results.get(second.id) == (DONE, second.to_json())


def _submit(barrier: Barrier, key: str, queue: CeleryPredictionQueue) -> PredictionJob:
    barrier.wait(60)
    return queue.submit(REQUEST, key=key)


def _fail(queue: CeleryPredictionQueue, job: PredictionJob) -> None:
    failed = dataclasses.replace(job, error={"code": "a_test", "message": "a test", "hint": ""})
    queue._results.save([failed], DONE)


def _leave_running(queue: CeleryPredictionQueue, job: PredictionJob) -> None:
    queue._results.save([job], RUNNING)
