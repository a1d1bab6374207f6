"""Jobs through the real filesystem queue and SQLite result store, to a worker that may die."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import DONE, PredictionJob, PredictionRequest, new_job
from stargaze.serve.queue.celery_app import TASK_NAME, create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.queue.result_store import ResultStore
from stargaze.serve.runtime.settings import QUEUE_NAME, ready_file, to_environment
from stargaze.serve.runtime.status_files import record_heartbeat
from stargaze.serve.supervisor.child_process import start_child
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.store import Store
from tests.serve.queue.attempts import check_attempts, check_expiry
from tests.waiting import not_blocked, wait_for

SmallDisk = Callable[[int], AbstractContextManager[None]]

pytestmark = pytest.mark.real

SECTION = ServeSection(time_limit=4.0, cache_ttl=0.0)


def message_folder(store: Store) -> Path:
    return store.queue / "messages"


def open_queue(store: Store) -> CeleryPredictionQueue:
    return CeleryPredictionQueue(create_celery_app(SECTION, store), SECTION, store)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryPredictionQueue]:
    """A queue with a worker."""
    store = Store(tmp_path_factory.mktemp("store"))
    prepare_store(store)
    log = store.root / "logs" / "worker.log"
    worker = start_child("worker", ["tests.serve.queue.fake_worker"], to_environment(SECTION, store), log, store.root)
    wait_for(lambda: ready_file(store, os.getpid()).exists())
    yield open_queue(store)
    worker.terminate()
    worker.wait_or_kill()


@pytest.fixture
def idle_queue(store: Store) -> CeleryPredictionQueue:
    """A queue without a worker."""
    prepare_store(store)
    return open_queue(store)


def test_a_start_without_a_writable_store_is_no_error(idle_queue: CeleryPredictionQueue, store: Store) -> None:
    """The first requests report it."""
    store.results.mkdir()
    shutil.rmtree(store.queue)
    store.queue.write_text("not a folder")

    idle_queue.warm_up()


def killed(_: PredictionJob) -> None:
    raise ProcessKilled


def submit_and_wait(queue: CeleryPredictionQueue, name: str, key: str = "") -> PredictionJob:
    """Submit a request and wait for its end."""
    ticket_id = queue.submit(PredictionRequest((name,)), key=key).id
    latest: list[PredictionJob] = []

    def is_finished() -> bool:
        job = queue.get(ticket_id)
        assert job is not None
        latest[:] = [job]
        return job.state in ("done", "failed")

    wait_for(is_finished)
    return latest[0]


def test_a_job_is_answered(queue: CeleryPredictionQueue) -> None:
    job = submit_and_wait(queue, "a/b")

    assert job.state == "done"
    assert job.answer == {"digest": "0" * 64, "predictions": [{"full_name": "a/b"}]}
    assert job.request == PredictionRequest(("a/b",))


def test_a_job_whose_worker_is_killed_is_answered_by_the_next(queue: CeleryPredictionQueue) -> None:
    job = submit_and_wait(queue, "kill/once")

    assert (job.state, job.attempt) == ("done", 2)


def test_a_job_that_kills_every_worker_fails_and_the_next_is_answered(queue: CeleryPredictionQueue) -> None:
    job = submit_and_wait(queue, "kill/always")

    assert job.state == "failed"
    assert submit_and_wait(queue, "a/b").state == "done"


def test_a_job_over_the_time_limit_fails(queue: CeleryPredictionQueue) -> None:
    job = submit_and_wait(queue, "be/slow")

    assert job.error is not None
    assert job.error["message"] == "the prediction took longer than 4 s"


@pytest.mark.parametrize("name", ["kill/always", "be/broken"])
def test_after_a_failed_attempt_the_same_request_is_tried_again(queue: CeleryPredictionQueue, name: str) -> None:
    first = submit_and_wait(queue, name, key=name)
    second = submit_and_wait(queue, name, key=name)

    assert (first.state, second.state) == ("failed", "failed")
    assert first.id != second.id
    assert first.error == second.error
    assert queue.get(first.id) == first


def test_a_process_that_ignores_the_time_limit_is_killed_and_the_next_job_is_answered(
    queue: CeleryPredictionQueue,
) -> None:
    stuck = submit_and_wait(queue, "be/stuck")

    assert (stuck.error or {})["message"] == "the prediction took longer than 4 s"
    assert stuck.request == PredictionRequest(("be/stuck",))
    assert submit_and_wait(queue, "a/b").state == "done"


def test_no_error_path_logs_a_traceback(queue: CeleryPredictionQueue) -> None:
    """Requests that end badly, garbage in the folder, and messages of Celery that are no jobs."""
    folder = message_folder(queue._store)
    for name in ("kill/always", "be/unknown"):
        submit_and_wait(queue, name)
    for number, args in enumerate([[], [5], [{}], ["x"], [{"request": {"repositories": 5}}]]):
        queue._app.send_task(TASK_NAME, args=args, task_id=f"odd-{number}", queue=QUEUE_NAME)
    (folder / f"00000000000000000001_0_0_x.{QUEUE_NAME}.msg").write_text("garbage")
    (folder / f"00000000000000000002_0_0_x.{QUEUE_NAME}.msg").mkdir()
    (folder / "garbage").touch()

    assert submit_and_wait(queue, "a/b").state == "done"
    wait_for(lambda: len(list((folder.parent / "dead-letter").iterdir())) >= 9)
    lines = (queue._store.root / "logs" / "worker.log").read_text().splitlines()
    # An error of the prediction itself is logged with its traceback.
    assert [line for line in lines if "Traceback" in line and "ZeroDivisionError" not in line] == []
    assert {path.name for path in folder.iterdir() if "_" in path.name} == set()


def test_an_expected_error_is_returned_with_its_hint(queue: CeleryPredictionQueue) -> None:
    assert submit_and_wait(queue, "be/unknown").error == {
        "code": "unknown_repository",
        "message": "be/unknown: not known",
        "hint": "Did you mean be/known?",
    }


def test_an_unexpected_error_is_returned_without_details(queue: CeleryPredictionQueue) -> None:
    job = submit_and_wait(queue, "be/broken")

    assert job.error is not None
    assert job.error["code"] == "internal_error"
    assert job.request_id in job.error["message"]
    assert "Zero" not in str(job.error)


def test_an_unknown_job_id_is_none(idle_queue: CeleryPredictionQueue) -> None:
    assert idle_queue.get("00000000-0000-4000-8000-000000000000") is None


def test_a_job_is_queued_while_there_is_no_worker(idle_queue: CeleryPredictionQueue) -> None:
    job = idle_queue.submit(PredictionRequest(("a/b",)))

    assert idle_queue.get(job.id) == job


def test_a_job_whose_message_is_lost_fails_after_its_deadline(idle_queue: CeleryPredictionQueue, store: Store) -> None:
    """Somebody has deleted the folder of messages."""
    job = idle_queue.submit(PredictionRequest(("a/b",)))
    for message in message_folder(store).iterdir():
        message.unlink()
    later = CeleryPredictionQueue(
        create_celery_app(SECTION, store), SECTION, store, clock=lambda: datetime.now(UTC) + timedelta(seconds=60)
    )

    failed = later.get(job.id)

    assert failed is not None
    assert failed.error is not None
    assert failed.error["message"] == "no worker answered in time"


class ProcessKilled(BaseException):
    """Simulates a killed web process."""


def test_a_job_reserved_by_a_killed_web_process_is_queued_by_the_next_submit(
    idle_queue: CeleryPredictionQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor whose connection broke submits to the next process, with the same key."""
    monkeypatch.setattr("stargaze.serve.queue.celery_queue.SUBMIT_TIMEOUT", 0.1)
    with monkeypatch.context() as patched:
        patched.setattr(idle_queue, "_publish", killed)
        with pytest.raises(ProcessKilled):
            idle_queue.submit(PredictionRequest(("a/b",)), key="once")
    assert not list(message_folder(store).iterdir())

    job = open_queue(store).submit(PredictionRequest(("a/b",)), key="once")

    assert len(list(message_folder(store).iterdir())) == 1
    assert idle_queue.get(job.id) == job
    assert idle_queue.submit(PredictionRequest(("a/b",)), key="once") == job
    assert len(list(message_folder(store).iterdir())) == 1


