"""The SQLite result store reads nothing but JSON, whatever somebody wrote into its file."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import DONE, QUEUED, RESERVED, RUNNING, PredictionJob, PredictionRequest, new_job
from stargaze.serve.queue.celery_app import create_celery_app
from stargaze.serve.queue.celery_queue import CeleryPredictionQueue
from stargaze.serve.queue.result_store import ResultStore
from stargaze.serve.supervisor.supervise import prepare_store
from stargaze.serve.web.app import make_web
from stargaze.serve.web.views.prediction_view import is_readable
from stargaze.store import Store
from stargaze.system import sqlite
from stargaze.system.sqlite import connect_database
from tests.serve.queue.attempts import check_changes
from tests.waiting import run_in_new_process

SECTION = ServeSection(results_ttl=60.0)
REQUEST = PredictionRequest(("a/b",))
CELERY_TABLES = (
    """CREATE TABLE celery_taskmeta (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, task_id VARCHAR(155) UNIQUE,
    status VARCHAR(50), result BLOB, date_done DATETIME, traceback TEXT, name VARCHAR(155), args BLOB, kwargs BLOB,
    worker VARCHAR(155), retries INTEGER, queue VARCHAR(155))""",
    """CREATE TABLE celery_tasksetmeta (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, taskset_id VARCHAR(155) UNIQUE,
    result BLOB, date_done DATETIME)""",
)


class Malicious:
    """Creates a file if anything unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture
def results(store: Store) -> ResultStore:
    return ResultStore(create_celery_app(SECTION, store))


def make_job(number: int = 0) -> PredictionJob:
    job_id = f"00000000-0000-4000-8000-{number:012}"
    return new_job(REQUEST, now=datetime.now(UTC), time_limit=30.0, job_id=job_id)


