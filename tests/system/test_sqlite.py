"""SQLite files that are deleted, damaged or replaced while processes use them are created again, by one of them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from stargaze.config import ServeSection
from stargaze.serve.prediction_request import DONE, PredictionRequest, new_job
from stargaze.serve.queue.backends import RESULT_STORE_ERRORS
from stargaze.serve.queue.celery_app import create_celery_app
from stargaze.serve.queue.result_store import ResultStore
from stargaze.store import Store
from stargaze.system.sqlite import _is_damaged, connect_database, move_damaged, open_transaction
from tests.waiting import run_in_new_process

TABLES = ("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)",)


def delete(path: Path, *suffixes: str) -> None:
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def damage_pages(path: Path) -> None:
    """Overwrite everything after the header."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xa5" * (len(content) - 100))


def replace_by_folder(path: Path) -> None:
    delete(path, "", "-wal", "-shm")
    (path / "inner").mkdir(parents=True)


def make_folder(path: Path) -> None:
    delete(path, "-wal")
    path.with_name(f"{path.name}-wal").mkdir()


def make_pipe(path: Path) -> None:
    delete(path, "", "-wal", "-shm")
    os.mkfifo(path)


FAULTS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: delete(path, ""),
    "deleted with its log": lambda path: delete(path, "", "-wal", "-shm"),
    "log deleted": lambda path: delete(path, "-wal"),
    "index deleted": lambda path: delete(path, "-shm"),
    "log and index deleted": lambda path: delete(path, "-wal", "-shm"),
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, 1000),
    "other content": lambda path: path.write_bytes(b"not a database " * 1000),
    "damaged pages": damage_pages,
    "log damaged": lambda path: path.with_name(f"{path.name}-wal").write_bytes(b"x" * 10_000),
    "folder": replace_by_folder,
    "folder in place of the log": make_folder,
    "pipe": make_pipe,
    "protected": lambda path: path.chmod(0o400),
    "public": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_database_works_after_each_fault(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "numbers.sqlite"
    with open_transaction(path, 2.0, TABLES) as db:
        db.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(2000)])

    FAULTS[fault](path)

    for _ in range(2):  # one that notices the damage inside its transaction may fail
        with contextlib.suppress(sqlite3.DatabaseError), open_transaction(path, 2.0, TABLES) as db:
            db.execute("SELECT sum(number) FROM numbers").fetchone()
    with open_transaction(path, 2.0, TABLES) as db:
        db.execute("INSERT INTO numbers VALUES (-1)")
    with open_transaction(path, 2.0) as db:
        assert db.execute("SELECT count(*) FROM numbers WHERE number < 0").fetchone() == (1,)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.thorough
@pytest.mark.parametrize("fault", FAULTS)
def test_the_result_store_works_after_each_fault_under_open_connections(tmp_path: Path, fault: str) -> None:
    store = Store(tmp_path)
    web, worker = (ResultStore(create_celery_app(ServeSection(), store)) for _ in range(2))
    request = PredictionRequest(("x" * 1000,))

    def save(results: ResultStore, job_id: str) -> None:
        results.save([new_job(request, now=datetime.now(UTC), time_limit=4.0, job_id=job_id)], DONE)

    def has_job(results: ResultStore, job_id: str) -> bool:
        stored = results.get(job_id)
        return stored is not None and stored[0] == DONE and stored[1]["request"] == request.to_json()

    for number in range(30):
        save(web, f"before-{number}")
    assert has_job(worker, "before-7")

    FAULTS[fault](store.results)

    for number, results in enumerate((worker, web) * 3):
        with contextlib.suppress(*RESULT_STORE_ERRORS):  # the first one may fail, with status 503 for the visitor
            save(results, f"during-{number}")
    save(web, "after-web")
    save(worker, "after-worker")
    for results in (web, worker):
        assert has_job(results, "after-web")
        assert has_job(results, "after-worker")
        assert has_job(results, "during-5")


def test_a_damaged_file_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    path.write_bytes(b"not a database " * 1000)

    with open_transaction(path, 2.0, TABLES):
        pass

    (kept,) = tmp_path.glob("numbers.sqlite.damaged-*")
    assert kept.read_bytes() == b"not a database " * 1000


def test_a_valid_file_is_not_moved(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    connect_database(path, 2.0, TABLES).close()

    assert not move_damaged(path)
    assert path.exists()


@pytest.mark.thorough
def test_a_valid_file_is_not_damaged_while_its_journal_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    connect_database(path, 2.0, TABLES).close()
    script = "import os, sys\nwhile True:\n os.close(os.open(sys.argv[1], os.O_CREAT))\n os.unlink(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", script, f"{path}-journal"]) as writer:
        try:
            assert not any(_is_damaged(path) for _ in range(2_000))
        finally:
            writer.kill()


def _write(path: Path, barrier: Barrier, number: int) -> None:
    barrier.wait(60.0)
    with open_transaction(path, 10.0, TABLES) as db:
        db.execute("INSERT INTO numbers VALUES (?)", (number,))


def _write_together(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(8)
    for _ in range(10):
        path.write_bytes(b"not a database " * 1000)
        writers = [context.Process(target=_write, args=(path, barrier, number)) for number in range(8)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert [writer.exitcode for writer in writers] == [0] * 8
        with open_transaction(path, 2.0) as db:
            assert db.execute("SELECT count(*) FROM numbers").fetchone() == (8,)


@pytest.mark.real
def test_processes_that_notice_the_damage_together_create_one_new_file(tmp_path: Path) -> None:
    run_in_new_process(_write_together, tmp_path / "numbers.sqlite")


@pytest.mark.real
def test_a_further_connection_does_not_release_the_locks_of_its_process(tmp_path: Path) -> None:
    """Closing any descriptor of the file would: then another process deletes the log that this one still uses."""
    path = tmp_path / "a.sqlite"
    script = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('INSERT INTO t VALUES (1)'); db.commit()"
    )
    with contextlib.closing(connect_database(path, 3.0, ["CREATE TABLE t (x)"])) as first:
        assert first.execute("SELECT count(*) FROM t").fetchone() == (0,)
        log = path.with_name("a.sqlite-wal").stat().st_ino
        with contextlib.closing(connect_database(path, 3.0)):
            subprocess.run([sys.executable, "-c", script, str(path)], check=True)

            assert path.with_name("a.sqlite-wal").stat().st_ino == log
            assert first.execute("SELECT count(*) FROM t").fetchone() == (1,)
