"""Questions through the real queue and the real result store, to a worker that may die."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stargaze.config import ServeSection
from stargaze.errors import ExternalError
from stargaze.serve.prediction_request import DONE, PredictionJob, PredictionRequest, new_job
from stargaze.serve.queue.backends import messages
from stargaze.serve.queue.celery_app import make_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.queue.result_store import Results
from stargaze.serve.runtime.settings import ready_file, to_environment
from stargaze.serve.supervisor.child_process import start_child
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.store import Store
from tests.waiting import wait_for

pytestmark = pytest.mark.real

SECTION = ServeSection(time_limit=4.0, cache_ttl=0.0)
PATIENCE = 40.0


def desk_of(store: Store) -> CeleryPredictionQueue:
    return CeleryPredictionQueue(make_app(SECTION, store), SECTION, store)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryPredictionQueue]:
    """A desk with a worker behind it."""
    store = Store(tmp_path_factory.mktemp("store"))
    prepare_store(store)
    log = store.root / "logs" / "worker.log"
    worker = start_child("worker", ["tests.serve.queue.fake_worker"], to_environment(SECTION, store), log, store.root)
    wait_for(lambda: ready_file(store, os.getpid()).exists())
    yield desk_of(store)
    worker.terminate()
    worker.wait_or_kill()


@pytest.fixture
def alone(store: Store) -> CeleryPredictionQueue:
    """A desk without a worker."""
    prepare_store(store)
    return desk_of(store)


def killed(_: PredictionJob) -> None:
    raise Killed


def outcome(desk: CeleryPredictionQueue, name: str) -> PredictionJob:
    """Ask and wait for the end."""
    ticket_id = desk.submit(PredictionRequest((name,))).id
    found: list[PredictionJob] = []

    def ended() -> bool:
        ticket = desk.get(ticket_id)
        assert ticket is not None
        found[:] = [ticket]
        return ticket.state in ("done", "failed")

    wait_for(ended)
    return found[0]


def test_a_question_is_answered(desk: CeleryPredictionQueue) -> None:
    ticket = outcome(desk, "a/b")

    assert ticket.state == "done"
    assert ticket.answer == {"digest": "0" * 64, "predictions": [{"full_name": "a/b"}]}
    assert ticket.request == PredictionRequest(("a/b",))


def test_a_question_whose_worker_is_killed_is_answered_by_the_next(desk: CeleryPredictionQueue) -> None:
    ticket = outcome(desk, "kill/once")

    assert (ticket.state, ticket.attempt) == ("done", 2)


def test_a_question_that_kills_every_worker_ends_and_the_queue_goes_on(desk: CeleryPredictionQueue) -> None:
    ticket = outcome(desk, "kill/always")

    assert ticket.state == "failed"
    assert outcome(desk, "a/b").state == "done"


def test_a_question_that_takes_too_long_is_reported_failed(desk: CeleryPredictionQueue) -> None:
    ticket = outcome(desk, "be/slow")

    assert ticket.error is not None
    assert ticket.error["message"] == "the prediction took longer than 4 s"


def test_an_error_of_ours_arrives_with_its_hint(desk: CeleryPredictionQueue) -> None:
    assert outcome(desk, "be/unknown").error == {"message": "be/unknown: not known", "hint": "Did you mean be/known?"}


def test_a_mistake_of_ours_is_reported_without_its_inside(desk: CeleryPredictionQueue) -> None:
    ticket = outcome(desk, "be/broken")

    assert ticket.error is not None
    assert "unexpected error" in ticket.error["message"]
    assert "Zero" not in str(ticket.error)


def test_a_ticket_that_was_never_given_is_unknown(alone: CeleryPredictionQueue) -> None:
    assert alone.get("00000000-0000-4000-8000-000000000000") is None


def test_a_question_is_queued_as_long_as_there_is_no_worker(alone: CeleryPredictionQueue) -> None:
    ticket = alone.submit(PredictionRequest(("a/b",)))

    assert alone.get(ticket.id) == ticket


def test_a_question_whose_message_is_lost_is_reported_failed(alone: CeleryPredictionQueue, store: Store) -> None:
    """kombu's filesystem queue forgets the message of a worker that is killed as a whole."""
    ticket = alone.submit(PredictionRequest(("a/b",)))
    for message in messages(store).iterdir():
        message.unlink()
    later = CeleryPredictionQueue(
        make_app(SECTION, store), SECTION, store, clock=lambda: datetime.now(UTC) + timedelta(seconds=60)
    )

    found = later.get(ticket.id)

    assert found is not None
    assert found.error is not None
    assert found.error["message"] == "no worker answered in time"


class Killed(BaseException):
    """What a page ends with that is killed."""