def test_a_job_that_the_queue_may_still_refuse_is_not_returned(
    idle_queue: CeleryPredictionQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = threading.Event()
    outcomes: list[Any] = []

    def refuse(_: PredictionJob) -> None:
        reserved.set()
        wait_for(lambda: len(outcomes) == 1)
        time.sleep(0.2)
        raise OSError("full")

    def submit_too() -> None:
        reserved.wait(60)
        outcomes.append("started")
        try:
            outcomes.append(open_queue(store).submit(PredictionRequest(("a/b",)), key="once"))
        except ExternalError as error:
            outcomes.append(error.message)

    monkeypatch.setattr(idle_queue, "_publish", refuse)
    other = threading.Thread(target=submit_too)
    other.start()
    with pytest.raises(ExternalError, match="the queue cannot be written: full"):
        idle_queue.submit(PredictionRequest(("a/b",)), key="once")
    other.join()

    assert outcomes[1:] == ["the queue is unavailable: an identical request was refused a moment ago"]


@pytest.mark.parametrize("key", ["", "a-key"], ids=["request", "key"])
def test_a_request_has_one_living_job_and_after_a_failure_a_new_one(store: Store, key: str) -> None:
    section = dataclasses.replace(SECTION, cache_ttl=1e9)
    prepare_store(store)

    def open_queue(**options: Any) -> CeleryPredictionQueue:
        return CeleryPredictionQueue(create_celery_app(section, store), section, store, **options)

    check_attempts(open_queue, lambda: len(list(message_folder(store).glob("*.msg"))), key)


def test_an_answer_that_lacks_something_temporary_is_used_until_it_expires(store: Store) -> None:
    section = dataclasses.replace(SECTION, cache_ttl=1e9)
    prepare_store(store)

    def open_queue(**options: Any) -> CeleryPredictionQueue:
        return CeleryPredictionQueue(create_celery_app(section, store), section, store, **options)

    check_expiry(open_queue, lambda: len(list(message_folder(store).glob("*.msg"))))


def test_the_last_of_many_failed_attempts_is_found_quickly(idle_queue: CeleryPredictionQueue) -> None:
    results = ResultStore(idle_queue._app)
    request = PredictionRequest(("a/b",))
    failed = new_job(request, now=datetime.now(UTC), time_limit=4.0)
    failed = dataclasses.replace(failed, error={"code": "a_test", "message": "a test", "hint": ""})
    ids = [idle_queue._hash_id({"key": "k"}, attempt) for attempt in range(75)]
    results.save([dataclasses.replace(failed, id=job_id) for job_id in ids], DONE)

    job = idle_queue.submit(request, key="k")

    assert job.id == idle_queue._hash_id({"key": "k"}, 75)


def test_a_web_process_that_wakes_up_late_gets_no_second_job(
    idle_queue: CeleryPredictionQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped between reserving and publishing; meanwhile the client asked another process."""
    monkeypatch.setattr("stargaze.serve.queue.celery_queue.SUBMIT_TIMEOUT", 0.1)
    others: list[PredictionJob] = []
    publish = idle_queue._publish

    def publish_late(job: PredictionJob) -> None:
        others.append(open_queue(store).submit(PredictionRequest(("a/b",)), key="once"))
        publish(job)

    monkeypatch.setattr(idle_queue, "_publish", publish_late)

    late = idle_queue.submit(PredictionRequest(("a/b",)), key="once")

    results = ResultStore(idle_queue._app)
    assert late.id != others[0].id
    assert results.get(late.id)[0] == DONE  # type: ignore[index]  # so a worker does not answer its message
    assert open_queue(store).submit(PredictionRequest(("a/b",)), key="once").id == others[0].id


def test_find_ignores_a_reserved_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    section = dataclasses.replace(SECTION, cache_ttl=3600.0)
    prepare_store(store)
    queue = CeleryPredictionQueue(create_celery_app(section, store), section, store)
    with monkeypatch.context() as patched:
        patched.setattr(queue, "_publish", killed)
        with pytest.raises(ProcessKilled):
            queue.submit(PredictionRequest(("a/b",)))
    assert queue.find(PredictionRequest(("a/b",))) is None
    monkeypatch.setattr("stargaze.serve.queue.celery_queue.SUBMIT_TIMEOUT", 0.0)

    job = queue.submit(PredictionRequest(("a/b",)))

    assert queue.find(PredictionRequest(("a/b",))) == job


def test_the_threads_of_a_process_share_celerys_backend(store: Store) -> None:
    """Each thread with its own would read the entry points of all installed packages, 6 ms of CPU time."""
    app = create_celery_app(SECTION, store)
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(lambda: app.backend).result() is app.backend


def test_a_result_stored_before_the_job_is_marked_queued_is_kept(idle_queue: CeleryPredictionQueue) -> None:
    results = ResultStore(idle_queue._app)
    job = new_job(PredictionRequest(("a/b",)), now=datetime.now(UTC), time_limit=4.0)
    results.save([job], DONE)

    results.mark_queued(job)

    assert results.get(job.id) == (DONE, job.to_json())


def test_a_missing_queue_is_an_immediate_error_and_removes_the_reservation(
    idle_queue: CeleryPredictionQueue, store: Store
) -> None:
    message_folder(store).rename(store.queue / "moved")
    message_folder(store).write_text("a file")

    with not_blocked(), pytest.raises(ExternalError, match="the queue cannot be written"):
        idle_queue.submit(PredictionRequest(("a/b",)))

    with sqlite3.connect(store.results) as results:
        assert results.execute("SELECT count(*) FROM jobs").fetchone() == (0,)


def test_an_unwritable_result_store_is_an_immediate_error(
    idle_queue: CeleryPredictionQueue, store: Store, small_disk: SmallDisk
) -> None:
    with not_blocked(), small_disk(0), pytest.raises(ExternalError, match="the result store cannot be reached"):
        idle_queue.submit(PredictionRequest(("a/b",)))

    assert list(message_folder(store).iterdir()) == []


def test_a_writable_queue_whose_messages_are_taken_is_ready(idle_queue: CeleryPredictionQueue, store: Store) -> None:
    with pytest.raises(ExternalError, match="no prediction process takes messages"):
        idle_queue.check()
    record_heartbeat(store.queue)

    idle_queue.check()


def test_a_deleted_queue_folder_is_created_again(idle_queue: CeleryPredictionQueue, store: Store) -> None:
    shutil.rmtree(store.queue)

    job = idle_queue.submit(PredictionRequest(("a/b",)))

    assert idle_queue.get(job.id) == job
    assert len(list(message_folder(store).iterdir())) == 1


@pytest.mark.parametrize("closed", ["queue", "results"])
def test_an_unwritable_queue_or_result_store_is_not_ready(
    idle_queue: CeleryPredictionQueue, store: Store, closed: str, small_disk: SmallDisk
) -> None:
    record_heartbeat(store.queue)
    if closed == "queue":
        shutil.rmtree(store.queue)
        store.queue.write_text("a file")

    with small_disk(0 if closed == "results" else 10**9), pytest.raises(ExternalError):
        idle_queue.check()


def test_only_json_is_accepted(store: Store) -> None:
    conf = create_celery_app(SECTION, store).conf

    assert (conf.accept_content, conf.task_serializer, conf.result_serializer) == (["json"], "json", "json")
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert conf.result_expires
    assert conf.result_backend == "disabled://"
    assert not conf.worker_enable_prefetch_count_reduction  # celery#9512
    assert conf.task_time_limit > conf.task_soft_time_limit > 0
    assert not conf.worker_enable_remote_control
