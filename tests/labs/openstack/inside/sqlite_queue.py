"""Import this to have SQLite's writers queue: a transaction takes its lock when it begins.

oslo.db begins with a plain BEGIN. Two threads that read and then both want to write are refused at once then ("database is
locked"), whatever the time limit says, because neither could go on without losing what it has read.
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
