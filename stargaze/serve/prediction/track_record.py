"""The track record: each prediction of a real repository is kept, and scored when its stars are seen on a later day.

Nothing is kept of who asked. One SQLite file below the store, which all workers write and the page reads.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.prediction_request import Answer
from stargaze.serve.runtime.sqlite import open_transaction

TABLES = (
    """CREATE TABLE IF NOT EXISTS predictions (
        name TEXT, release TEXT, day TEXT, stars REAL, low REAL, high REAL, coverage REAL, noted TEXT,
        actual REAL, seen TEXT, held INTEGER, error REAL, PRIMARY KEY (name, release, day)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS by_age ON predictions (noted)",
)
SHOWN = ("day", "release", "stars", "low", "high", "coverage", "actual", "seen", "held")
KEPT = timedelta(days=400)
"""Later a prediction says little of the model of today."""
MOST = 500_000
"""Rows, some 150 bytes each; of more the oldest go."""
PATIENCE = 2.0
"""How long another process is waited for: a visitor waits too [s]."""
FAULTS = (sqlite3.Error, StargazeError, LookupError, TypeError, ValueError)
REAL = ("github", "known")
EMPTY: Mapping[str, Any] = {"kept": 0, "scored": 0, "held": None, "rmsle": None, "since": None, "last": None}
log = logging.getLogger(__name__)


class TrackRecord:
    """Keeps and scores; a connection lives for one call only, so that processes may fork in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tidied = ""

    def note(self, answers: Sequence[Answer], now: datetime) -> None:
        """Score what was kept by the counts of these answers, then keep their predictions; never raises."""
        today = now.date().isoformat()
        try:
            told = [(str(answer["digest"]), one) for answer in answers for one in answer["predictions"] if is_real(one)]
            if told:
                with open_transaction(self._path, PATIENCE, TABLES) as db:
                    _score(db, [one for _, one in told])
                    _keep(db, told, today)
                    if self._tidied != today:
                        _tidy(db, now)
                self._tidied = today
        except FAULTS as error:
            log.warning("%s: %d answers are not in the track record: %s", self._path, len(answers), error)

    def summary(self) -> Mapping[str, Any]:
        """Notify how good predictions were: how many are kept and scored, the share whose interval held the truth.

        ``rmsle`` [nat] is of the scored, ``since`` the day of the first kept, ``last`` the day of the newest score.
        """
        rows = self._read(
            "SELECT COUNT(*) AS kept, COUNT(seen) AS scored, AVG(held) AS held, AVG(error * error) AS rmsle,"
            " MIN(noted) AS since, MAX(seen) AS last FROM predictions",
            (),
        )
        found = rows[0] if rows else dict(EMPTY)
        return {**found, "rmsle": None if found["rmsle"] is None else math.sqrt(found["rmsle"])}

    def of(self, full_name: str, most: int = 10) -> list[dict[str, Any]]:
        """Return what was predicted of one repository, and what became true, the newest first."""
        rows = self._read(
            f"SELECT {', '.join(SHOWN)} FROM predictions WHERE name = ? ORDER BY day DESC, noted DESC LIMIT ?",  # noqa: S608 # our names
            (full_name.lower(), most),
        )
        return [{**row, "held": None if row["held"] is None else bool(row["held"])} for row in rows]

    def _read(self, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        try:
            with open_transaction(self._path, PATIENCE) as db:
                found = db.execute(statement, values)
                names = [column[0] for column in found.description]
                return [dict(zip(names, row, strict=True)) for row in found]
        except FAULTS as error:
            log.warning("%s: the track record cannot be read: %s", self._path, error)
            return []


def is_real(one: Mapping[str, Any]) -> bool:
    """Tell whether a prediction is of a repository as it is, not of figures that were typed or tried."""
    return one.get("source") in REAL and not one.get("what_if")


def _score(db: sqlite3.Connection, told: Iterable[Mapping[str, Any]]) -> None:
    """Give each kept row the first true count of a later day; a score is never changed."""
    for one in told:
        actual, seen = one.get("actual"), one.get("fetched_at")
        if actual is None or seen is None:
            continue
        name = str(one["full_name"]).lower()
        waiting = db.execute(
            "SELECT release, day, stars, low, high FROM predictions WHERE name = ? AND seen IS NULL AND day < ?",
            (name, seen),
        ).fetchall()
        scores = [
            (actual, seen, low <= actual <= high, math.log1p(stars) - math.log1p(actual), name, release, day)
            for release, day, stars, low, high in waiting
        ]
        db.executemany(
            "UPDATE predictions SET actual = ?, seen = ?, held = ?, error = ?"
            " WHERE name = ? AND release = ? AND day = ? AND seen IS NULL",
            scores,
        )


def _keep(db: sqlite3.Connection, told: Iterable[tuple[str, Mapping[str, Any]]], today: str) -> None:
    """Keep one row a repository, release and day of its figures; what the model was fitted on proves nothing."""
    rows = [
        (
            *(one["full_name"].lower(), release, one.get("fetched_at") or today),
            *(one["stars"], one["low"], one["high"], one["coverage"], today),
        )
        for release, one in told
        if not one.get("learned")
    ]
    db.executemany(
        "INSERT OR IGNORE INTO predictions (name, release, day, stars, low, high, coverage, noted)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _tidy(db: sqlite3.Connection, now: datetime) -> None:
    """Drop what is old, and the oldest of too many."""
    db.execute("DELETE FROM predictions WHERE noted < ?", ((now - KEPT).date().isoformat(),))
    (number,) = db.execute("SELECT COUNT(*) FROM predictions").fetchone()
    if number > MOST:
        (day,) = db.execute(
            "SELECT noted FROM predictions ORDER BY noted LIMIT 1 OFFSET ?", (number - MOST,)
        ).fetchone()
        db.execute("DELETE FROM predictions WHERE noted < ?", (day,))
