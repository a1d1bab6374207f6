"""The track record: stored predictions do not change, and the first true count of a later day scores them."""

from __future__ import annotations

import logging
import math
import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.prediction.track_record import EMPTY, MAX_AGE, TrackRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def answer(digest: str = "d1", **values: Any) -> dict[str, Any]:
    """Return an answer with one prediction."""
    prediction = {
        "full_name": "Own/Name",
        "source": "github",
        "expected_stars": 100.0,
        "interval_low": 50.0,
        "interval_high": 200.0,
        "coverage": 0.9,
        "actual_stars": 120.0,
        "fetched_at": "2026-03-01",
        "in_training_data": False,
        "what_if": None,
    }
    return {"digest": digest, "answered_at": "", "predictions": [prediction | values]}


def stored(track_record: TrackRecord, full_name: str) -> list[dict[str, Any]]:
    """Return the stored rows of one repository."""
    if not track_record._path.is_file():
        return []
    with sqlite3.connect(track_record._path) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute("SELECT * FROM track_record WHERE name = ?", (full_name.lower(),))
        return [dict(row) for row in rows]


@pytest.fixture
def track_record(tmp_path: Path) -> TrackRecord:
    return TrackRecord(tmp_path / "store" / "predictions.sqlite")


def test_a_prediction_is_recorded_and_not_scored_on_its_own_day(track_record: TrackRecord) -> None:
    track_record.record([answer(), answer()], NOW)

    assert track_record.summary() == {
        "recorded": 1,
        "scored": 0,
        "coverage": None,
        "rmsle": None,
        "first_recorded_on": "2026-03-01",
        "last_scored_on": None,
    }
    (row,) = stored(track_record, "own/NAME")
    assert (row["stars"], row["low"], row["high"], row["release"]) == (100.0, 50.0, 200.0, "d1")
    assert (row["actual"], row["scored_on"], row["in_interval"]) == (None, None, None)


def test_a_true_count_of_a_later_day_scores_all_releases(track_record: TrackRecord) -> None:
    track_record.record([answer("d1"), answer("d2", interval_high=110.0)], NOW)
    track_record.record([answer("d2", fetched_at="2026-03-09", actual_stars=150.0)], NOW + timedelta(days=8))

    assert {(row["release"], row["day"]): row["in_interval"] for row in stored(track_record, "own/name")} == {
        ("d1", "2026-03-01"): True,
        ("d2", "2026-03-01"): False,
        ("d2", "2026-03-09"): None,
    }
    summary = track_record.summary()
    assert (summary["recorded"], summary["scored"], summary["coverage"]) == (3, 2, 0.5)
    assert summary["last_scored_on"] == "2026-03-09"
    assert summary["rmsle"] == pytest.approx(math.log(151) - math.log(101))


@pytest.mark.parametrize("actual", [50.0, 200.0])
def test_the_ends_of_the_interval_count_as_inside(track_record: TrackRecord, actual: float) -> None:
    track_record.record([answer()], NOW)
    track_record.record([answer(actual_stars=actual, fetched_at="2026-03-02")], NOW)

    assert track_record.summary()["coverage"] == 1.0


@pytest.mark.parametrize(
    "values",
    [{"source": "entered"}, {"what_if": {"expected_stars": 1.0}}, {"in_training_data": True}],
    ids=["entered", "what-if", "in training data"],
)
def test_only_real_repositories_outside_the_training_data_are_recorded(
    track_record: TrackRecord, values: dict[str, Any]
) -> None:
    track_record.record([answer(**values)], NOW)

    assert track_record.summary() == EMPTY


def test_entered_figures_score_nothing_and_training_repositories_do(track_record: TrackRecord) -> None:
    track_record.record([answer()], NOW)

    track_record.record([answer(source="entered", actual_stars=1e6, fetched_at="2026-04-01")], NOW)
    assert track_record.summary()["scored"] == 0
    track_record.record([answer("d3", in_training_data=True, actual_stars=130.0, fetched_at="2026-04-01")], NOW)
    assert (track_record.summary()["scored"], track_record.summary()["recorded"]) == (1, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1_000), st.sampled_from(["d1", "d2"])), max_size=12))
def test_a_score_never_changes(
    tmp_path_factory: pytest.TempPathFactory, observations: list[tuple[int, int, str]]
) -> None:
    track_record = TrackRecord(tmp_path_factory.mktemp("track_record") / "p.sqlite")
    scored: dict[tuple[str, str], dict[str, Any]] = {}
    for later, stars, digest in observations:
        day = (NOW + timedelta(days=later)).date().isoformat()
        track_record.record(
            [answer(digest, fetched_at=day, actual_stars=float(stars), expected_stars=stars + 7.0)], NOW
        )
        rows = {(row["release"], row["day"]): row for row in stored(track_record, "own/name") if row["scored_on"]}
        assert scored.items() <= rows.items()
        assert all(row["scored_on"] > row["day"] for row in rows.values())
        assert all(row["in_interval"] == (row["low"] <= row["actual"] <= row["high"]) for row in rows.values())
        scored = rows


@pytest.mark.thorough
def test_two_processes_record_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, place)) for place in range(2)]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0]
    assert TrackRecord(path).summary()["recorded"] == 2 * 50


def _write(path: Path, place: int) -> None:
    track_record = TrackRecord(path)
    for number in range(50):
        track_record.record([answer(full_name=f"own{place}/name{number}")], NOW)


def test_old_predictions_are_deleted(track_record: TrackRecord) -> None:
    track_record.record([answer(full_name="a/old")], NOW)
    later = NOW + MAX_AGE + timedelta(days=1)

    track_record.record([answer(full_name="a/new", fetched_at=later.date().isoformat())], later)

    assert (track_record.summary()["recorded"], stored(track_record, "a/old")) == (1, [])


def test_a_damaged_file_or_a_full_disk_is_logged_and_not_raised(
    tmp_path: Path,
    small_disk: Callable[[int], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    (tmp_path / "file").write_text("")
    broken, below, full = (TrackRecord(tmp_path / name) for name in ("text", "file/p.sqlite", "full"))

    with caplog.at_level(logging.WARNING), small_disk(3):
        for track_record in (broken, below, full):
            track_record.record([answer()], NOW)
            assert track_record.summary() == EMPTY

    assert caplog.text.count("are not in the track record") == 3


def test_a_malformed_answer_is_logged_and_not_raised(track_record: TrackRecord) -> None:
    track_record.record([{"predictions": []}, {"digest": "d", "predictions": [{"source": "github"}]}], NOW)

    assert track_record.summary() == EMPTY


def test_an_excluded_repository_is_not_recorded_and_its_earlier_records_are_deleted(tmp_path: Path) -> None:
    before = TrackRecord(tmp_path / "predictions.sqlite")
    before.record([answer(), answer(full_name="own/other")], NOW)
    track_record = TrackRecord(tmp_path / "predictions.sqlite", Exclusions.parse(["OWN/name"]))

    track_record.record([answer(fetched_at="2026-03-05"), answer(full_name="own/third")], NOW)

    assert [len(stored(track_record, name)) for name in ("own/name", "own/other", "own/third")] == [0, 1, 1]
