"""Questions through a real RabbitMQ and a real Redis: nothing that was accepted is lost, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import (
    DONE,
    MAX_ATTEMPTS,
    QUEUED,
    RESERVED,
    IdempotencyKeyReusedError,
    PredictionJob,
    PredictionRequest,
    new_job,
)
from stargaze.serve.queue.backends import waiting
from stargaze.serve.queue.celery_app import make_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue, now
from stargaze.serve.queue.result_store import Results
from stargaze.serve.runtime.settings import DEAD_LETTER_QUEUE, ready_file, to_environment
from stargaze.serve.supervisor.child_process import ChildProcess, start_child
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.store import Store
from tests.servers import Servers, servers
from tests.waiting import wait_for

pytestmark = [pytest.mark.servers, pytest.mark.filterwarnings("ignore::ResourceWarning")]  # sockets of killed servers
PATIENCE = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("servers")) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment.items():
            patch.setenv(name, value)
        yield found


@pytest.fixture
def section(running: Servers) -> ServeSection:
    return ServeSection(
        broker_url=running.broker_url, results_url=running.results_url, time_limit=20.0, worker_processes=1
    )


@pytest.fixture
def desk(section: ServeSection, store: Store) -> CeleryPredictionQueue:
    prepare_store(store)
    return CeleryPredictionQueue(make_app(section, store), section, store)


@pytest.fixture
def worker(section: ServeSection, store: Store, desk: CeleryPredictionQueue) -> Iterator[Callable[[], ChildProcess]]:
    """Start workers; whatever still runs at the end is ended."""
    begun: list[ChildProcess] = []

    def begin() -> ChildProcess:
        ready_file(store, os.getpid()).unlink(missing_ok=True)
        log = store.root / "logs" / "worker.log"
        begun.append(
            start_child("worker", ["tests.serve.queue.fake_worker"], to_environment(section, store), log, store.root)
        )
        wait_for(lambda: ready_file(store, os.getpid()).exists())
        return begun[-1]

    yield begin
    for child in begun:
        child.terminate()
    for child in begun:
        child.wait_or_kill()


def ended(desk: CeleryPredictionQueue, ticket: PredictionJob) -> PredictionJob:
    """Wait for the end of a ticket."""
    found: list[PredictionJob] = []

    def is_over() -> bool:
        seen = desk.get(ticket.id)
        assert seen is not None
        found[:] = [seen]
        return seen.state in ("done", "failed")

    wait_for(is_over)
    return found[0]


def batches(store: Store) -> list[int]:
    return [int(line) for line in (store.root / "batches").read_text().split()]


def test_a_question_is_answered(desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess]) -> None:
    worker()

    ticket = ended(desk, desk.submit(PredictionRequest(("a/b",)), request_id="r-1234567"))

    assert ticket.answer == {"digest": "0" * 64, "predictions": [{"full_name": "a/b"}]}
    assert ticket.request_id == "r-1234567"


def test_what_waits_is_answered_together(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess], store: Store
) -> None:
    tickets = [desk.submit(PredictionRequest((f"many/{number}",))) for number in range(100)]

    worker()

    assert {ended(desk, ticket).state for ticket in tickets} == {"done"}
    assert sum(batches(store)) == 100
    assert len(batches(store)) < 20


def test_who_asks_the_same_comes_to_the_same_ticket(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    first = desk.submit(PredictionRequest(("same/one",)))

    assert desk.submit(PredictionRequest(("same/one",))).id == first.id
    assert desk.submit(PredictionRequest(("same/other",))).id != first.id
    assert (found := desk.find(PredictionRequest(("same/one",)))) is not None
    assert found.id == first.id
    worker()
    assert ended(desk, first).state == "done"
    assert desk.submit(PredictionRequest(("same/one",))).state == "done"


class Killed(BaseException):
    """What a page ends with that is killed."""


def test_a_question_of_a_page_that_died_before_it_was_queued_is_answered_once_it_is_asked_again(
    desk: CeleryPredictionQueue,
    section: ServeSection,
    store: Store,
    worker: Callable[[], ChildProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(_: PredictionJob) -> None:
        raise Killed

    worker()
    with monkeypatch.context() as patched:
        patched.setattr(desk, "_send", killed)
        with pytest.raises(Killed):
            desk.submit(PredictionRequest(("a/b",)), key="once")

    ticket = CeleryPredictionQueue(make_app(section, store), section, store).submit(
        PredictionRequest(("a/b",)), key="once"
    )

    assert ended(desk, ticket).state == "done"


def test_what_became_of_a_ticket_meanwhile_stays(desk: CeleryPredictionQueue) -> None:
    """On Redis: a worker was quicker than the page, or another page has reserved the ticket anew."""
    results = Results(desk._app)
    first, second = (
        new_job(PredictionRequest(("a/b",)), now=now(), time_limit=20.0, job_id=str(uuid.UUID(int=7))) for _ in "ab"
    )
    results.keep([second], RESERVED)

    results.take_back(first)
    assert results.look(second.id) == (RESERVED, second.to_json())
    results.is_queued(first)
    assert results.look(second.id) == (RESERVED, second.to_json())
    results.is_queued(second)
    assert results.look(second.id) == (QUEUED, second.to_json())
    results.keep([second], DONE)
    results.is_queued(second)
    results.take_back(second)
    assert results.look(second.id) == (DONE, second.to_json())


def test_a_key_stands_for_one_question(desk: CeleryPredictionQueue) -> None:
    first = desk.submit(PredictionRequest(("key/one",)), key="mine")

    assert desk.submit(PredictionRequest(("key/one",)), key="mine").id == first.id
    with pytest.raises(IdempotencyKeyReusedError):
        desk.submit(PredictionRequest(("key/other",)), key="mine")


def test_a_question_whose_process_is_killed_is_answered_and_so_are_its_neighbours(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    tickets = [desk.submit(PredictionRequest((name,))) for name in ("next/one", "kill/once", "next/two")]

    worker()

    assert [ended(desk, ticket).state for ticket in tickets] == ["done"] * 3


def test_a_question_that_kills_every_process_ends_and_its_neighbours_do_not(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    tickets = [desk.submit(PredictionRequest((name,))) for name in ("near/one", "kill/always", "near/two")]

    worker()

    states = [ended(desk, ticket) for ticket in tickets]
    assert [ticket.state for ticket in states] == ["done", "failed", "done"]
    assert "died" in (states[1].error or {})["message"]


def test_a_worker_that_is_killed_as_a_whole_loses_nothing(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess]
) -> None:
    first = worker()
    ticket = desk.submit(PredictionRequest(("be/slower",)))
    wait_for(lambda: (desk.get(ticket.id) or ticket).state == "running")
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait()

    worker()

    assert ended(desk, ticket).state == "done"


def test_a_message_that_kills_whole_workers_ends_among_the_dead(
    desk: CeleryPredictionQueue, worker: Callable[[], ChildProcess], section: ServeSection, store: Store
) -> None:
    app = make_app(section, store)
    ticket = desk.submit(PredictionRequest(("end/worker",)))
    for _ in range(MAX_ATTEMPTS):
        child = worker()
        wait_for(child.has_ended)

    worker()

    assert ended(desk, ticket).state == "failed"
    with app.connection_for_read() as connection:
        wait_for(lambda: waiting(connection, DEAD_LETTER_QUEUE) > 0)
        assert waiting(connection) == 0


def test_a_broker_that_is_silent_is_a_quick_refusal(desk: CeleryPredictionQueue, running: Servers) -> None:
    desk.submit(PredictionRequest(("before/silence",)))
    running.broker.send(signal.SIGSTOP)
    begun = time.monotonic()
    try:
        with pytest.raises(ExternalError, match="the queue cannot be written"):
            desk.submit(PredictionRequest(("during/silence",)))
        assert time.monotonic() - begun < 10
    finally:
        running.broker.send(signal.SIGCONT)


def test_a_broker_that_is_away_is_a_quick_refusal_and_keeps_what_it_took(
    desk: CeleryPredictionQueue, running: Servers, worker: Callable[[], ChildProcess]
) -> None:
    kept = desk.submit(PredictionRequest(("kept/one",)))
    running.broker.end(signal.SIGKILL)
    begun = time.monotonic()
    try:
        with pytest.raises(ExternalError, match="the queue cannot be written"):
            desk.submit(PredictionRequest(("away/one",)))
        assert time.monotonic() - begun < 10
        assert desk.get(kept.id) is not None
    finally:
        running.broker.start()

    worker()

    assert ended(desk, kept).state == "done"
    assert ended(desk, desk.submit(PredictionRequest(("away/one",)))).state == "done"


def test_a_worker_outlives_a_restart_of_the_broker(
    desk: CeleryPredictionQueue, running: Servers, worker: Callable[[], ChildProcess]
) -> None:
    worker()
    running.broker.end()
    running.broker.start()

    assert ended(desk, desk.submit(PredictionRequest(("after/restart",)))).state == "done"


def test_results_that_are_away_refuse_quickly_and_an_answer_waits_for_them(
    desk: CeleryPredictionQueue, running: Servers, worker: Callable[[], ChildProcess]
) -> None:
    worker()
    slow = desk.submit(PredictionRequest(("be/slower",)))
    wait_for(lambda: (desk.get(slow.id) or slow).state == "running")
    running.results.end(signal.SIGKILL)
    begun = time.monotonic()
    try:
        with pytest.raises(ExternalError, match="the result store cannot be reached"):
            desk.submit(PredictionRequest(("no/results",)))
        assert time.monotonic() - begun < 10
        time.sleep(2.0)  # until the answer could not be stored
    finally:
        running.results.start()

    assert ended(desk, slow).state == "done"


def test_no_password_is_told(section: ServeSection, running: Servers, store: Store) -> None:
    password = Path(running.environment["STARGAZE_BROKER_PASSWORD_FILE"]).read_text().strip()

    assert password not in json.dumps(to_environment(section, store))
    assert password in make_app(section, store).conf.broker_url