def execute(path: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    """Execute statements as another program would; the last one gets values."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in statements[:-1]:
            db.execute(statement)
        db.execute(statements[-1], values)


def plant_text(path: Path, job_id: str, text: object) -> None:
    statement = "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)"
    execute(path, statement, values=(job_id, text, time.time()))


def plant_in_celerys_table(path: Path, job_id: str, content: bytes) -> None:
    statement = "INSERT INTO celery_taskmeta (task_id, status, result) VALUES (?, 'SUCCESS', ?)"
    execute(path, *CELERY_TABLES, statement, values=(job_id, content))


@pytest.mark.parametrize(("plant", "status"), [(plant_in_celerys_table, 404), (plant_text, 200)], ids=["old", "new"])
def test_a_pickle_is_never_run_and_the_page_answers(
    released_store: Store, plant: Callable[..., None], status: int, tmp_path: Path
) -> None:
    prepare_store(released_store)
    results = ResultStore(create_celery_app(SECTION, released_store))
    queue = CeleryPredictionQueue(create_celery_app(SECTION, released_store), SECTION, released_store)
    page = make_web(SECTION, released_store, queue, lambda: datetime.now(UTC)).test_client()
    if plant is plant_text:
        results.check()  # creates the table
    job_id = make_job().id
    plant(released_store.results, job_id, pickle.dumps(Malicious(tmp_path / "trace")))

    for url in (f"/api/v1/predictions/{job_id}", f"/predictions/{job_id}"):
        response = page.get(url)
        assert not (tmp_path / "trace").exists()
        assert response.status_code == status
    url = page.post("/api/v1/predictions", json={"repositories": ["a/b"]}).json["url"]
    assert page.get(url).json["state"] == "queued"
    results.cleanup()
    assert not (tmp_path / "trace").exists()
    with contextlib.closing(sqlite3.connect(released_store.results)) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
        ).fetchall()
    assert tables == [("jobs",)]


@pytest.mark.parametrize(
    "predictions",
    [
        [],
        [{}],
        [{"full_name": "a/b", "expected_stars": "many"}],
        [{"full_name": ["a"], "expected_stars": 1.0, "interval_low": 0, "interval_high": 1, "actual_stars": 0}],
    ],
    ids=["none", "empty", "text", "list"],
)
def test_an_answer_that_cannot_be_shown_has_failed(released_store: Store, predictions: list[object]) -> None:
    prepare_store(released_store)
    queue = CeleryPredictionQueue(create_celery_app(SECTION, released_store), SECTION, released_store)
    page = make_web(SECTION, released_store, queue, lambda: datetime.now(UTC)).test_client()
    answered = dataclasses.replace(make_job(), answer={"digest": "0", "answered_at": "", "predictions": predictions})
    ResultStore(create_celery_app(SECTION, released_store)).save([answered], DONE)

    shown = page.get(f"/predictions/{answered.id}")

    assert shown.status_code == 200
    assert "The stored result cannot be read" in shown.text
    assert [page.get(f"/predictions/{answered.id}.{suffix}").status_code for suffix in ("csv", "json")] == [404, 404]


@pytest.mark.parametrize("submit", ["form", "api", "page"])
def test_an_unreadable_answer_is_computed_again_when_it_is_submitted_again(released_store: Store, submit: str) -> None:
    prepare_store(released_store)
    section = dataclasses.replace(SECTION, cache_ttl=3600.0)
    queue = CeleryPredictionQueue(
        create_celery_app(section, released_store), section, released_store, is_readable=is_readable
    )
    page = make_web(section, released_store, queue, lambda: datetime.now(UTC)).test_client()
    first = queue.submit(PredictionRequest(("a/b",)))
    answered = dataclasses.replace(first, answer={"digest": "0", "answered_at": "", "predictions": [{}]})
    ResultStore(create_celery_app(section, released_store)).save([answered], DONE)

    if submit == "form":
        queue.submit(PredictionRequest(("a/b",)))
    elif submit == "api":
        page.post("/api/v1/predictions", json={"repositories": ["a/b"]})
    shown = page.get("/repositories/a/b")

    second = queue.find(PredictionRequest(("a/b",)))
    assert second
    assert second.id != first.id
    assert f'data-poll="/api/v1/predictions/{second.id}"' in shown.text
    assert queue.submit(PredictionRequest(("a/b",))).id == second.id


FOREIGN_OBJECTS = {
    "tables of Celery": CELERY_TABLES,
    "another table of this name": ("CREATE TABLE jobs (x)",),
    "a view of this name": ("CREATE VIEW jobs AS SELECT 1 AS id",),
    "an index of this name": ('CREATE TABLE "a""b" (x)', 'CREATE INDEX jobs ON "a""b" (x)'),
    "a trigger": (
        "CREATE TABLE jobs (id TEXT PRIMARY KEY, job TEXT NOT NULL, stored_at REAL NOT NULL)",
        "CREATE TRIGGER t AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END",
    ),
    "another encoding": ('PRAGMA encoding = "UTF-16"', "CREATE TABLE jobs (x)"),
    "a virtual table": ("CREATE VIRTUAL TABLE jobs USING fts5(x)",),
}


@pytest.mark.parametrize("name", FOREIGN_OBJECTS)
def test_what_else_is_in_the_file_is_removed(
    store: Store, results: ResultStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.root.mkdir(exist_ok=True)
    execute(store.results, *FOREIGN_OBJECTS[name])
    job = make_job()

    results.save([job], QUEUED)

    assert results.get(job.id) == (QUEUED, job.to_json())
    assert "results.sqlite: the " in caplog.text
    caplog.clear()
    assert ResultStore(results._app).replace(job.id, (QUEUED, job.to_json()), job)
    assert caplog.text == ""


MALFORMED = {
    "empty": "",
    "a pickle": pickle.dumps({"status": DONE, "result": {}}),
    "not JSON": '{"status"',
    "not UTF-8": b"\xff\xfe{",
    "nested": "[" * 100_000,
    "a number": 5,
    "a large number": "1" * 5000,
    "a list": "[]",
    "a text": '"status"',
    "no content": '{"status":"SUCCESS"}',
    "an unknown status": '{"status":"X","result":{},"task_id":"ID"}',
    "a status of another type": '{"status":[],"result":{},"task_id":"ID"}',
    "not text": b'{"status":"QUEUED","result":{},"task_id":"ID"}',
    "an unfinished job of another id": '{"status":"QUEUED","result":{},"task_id":"x"}',
    "an unfinished job in another form": '{"status": "QUEUED", "result": {}}',
    "a running job in another form": '{"result":{},"status":"RUNNING"}',
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_job_has_failed_and_its_request_can_be_sent_again(
    store: Store, results: ResultStore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_store(store)
    queue = CeleryPredictionQueue(results._app, SECTION, store)
    first = queue.submit(REQUEST, key="once")
    text = MALFORMED[name]
    if isinstance(text, bytes):
        text = text.replace(b"ID", first.id.encode())
    elif isinstance(text, str):
        text = text.replace("ID", first.id)
    plant_text(store.results, first.id, text)

    caplog.clear()
    failed = queue.get(first.id)

    assert failed is not None
    assert failed.error is not None
    assert failed.error["hint"]
    assert [record.getMessage() for record in caplog.records] == [
        f"the result store contains no valid job {first.id}: it has failed"
    ]
    assert queue.submit(REQUEST, key="once").id == queue._hash_id({"key": "once"}, 1)


def test_a_job_that_changed_meanwhile_is_not_overwritten(results: ResultStore) -> None:
    check_changes(results)


def test_only_the_first_of_equal_ids_is_added(results: ResultStore) -> None:
    job = make_job()

    assert results.add(job, RESERVED) is None
    assert results.add(job, QUEUED) == (RESERVED, job.to_json())
    assert results.get(job.id) == (RESERVED, job.to_json())


def test_many_jobs_are_read_with_one_query_and_unfinished_ones_left_out(results: ResultStore) -> None:
    jobs = [make_job(number) for number in range(4)]
    for job, status in zip(jobs, (RESERVED, QUEUED, RUNNING, DONE), strict=True):
        results.save([job], status)
    ids = [job.id for job in jobs] + [f"unknown-{number}" for number in range(40_000)]

    found = results.get_many(ids)

    assert {key for key, value in found.items() if value} == {jobs[3].id}
    assert len(found) == 40_001
    assert results.get_many([]) == {}


def test_jobs_expire_after_they_were_written_last(store: Store, results: ResultStore) -> None:
    jobs = [make_job(number) for number in range(3)]
    results.save(jobs, RESERVED)
    execute(store.results, "UPDATE jobs SET stored_at = stored_at - 61")
    results.mark_queued(jobs[0])
    results.replace(jobs[1].id, (RESERVED, jobs[1].to_json()), jobs[1])

    results.cleanup()

    assert [results.get(job.id) is not None for job in jobs] == [True, True, False]


def _save_all(results: ResultStore, numbers: range) -> None:
    for number in numbers:
        results.save([make_job(number)], DONE)
    assert list(results._texts._idle)[1:] == [os.getpid()]  # type: ignore[attr-defined]


def _save_in_forked_processes(root: Path) -> None:
    context, results = multiprocessing.get_context("fork"), ResultStore(create_celery_app(SECTION, Store(root)))
    results.check()
    children = [context.Process(target=_save_all, args=(results, range(n * 25, n * 25 + 25))) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4


@pytest.mark.real
def test_processes_that_are_forked_use_connections_of_their_own(store: Store, results: ResultStore) -> None:
    run_in_new_process(_save_in_forked_processes, store.root)

    assert all(results.get_many([make_job(number).id for number in range(100)]).values())


def test_a_file_that_is_deleted_while_it_is_opened_is_not_used(
    store: Store, results: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = make_job(), ResultStore(results._app)

    def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
        monkeypatch.setattr(sqlite, "connect_database", connect_database)
        opened = connect_database(*arguments, **options)
        for path in store.root.glob(f"{store.results.name}*"):
            path.unlink()
        other.check()
        return opened

    monkeypatch.setattr(sqlite, "connect_database", connect)
    results.save([job], DONE)

    assert other.get(job.id) == (DONE, job.to_json())


def test_few_connections_stay_open(results: ResultStore) -> None:
    texts: Any = results._texts
    barrier = threading.Barrier(10)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: texts._run(lambda _db: barrier.wait(60)), range(10)))

    assert len(texts._idle[os.getpid()]) == 4


@pytest.mark.parametrize("content", [b"", b"not a database " * 1000], ids=["emptied", "damaged"])
def test_a_damaged_or_emptied_file_is_noticed_without_an_error(
    store: Store, results: ResultStore, content: bytes
) -> None:
    results.check()
    execute(store.results, "PRAGMA wal_checkpoint(TRUNCATE)")  # now the open connection must read the file again
    store.results.write_bytes(content)
    job = make_job()

    assert results.get(job.id) is None
    results.save([job], DONE)
    assert ResultStore(results._app).get(job.id) == (DONE, job.to_json())


def test_a_damaged_log_is_replaced_although_an_idle_connection_keeps_its_index(
    store: Store, results: ResultStore
) -> None:
    jobs = [make_job(number) for number in range(500)]
    results.save(jobs, DONE)
    with contextlib.closing(sqlite3.connect(store.results)) as idle:
        assert idle.execute("SELECT count(*) FROM jobs").fetchone() == (500,)
        Path(f"{store.results}-wal").write_bytes(b"x" * 10_000)

        other = ResultStore(results._app)
        assert other.get(jobs[0].id) is None  # it has noticed the damage
        results.save([jobs[1]], DONE)
        assert other.get(jobs[1].id) == (DONE, jobs[1].to_json())
