"""The track record in SQLite: predictions, scored when a repository is seen again; nothing about visitors is stored."""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.prediction_request import Answer
from stargaze.system.sqlite import SqlitePool, open_transaction

TABLES = (
    """CREATE TABLE IF NOT EXISTS track_record (
        name TEXT, release TEXT, day TEXT, stars REAL, low REAL, high REAL, coverage REAL, recorded_on TEXT,
        actual REAL, scored_on TEXT, in_interval INTEGER, error REAL, PRIMARY KEY (name, release, day)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS track_record_by_age ON track_record (recorded_on)",
)
MAX_AGE = timedelta(days=400)
"""Age after which predictions are deleted; older ones say little about the present model."""
MAX_ROWS = 500_000
"""Maximum number of rows, of some 150 bytes each; the oldest ones are deleted."""
TIMEOUT = 2.0
"""Timeout for locks of other processes [s]; a visitor waits too."""
FAULTS = (sqlite3.Error, StargazeError, LookupError, TypeError, ValueError)
REAL_SOURCES = ("github", "bundle")
EMPTY: Mapping[str, Any] = {"recorded": 0, "scored": 0} | dict.fromkeys(
    ("coverage", "rmsle", "first_recorded_on", "last_scored_on")
)
log = logging.getLogger(__name__)


class TrackRecord(SqlitePool):
    """Records and scores predictions."""

    def __init__(self, path: Path, exclusions: Exclusions = NO_EXCLUSIONS) -> None:
        super().__init__(path, TIMEOUT)
        self._exclusions = exclusions
        self._cleaned_on = ""

    def record(self, answers: Sequence[Answer], now: datetime) -> None:
        """Score earlier predictions with the counts of these answers, then store their predictions; never raises."""
        today = now.date().isoformat()
        try:
            predictions = [
                (str(answer["digest"]), item)
                for answer in answers
                for item in answer["predictions"]
                if item.get("source") in REAL_SOURCES
                and not item.get("what_if")
                and not self._exclusions.match(str(item["full_name"]))
            ]
            if predictions:
                self._run(partial(self._record, predictions, now))
                self._cleaned_on = today
        except FAULTS as error:
            log.warning("%s: %d answers are not in the track record: %s", self._path, len(answers), error)

    def _record(
        self, predictions: Sequence[tuple[str, Mapping[str, Any]]], now: datetime, db: sqlite3.Connection
    ) -> None:
        today = now.date().isoformat()
        db.execute("BEGIN IMMEDIATE")  # it reads first: otherwise it could not write after another process did
        _score(db, [item for _, item in predictions])
        _insert(db, predictions, today)
        if self._cleaned_on != today:
            _delete_old(db, now)
            _delete_excluded(db, self._exclusions)

    def _prepare(self, db: sqlite3.Connection) -> None:
        for statement in TABLES:
            db.execute(statement)

    def summary(self) -> Mapping[str, Any]:
        """Return counts of recorded and scored predictions, coverage and ``rmsle`` [nat] of the scored, and two days."""
        if not self._path.is_file():
            return EMPTY
        try:
            with open_transaction(self._path, TIMEOUT) as db:
                *counts, squared_error, first, last = db.execute(
                    "SELECT COUNT(*), COUNT(scored_on), AVG(in_interval), AVG(error * error), MIN(recorded_on),"
                    " MAX(scored_on) FROM track_record"
                ).fetchone()
        except FAULTS as error:
            log.warning("%s: the track record cannot be read: %s", self._path, error)
            return EMPTY
        rmsle = None if squared_error is None else math.sqrt(squared_error)
        return dict(zip(EMPTY, (*counts, rmsle, first, last), strict=True))


def _score(db: sqlite3.Connection, predictions: Iterable[Mapping[str, Any]]) -> None:
    """Score each stored row with the first true count of a later day; a score is never changed."""
    for item in predictions:
        actual, day_seen = item.get("actual_stars"), item.get("fetched_at")
        if actual is None or day_seen is None:
            continue
        name = str(item["full_name"]).lower()
        unscored = db.execute(
            "SELECT release, day, stars, low, high FROM track_record WHERE name = ? AND scored_on IS NULL AND day < ?",
            (name, day_seen),
        ).fetchall()
        scores = [
            (actual, day_seen, low <= actual <= high, math.log1p(stars) - math.log1p(actual), name, release, day)
            for release, day, stars, low, high in unscored
        ]
        db.executemany(
            "UPDATE track_record SET actual = ?, scored_on = ?, in_interval = ?, error = ?"
            " WHERE name = ? AND release = ? AND day = ? AND scored_on IS NULL",
            scores,
        )


def _insert(db: sqlite3.Connection, predictions: Iterable[tuple[str, Mapping[str, Any]]], today: str) -> None:
    """Store one row for each repository, release and day of its figures, without those in the training data."""
    rows = [
        (
            *(item["full_name"].lower(), release, item.get("fetched_at") or today),
            *(item["expected_stars"], item["interval_low"], item["interval_high"], item["coverage"], today),
        )
        for release, item in predictions
        if not item.get("in_training_data")
    ]
    db.executemany(
        "INSERT OR IGNORE INTO track_record (name, release, day, stars, low, high, coverage, recorded_on)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _delete_old(db: sqlite3.Connection, now: datetime) -> None:
    """Delete old rows, and the oldest if there are too many."""
    db.execute("DELETE FROM track_record WHERE recorded_on < ?", ((now - MAX_AGE).date().isoformat(),))
    (count,) = db.execute("SELECT COUNT(*) FROM track_record").fetchone()
    if count > MAX_ROWS:
        (day,) = db.execute(
            "SELECT recorded_on FROM track_record ORDER BY recorded_on LIMIT 1 OFFSET ?", (count - MAX_ROWS,)
        ).fetchone()
        db.execute("DELETE FROM track_record WHERE recorded_on < ?", (day,))


def _delete_excluded(db: sqlite3.Connection, exclusions: Exclusions) -> None:
    """Delete what was recorded before a repository was excluded."""
    if exclusions != NO_EXCLUSIONS:
        names = [name for (name,) in db.execute("SELECT DISTINCT name FROM track_record").fetchall()]
        db.executemany("DELETE FROM track_record WHERE name = ?", [(name,) for name in names if exclusions.match(name)])
