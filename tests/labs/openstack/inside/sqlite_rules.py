"""Import this module to give SQLite the behavior that the services expect of a database server.

Transactions take the write lock when they begin. oslo.db uses a plain BEGIN: if two threads read and then write, SQLite fails
at once ("database is locked"), regardless of the timeout.

``enforce_foreign_keys`` enables foreign keys: Keystone relies on them, but does not enable them as Neutron does. Without them
the roles of a deleted application credential remain, and the next credential with the same number gets them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy


@sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute", retval=True)
def _begin_immediately(
    connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
) -> tuple[str, Any]:
    if statement == "BEGIN" and connection.dialect.name == "sqlite":
        statement = "BEGIN IMMEDIATE"
    return statement, parameters


def enforce_foreign_keys() -> None:
    """Enforce foreign keys in new connections, including cascading deletes."""

    @sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
    def _hold(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
