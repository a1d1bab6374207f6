"""Import this module to give SQLite the behavior that the services expect of a database server.

Writers queue: a transaction takes its lock when it begins. oslo.db begins with a plain BEGIN; two threads that read and then
both want to write are refused at once then ("database is locked"), whatever the time limit says, because neither could go on
without losing what it has read.

Foreign keys hold where ``hold_foreign_keys`` is called: Keystone counts on them, and does not ask for them as Neutron does.
Without them the roles of a deleted application credential stay, and the next one gets its number.
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


def hold_foreign_keys() -> None:
    """Enforce foreign keys in new connections, including cascading deletes."""

    @sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "connect")
    def _hold(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