def test_a_question_of_a_page_that_died_before_it_was_queued_is_queued_by_the_next(
    alone: CeleryPredictionQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor whose connection broke asks the next page, with the same key."""
    monkeypatch.setattr("stargaze.serve.queue.celery_queue.WAY", 0.1)
    with monkeypatch.context() as patched:
        patched.setattr(alone, "_send", killed)
        with pytest.raises(Killed):
            alone.submit(PredictionRequest(("a/b",)), key="once")
    assert not list(messages(store).iterdir())

    ticket = desk_of(store).submit(PredictionRequest(("a/b",)), key="once")

    assert len(list(messages(store).iterdir())) == 1
    assert alone.get(ticket.id) == ticket
    assert alone.submit(PredictionRequest(("a/b",)), key="once") == ticket
    assert len(list(messages(store).iterdir())) == 1


def test_nobody_is_given_a_ticket_that_the_queue_may_yet_refuse(
    alone: CeleryPredictionQueue, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = threading.Event()
    asked: list[Any] = []

    def refuse(_: PredictionJob) -> None:
        reserved.set()
        wait_for(lambda: len(asked) == 1)
        time.sleep(0.2)
        raise OSError("full")

    def ask_too() -> None:
        reserved.wait()
        asked.append("begun")
        try:
            asked.append(desk_of(store).submit(PredictionRequest(("a/b",)), key="once"))
        except ExternalError as error:
            asked.append(error.message)

    monkeypatch.setattr(alone, "_send", refuse)
    other = threading.Thread(target=ask_too)
    other.start()
    with pytest.raises(ExternalError, match="the queue cannot be written: full"):
        alone.submit(PredictionRequest(("a/b",)), key="once")
    other.join()

    assert asked[1:] == ["the queue cannot be written: it has just refused the same"]


def test_what_may_not_be_queued_yet_is_found_by_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    section = dataclasses.replace(SECTION, cache_ttl=3600.0)
    prepare_store(store)
    desk = CeleryPredictionQueue(make_app(section, store), section, store)
    with monkeypatch.context() as patched:
        patched.setattr(desk, "_send", killed)
        with pytest.raises(Killed):
            desk.submit(PredictionRequest(("a/b",)))
    assert desk.find(PredictionRequest(("a/b",))) is None
    monkeypatch.setattr("stargaze.serve.queue.celery_queue.WAY", 0.0)

    ticket = desk.submit(PredictionRequest(("a/b",)))

    assert desk.find(PredictionRequest(("a/b",))) == ticket


def test_a_worker_that_is_quicker_than_the_page_is_not_overwritten(alone: CeleryPredictionQueue) -> None:
    results = Results(alone._app)
    ticket = new_job(PredictionRequest(("a/b",)), now=datetime.now(UTC), time_limit=4.0)
    results.keep([ticket], DONE)

    results.is_queued(ticket)

    assert results.look(ticket.id) == (DONE, ticket.to_json())


def test_a_queue_that_is_gone_refuses_at_once_and_takes_the_ticket_back(
    alone: CeleryPredictionQueue, store: Store
) -> None:
    messages(store).rename(store.queue / "away")
    begun = time.monotonic()

    with pytest.raises(ExternalError, match="the queue cannot be written"):
        alone.submit(PredictionRequest(("a/b",)))

    assert time.monotonic() - begun < 5
    with sqlite3.connect(store.results) as results:
        assert results.execute("SELECT count(*) FROM celery_taskmeta").fetchone() == (0,)


def test_results_that_cannot_be_written_refuse_at_once(alone: CeleryPredictionQueue, store: Store) -> None:
    store.results.mkdir()
    begun = time.monotonic()

    with pytest.raises(ExternalError, match="the result store cannot be reached"):
        alone.submit(PredictionRequest(("a/b",)))

    assert time.monotonic() - begun < 5
    assert list(messages(store).iterdir()) == []


def test_a_desk_that_can_write_is_ready(alone: CeleryPredictionQueue) -> None:
    alone.check()


@pytest.mark.parametrize("closed", ["queue", "results"])
def test_a_desk_that_cannot_write_is_not_ready(alone: CeleryPredictionQueue, store: Store, closed: str) -> None:
    if closed == "queue":
        messages(store).rename(store.queue / "away")
    else:
        store.results.mkdir()

    with pytest.raises(ExternalError):
        alone.check()


def test_only_json_travels(store: Store) -> None:
    conf = make_app(SECTION, store).conf

    assert (conf.accept_content, conf.task_serializer, conf.result_serializer) == (["json"], "json", "json")
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    assert conf.result_expires
    assert conf.task_time_limit > conf.task_soft_time_limit > 0
    assert not conf.worker_enable_remote_control
