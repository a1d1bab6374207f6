"""Import this module to give SQLite the behavior that the services expect of a database server.

Transactions take the write lock when they begin. oslo.db uses a plain BEGIN: if two threads read and then write, SQLite fails
at once ("database is locked"), regardless of the timeout. A transaction that begins while another one of the same thread is
open only reads, as in Placement after a conflict of two allocations: it takes no lock, as it would wait for its own thread.

``enforce_foreign_keys`` enables foreign keys: Keystone relies on them, but does not enable them as Neutron does. Without them
the roles of a deleted application credential remain, and the next credential with the same number gets them.
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any

import sqlalchemy

_owners: dict[sqlite3.Connection, tuple[int, str]] = {}
"""The thread and the database of each connection at its last BEGIN."""


@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute", retval=True)
def _begin_immediately(
    connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
) -> tuple[str, Any]:
    if statement == "BEGIN" and connection.dialect.name == "sqlite":
        database = connection.connection.dbapi_connection
        owner = (threading.get_ident(), str(connection.engine.url.database))
        if not any(other is not database and _is_open(other) for other, at in list(_owners.items()) if at == owner):
            statement = "BEGIN IMMEDIATE"
        _owners[database] = owner
    return statement, parameters


def _is_open(database: sqlite3.Connection) -> bool:
    """Return whether a connection is in a transaction; forget a closed one."""
    try:
        return database.in_transaction
    except sqlite3.ProgrammingError:
        _owners.pop(database, None)
        return False


def enforce_foreign_keys() -> None:
    """Enforce foreign keys in new connections, including cascading deletes."""

    @sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
    def _hold(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
