"""Jobs through a real RabbitMQ and a real Redis: no accepted job is lost, whichever process dies."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection, ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import (
    MAX_ATTEMPTS,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
)
from stargaze.serve.queue.backends import N_CONNECTIONS, QUEUE_ERRORS, count_messages
from stargaze.serve.queue.celery_app import HEARTBEAT, create_celery_app, send_message
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.queue.result_store import ResultStore
from stargaze.serve.runtime.settings import DEAD_LETTER_QUEUE, QUEUE_NAME, ready_file, to_environment
from stargaze.serve.supervisor.child_process import ChildProcess, start_child
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.store import Store
from tests.serve.queue.attempts import check_attempts, check_changes, check_expiry
from tests.servers import RABBITMQCTL, ROOT, Servers, broker_version
from tests.waiting import not_blocked, wait_for

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::ResourceWarning")]  # sockets of killed servers


@pytest.fixture
def section(running_servers: Servers) -> ServeSection:
    return ServeSection(
        broker_url=running_servers.broker_url,
        results_url=running_servers.results_url,
        time_limit=120.0,
        worker_processes=1,
    )


@pytest.fixture
def queue(section: ServeSection, store: Store) -> CeleryPredictionQueue:
    prepare_store(store)
    return CeleryPredictionQueue(create_celery_app(section, store), section, store)


@pytest.fixture
def worker(section: ServeSection, store: Store, queue: CeleryPredictionQueue) -> Iterator[Callable[[], ChildProcess]]:
    """Start workers, and stop them at the end."""
    started: list[ChildProcess] = []

    def start() -> ChildProcess:
        ready_file(store, os.getpid()).unlink(missing_ok=True)
        log = store.root / "logs" / "worker.log"
        started.append(
            start_child("worker", ["tests.serve.queue.fake_worker"], to_environment(section, store), log, store.root)
        )
        wait_for(lambda: ready_file(store, os.getpid()).exists())
        return started[-1]

    yield start
    for child in started:
        child.terminate()
    for child in started:
        child.wait_or_kill()


def wait_for_end(queue: CeleryPredictionQueue, job: PredictionJob) -> PredictionJob:
    """Return the job when it is finished."""
    latest: list[PredictionJob] = []

    def is_finished() -> bool:
        current = queue.get(job.id)
        assert current is not None
        latest[:] = [current]
        return current.state in ("done", "failed")

    wait_for(is_finished)
    return latest[0]


def is_ready(queue: CeleryPredictionQueue) -> bool:
    """Return whether the queue accepts requests: a restarted RabbitMQ needs some seconds."""
    try:
        queue.check()
    except ExternalError:
        return False
    return True


def batches(store: Store) -> list[int]:
    return [int(line) for line in (store.root / "batches").read_text().split()]


def test_connections_are_open_before_the_first_request(queue: CeleryPredictionQueue) -> None:
    """Many handshakes of TLS at once would delay the first requests by a second."""
    queue.warm_up()

    with queue._app.connection_for_write() as connection:
        assert count_messages(connection) == 0  # the queue exists
    assert len(queue._results._texts._client.connection_pool._connections) == N_CONNECTIONS  # type: ignore[union-attr]
    opened = [connection for connection in queue._app.pool._resource.queue if getattr(connection, "connected", False)]
    assert len(opened) == N_CONNECTIONS


def test_the_broker_of_the_tests_has_the_version_of_production() -> None:
    version = ".".join(map(str, broker_version(ROOT)))

    assert (
        f"rabbitmq:{version}-management" == DeploySection().broker_image
    )  # else change it, or the release in tools/servers.sh


def test_a_job_is_answered(queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess]) -> None:
    worker()

    job = wait_for_end(queue, queue.submit(PredictionRequest(("a/b",)), request_id="r-1234567"))

    assert job.answer == {"digest": "0" * 64, "predictions": [{"full_name": "a/b"}]}
    assert job.request_id == "r-1234567"


def test_waiting_jobs_are_answered_in_batches(
    queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess], store: Store
) -> None:
    jobs = [queue.submit(PredictionRequest((f"many/{number}",))) for number in range(100)]

    worker()

    assert {wait_for_end(queue, job).state for job in jobs} == {"done"}
    assert sum(batches(store)) == 100
    assert len(batches(store)) < 20


def test_identical_requests_get_the_same_job(queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess]) -> None:
    first = queue.submit(PredictionRequest(("same/one",)))

    assert queue.submit(PredictionRequest(("same/one",))).id == first.id
    assert queue.submit(PredictionRequest(("same/other",))).id != first.id
    assert (result := queue.find(PredictionRequest(("same/one",)))) is not None
    assert result.id == first.id
    worker()
    assert wait_for_end(queue, first).state == "done"
    assert queue.submit(PredictionRequest(("same/one",))).state == "done"


class ProcessKilled(BaseException):
    """Simulates a killed web process."""


def test_a_job_reserved_by_a_killed_web_process_is_answered_after_the_next_submit(
    queue: CeleryPredictionQueue,
    section: ServeSection,
    store: Store,
    worker: Callable[[], ChildProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(_: PredictionJob) -> None:
        raise ProcessKilled

    worker()
    with monkeypatch.context() as patched:
        patched.setattr(queue, "_publish", killed)
        with pytest.raises(ProcessKilled):
            queue.submit(PredictionRequest(("a/b",)), key="once")

    job = CeleryPredictionQueue(create_celery_app(section, store), section, store).submit(
        PredictionRequest(("a/b",)), key="once"
    )

    assert wait_for_end(queue, job).state == "done"


def test_a_job_that_changed_meanwhile_is_not_overwritten(queue: CeleryPredictionQueue) -> None:
    """A worker was faster than the web process, or another process has reserved the job since."""
    check_changes(ResultStore(queue._app))


@pytest.mark.parametrize("key", ["", "attempts"], ids=["request", "key"])
def test_a_request_has_one_living_job_and_after_a_failure_a_new_one(
    queue: CeleryPredictionQueue, section: ServeSection, store: Store, key: str
) -> None:
    app = queue._app
    queue.submit(PredictionRequest(("declares/queues",)))
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.queue_purge(QUEUE_NAME)
    section = dataclasses.replace(section, cache_ttl=1e9)

    def open_queue(**options: Any) -> CeleryPredictionQueue:
        return CeleryPredictionQueue(create_celery_app(section, store), section, store, **options)

    def count() -> int:
        with app.connection_for_read() as connection:
            return count_messages(connection)

    check_attempts(open_queue, count, key)
    if not key:
        check_expiry(open_queue, count)
    with app.connection_for_read() as connection, connection.channel() as channel:
        channel.queue_purge(QUEUE_NAME)


def test_an_idempotency_key_belongs_to_one_request(queue: CeleryPredictionQueue) -> None:
    first = queue.submit(PredictionRequest(("key/one",)), key="a-key")

    assert queue.submit(PredictionRequest(("key/one",)), key="a-key").id == first.id
    with pytest.raises(IdempotencyKeyReusedError):
        queue.submit(PredictionRequest(("key/other",)), key="a-key")


def test_a_job_whose_process_is_killed_and_its_batch_are_answered(
    queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    jobs = [queue.submit(PredictionRequest((name,))) for name in ("next/one", "kill/once", "next/two")]

    worker()

    assert [wait_for_end(queue, job).state for job in jobs] == ["done"] * 3


def test_only_the_job_that_kills_every_process_fails(
    queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    jobs = [queue.submit(PredictionRequest((name,))) for name in ("near/one", "kill/always", "near/two")]

    worker()

    states = [wait_for_end(queue, job) for job in jobs]
    assert [job.state for job in states] == ["done", "failed", "done"]
    assert "died" in (states[1].error or {})["message"]


def test_a_killed_worker_loses_no_job(queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess]) -> None:
    first = worker()
    job = queue.submit(PredictionRequest(("be/slower",)))
    wait_for(lambda: (queue.get(job.id) or job).state == "running")
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait()

    worker()

    assert wait_for_end(queue, job).state == "done"


def test_a_message_that_kills_whole_workers_becomes_a_dead_letter(
    queue: CeleryPredictionQueue, worker: Callable[[], ChildProcess], section: ServeSection, store: Store
) -> None:
    app = create_celery_app(section, store)
    job = queue.submit(PredictionRequest(("end/worker",)))
    for _ in range(MAX_ATTEMPTS):
        child = worker()
        wait_for(child.has_ended)

    worker()

    assert wait_for_end(queue, job).state == "failed"
    with app.connection_for_read() as connection:
        wait_for(lambda: count_messages(connection, DEAD_LETTER_QUEUE) > 0)
        wait_for(lambda: count_messages(connection) == 0)


def test_an_unresponsive_broker_is_a_quick_error(queue: CeleryPredictionQueue, running_servers: Servers) -> None:
    queue.submit(PredictionRequest(("before/silence",)))
    running_servers.broker.send(signal.SIGSTOP)
    try:
        with not_blocked(), pytest.raises(ExternalError, match="the queue cannot be written"):
            queue.submit(PredictionRequest(("during/silence",)))
    finally:
        running_servers.broker.send(signal.SIGCONT)


def test_a_broker_without_memory_is_a_quick_error_and_accepts_requests_again(
    queue: CeleryPredictionQueue, running_servers: Servers, section: ServeSection
) -> None:
    """It reads nothing more from a connection that publishes, not even that it is closed."""
    queue.submit(PredictionRequest(("before/alarm",)))
    running_servers.broker.run(RABBITMQCTL, "-q", "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        for send in (
            lambda: queue.submit(PredictionRequest(("during/alarm",))),
            lambda: send_message(queue._app, section, HEARTBEAT, retry=False),
        ):
            with not_blocked(), pytest.raises((ExternalError, *QUEUE_ERRORS)):
                send()
    finally:
        running_servers.broker.run(RABBITMQCTL, "-q", "set_vm_memory_high_watermark", "absolute", "1GB")

    wait_for(lambda: _accepts(queue))


def _accepts(queue: CeleryPredictionQueue) -> bool:
    try:
        queue.submit(PredictionRequest(("after/alarm",)))
    except ExternalError:
        return False
    return True


def test_an_unreachable_broker_is_a_quick_error_and_keeps_accepted_jobs(
    queue: CeleryPredictionQueue, running_servers: Servers, worker: Callable[[], ChildProcess]
) -> None:
    accepted = queue.submit(PredictionRequest(("accepted/one",)))
    running_servers.broker.stop(signal.SIGKILL)
    try:
        with not_blocked(), pytest.raises(ExternalError, match="the queue cannot be written"):
            queue.submit(PredictionRequest(("away/one",)))
        assert queue.get(accepted.id) is not None
    finally:
        running_servers.broker.start()

    worker()

    assert wait_for_end(queue, accepted).state == "done"
    assert wait_for_end(queue, queue.submit(PredictionRequest(("away/one",)))).state == "done"


def test_a_worker_survives_a_restart_of_the_broker(
    queue: CeleryPredictionQueue, running_servers: Servers, worker: Callable[[], ChildProcess]
) -> None:
    worker()
    running_servers.broker.stop()
    running_servers.broker.start()
    wait_for(lambda: is_ready(queue))

    assert wait_for_end(queue, queue.submit(PredictionRequest(("after/restart",)))).state == "done"


def test_an_unreachable_result_store_is_a_quick_error_and_answers_wait_for_it(
    queue: CeleryPredictionQueue, running_servers: Servers, worker: Callable[[], ChildProcess]
) -> None:
    worker()
    slow = queue.submit(PredictionRequest(("be/slower",)))
    wait_for(lambda: (queue.get(slow.id) or slow).state == "running")
    running_servers.results.stop(signal.SIGKILL)
    try:
        with not_blocked(), pytest.raises(ExternalError, match="the result store cannot be reached"):
            queue.submit(PredictionRequest(("no/results",)))
        time.sleep(2.0)  # until the answer could not be stored
    finally:
        running_servers.results.start()

    assert wait_for_end(queue, slow).state == "done"


def test_no_password_is_in_the_environment(section: ServeSection, running_servers: Servers, store: Store) -> None:
    password = Path(running_servers.environment["STARGAZE_BROKER_PASSWORD_FILE"]).read_text().strip()

    assert password not in json.dumps(to_environment(section, store))
    assert password in create_celery_app(section, store).conf.broker_url
