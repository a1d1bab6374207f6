"""Celery's database backend on one SQLite file that may be deleted, replaced or damaged while processes use it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from celery.backends.database import DatabaseBackend
from celery.backends.database.session import ResultModelBase, SessionManager
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import sessionmaker
from sqlalchemy.schema import CreateTable

from stargaze.errors import StargazeError
from stargaze.system.sqlite import connect_database, file_ids, is_damage, move_damaged

BUSY_TIMEOUT = 3.0
"""How long a writer waits for another [s]."""
MAX_CONNECTIONS = 72
"""More than the threads of a web process."""


class SqliteBackend(DatabaseBackend):  # type: ignore[misc]  # celery has no types
    """The backend; the setting RESULT_URL names it before the URL of the file."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.session_manager = _Sessions(Path(self.url.removeprefix("sqlite:///")))


class _Sessions(SessionManager):  # type: ignore[misc]  # celery has no types
    """One engine per process, whose connections are replaced when the file is."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._by_process: dict[int, Any] = {}

    def session_factory(self, dburi: str, **_options: Any) -> Any:
        """Return a session of this process."""
        if os.getpid() not in self._by_process:
            engine = create_engine(dburi, pool_size=4, max_overflow=MAX_CONNECTIONS - 4)
            _replace_lost_connections(engine, self._path)
            self._by_process = {os.getpid(): sessionmaker(bind=engine)}
        return self._by_process[os.getpid()]()

    def invalidate(self, dburi: str) -> None:
        """Keep the engine after an error: it replaces its connections itself."""


def _replace_lost_connections(engine: Engine, path: Path) -> None:
    tables = [
        str(CreateTable(table, if_not_exists=True).compile(dialect=sqlite.dialect()))
        for table in ResultModelBase.metadata.sorted_tables
    ]

    @event.listens_for(engine, "do_connect")
    def connect(*_: Any) -> sqlite3.Connection:
        try:
            return connect_database(path, BUSY_TIMEOUT, tables, check_same_thread=False)
        except StargazeError as error:  # of the disk: callers expect those of SQLite
            raise sqlite3.OperationalError(error.message) from error

    @event.listens_for(engine, "connect")
    def remember(_connection: sqlite3.Connection, record: Any) -> None:
        record.info["files"] = file_ids(path)

    @event.listens_for(engine, "checkout")
    def check(_connection: sqlite3.Connection, record: Any, _proxy: Any) -> None:
        if record.info["files"] != file_ids(path):
            raise DisconnectionError

    @event.listens_for(engine, "handle_error")
    def reconnect(context: Any) -> None:
        error = context.original_exception
        if is_damage(error):
            move_damaged(path)
            context.is_disconnect = True
        elif "no such table" in str(error):  # the file was emptied
            context.is_disconnect = True
