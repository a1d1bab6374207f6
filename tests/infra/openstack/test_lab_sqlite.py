"""Transactions of the services of the OpenStack lab: SQLite takes the place of their database server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labs.openstack.configuration import INSIDE

SETUP = """
import sys
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
import sqlite_rules

engine = sa.create_engine(f"sqlite:///{sys.argv[1]}?timeout={sys.argv[2]}")


@sa.event.listens_for(engine, "connect")
def manual(connection, record):
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")


@sa.event.listens_for(engine, "begin")
def begin(connection):
    connection.exec_driver_sql("BEGIN")


def read(value=None):
    with engine.begin() as connection:
        return connection.exec_driver_sql("SELECT n FROM t").scalar()


def is_locked():
    try:
        ThreadPoolExecutor().submit(read).result()
    except sa.exc.OperationalError as error:
        return "locked" in str(error)
    return False


def increment(number):
    with engine.begin() as connection:
        n = connection.exec_driver_sql("SELECT n FROM t").scalar()
        connection.exec_driver_sql(f"UPDATE t SET n = {n + 1}")


with engine.begin() as connection:
    connection.exec_driver_sql("CREATE TABLE t (n INTEGER)")
    connection.exec_driver_sql("INSERT INTO t VALUES (0)")
"""
NESTED_READ = """
with engine.begin() as outer:
    outer.exec_driver_sql("UPDATE t SET n = 5")
    print(read())
print(read())
"""
OTHER_THREAD = """
with engine.begin():
    print(is_locked())
print(is_locked())
"""
AFTER_NESTED = """
with engine.begin():
    read()
with engine.begin():
    print(is_locked())
"""
CLOSED = """
with engine.begin():
    read()
engine.dispose()
with engine.begin():
    print(is_locked())
"""
COUNT = """
with ThreadPoolExecutor(4) as threads:
    list(threads.map(increment, range(40)))
print(read())
"""


@pytest.mark.parametrize(
    ("script", "timeout", "printed"),
    [
        pytest.param(NESTED_READ, 1, ["0", "5"], id="a read inside of a write does not wait for its own thread"),
        pytest.param(OTHER_THREAD, 1, ["True", "False"], id="another thread waits"),
        pytest.param(AFTER_NESTED, 1, ["True"], id="the next transaction takes the lock again"),
        pytest.param(CLOSED, 1, ["True"], id="closed connections do not count"),
        pytest.param(COUNT, 30, ["40"], id="threads that read and then write lose nothing"),
    ],
)
def test_transactions_behave_as_those_of_a_server(
    script: str, timeout: int, printed: list[str], tmp_path: Path
) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", SETUP + script, tmp_path / "test.db", str(timeout)],
        env={**os.environ, "PYTHONPATH": str(INSIDE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert completed.stdout.split() == printed, completed.stderr
