"""The track record: what was predicted stays as it was, and is scored by the first truth of a later day."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stargaze.serve.prediction.track_record import EMPTY, KEPT, TrackRecord

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def answer(digest: str = "d1", **values: Any) -> dict[str, Any]:
    """Make an answer of one prediction."""
    one = {
        "full_name": "Own/Name",
        "source": "github",
        "stars": 100.0,
        "low": 50.0,
        "high": 200.0,
        "coverage": 0.9,
        "actual": 120.0,
        "fetched_at": "2026-03-01",
        "learned": False,
        "what_if": None,
    }
    return {"digest": digest, "answered_at": "", "predictions": [one | values]}


@pytest.fixture
def record(tmp_path: Path) -> TrackRecord:
    return TrackRecord(tmp_path / "store" / "predictions.sqlite")


def test_a_prediction_is_kept_and_has_no_score_on_its_own_day(record: TrackRecord) -> None:
    record.note([answer(), answer()], NOW)

    found = {"kept": 1, "scored": 0, "held": None, "rmsle": None, "since": "2026-03-01", "last": None}
    assert record.summary() == found
    (row,) = record.of("own/NAME")
    assert (row["stars"], row["low"], row["high"], row["release"]) == (100.0, 50.0, 200.0, "d1")
    assert (row["actual"], row["seen"], row["held"]) == (None, None, None)


def test_a_truth_of_a_later_day_scores_all_that_waits(record: TrackRecord) -> None:
    record.note([answer("d1"), answer("d2", high=110.0)], NOW)
    record.note([answer("d2", fetched_at="2026-03-09", actual=150.0)], NOW + timedelta(days=8))

    assert {(row["release"], row["day"]): row["held"] for row in record.of("own/name")} == {
        ("d1", "2026-03-01"): True,
        ("d2", "2026-03-01"): False,
        ("d2", "2026-03-09"): None,
    }
    summary = record.summary()
    assert (summary["kept"], summary["scored"], summary["held"], summary["last"]) == (3, 2, 0.5, "2026-03-09")
    assert summary["rmsle"] == pytest.approx(math.log(151) - math.log(101))


@pytest.mark.parametrize("actual", [50.0, 200.0])
def test_the_ends_of_the_interval_are_inside(record: TrackRecord, actual: float) -> None:
    record.note([answer()], NOW)
    record.note([answer(actual=actual, fetched_at="2026-03-02")], NOW)

    assert record.summary()["held"] == 1.0


@pytest.mark.parametrize(
    "values", [{"source": "typed"}, {"what_if": {"stars": 1.0}}, {"learned": True}], ids=["typed", "tried", "learned"]
)
def test_only_real_repositories_are_kept_that_the_model_did_not_learn(
    record: TrackRecord, values: dict[str, Any]
) -> None:
    record.note([answer(**values)], NOW)

    assert record.summary() == EMPTY


def test_typed_figures_score_nothing_and_learned_ones_are_true_all_the_same(record: TrackRecord) -> None:
    record.note([answer()], NOW)

    record.note([answer(source="typed", actual=1e6, fetched_at="2026-04-01")], NOW)
    assert record.summary()["scored"] == 0
    record.note([answer("d3", learned=True, actual=130.0, fetched_at="2026-04-01")], NOW)
    assert (record.summary()["scored"], record.summary()["kept"]) == (1, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1_000), st.sampled_from(["d1", "d2"])), max_size=12))
def test_a_score_never_changes_once_given(
    tmp_path_factory: pytest.TempPathFactory, seen: list[tuple[int, int, str]]
) -> None:
    record = TrackRecord(tmp_path_factory.mktemp("ledger") / "p.sqlite")
    scored: dict[tuple[str, str], dict[str, Any]] = {}
    for later, stars, digest in seen:
        day = (NOW + timedelta(days=later)).date().isoformat()
        record.note([answer(digest, fetched_at=day, actual=float(stars), stars=stars + 7.0)], NOW)
        rows = {(row["release"], row["day"]): row for row in record.of("own/name", 100) if row["seen"]}
        assert scored.items() <= rows.items()
        assert all(row["seen"] > row["day"] for row in rows.values())
        assert all(row["held"] == (row["low"] <= row["actual"] <= row["high"]) for row in rows.values())
        scored = rows


def test_two_processes_note_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, place)) for place in range(2)]

    for one in writers:
        one.start()
    for one in writers:
        one.join(60)

    assert [one.exitcode for one in writers] == [0, 0]
    assert TrackRecord(path).summary()["kept"] == 2 * 50


def _write(path: Path, place: int) -> None:
    record = TrackRecord(path)
    for number in range(50):
        record.note([answer(full_name=f"own{place}/name{number}")], NOW)


def test_what_is_old_goes(record: TrackRecord) -> None:
    record.note([answer(full_name="a/old")], NOW)
    later = NOW + KEPT + timedelta(days=1)

    record.note([answer(full_name="a/new", fetched_at=later.date().isoformat())], later)

    assert (record.summary()["kept"], record.of("a/old")) == (1, [])


def test_a_file_that_is_none_or_a_full_disk_is_logged_and_never_raised(
    tmp_path: Path,
    small_disk: Callable[[int], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    (tmp_path / "file").write_text("")
    broken, below, full = (TrackRecord(tmp_path / name) for name in ("text", "file/p.sqlite", "full"))

    with caplog.at_level(logging.WARNING), small_disk(3):
        for record in (broken, below, full):
            record.note([answer()], NOW)
            assert record.summary() == EMPTY

    assert caplog.text.count("are not in the track record") == 3


def test_an_answer_of_another_shape_is_logged_and_never_raised(record: TrackRecord) -> None:
    record.note([{"predictions": []}, {"digest": "d", "predictions": [{"source": "github"}]}], NOW)

    assert record.summary() == EMPTY
