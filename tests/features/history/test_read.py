"""Both kinds of histories are read into one form, and invalid rows are rejected by number."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.history.read import COLUMNS, read_history

NOW = datetime(2024, 3, 1, tzinfo=UTC)
WEEKS = pd.date_range("2024-01-01", periods=3, freq="7D", tz="UTC")


def counts_table(**columns: Any) -> pd.DataFrame:
    """Return a table of dates and counts of other origin."""
    return pd.DataFrame(
        {"full_name": "a/b", "date": ["2024-01-15", "2024-01-01", "2024-01-08"], "stars": [30, 10, 20], **columns}
    )


def write_table(table: pd.DataFrame, folder: Path, suffix: str = "csv") -> Path:
    path = folder / f"history.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_dates_and_counts_are_sorted_and_completed(tmp_path: Path, suffix: str) -> None:
    history = read_history(write_table(counts_table(forks=[3, 1, 2]), tmp_path, suffix), now=NOW)

    assert list(history.columns) == list(COLUMNS)
    assert history["stars"].tolist() == [10.0, 20.0, 30.0]
    assert history["forks"].tolist() == [1.0, 2.0, 3.0]
    assert history["date"].tolist() == list(WEEKS)
    assert history[["issues", "language", "last_commit"]].isna().all(axis=None)


def test_weekly_gains_are_accumulated_at_the_end_of_each_week(tmp_path: Path) -> None:
    """The weeks are in descending order, as in GitHub's responses."""
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS[::-1], "stars": [4, 2, 1], "days": [[0] * 7] * 3})

    history = read_history(write_table(gains, tmp_path, "parquet"), now=NOW)

    assert history["stars"].tolist() == [1.0, 3.0, 7.0]
    assert history["date"].tolist() == [week + pd.Timedelta(days=7) for week in WEEKS]


def test_an_unfinished_week_is_dropped(tmp_path: Path) -> None:
    """Otherwise the growth would seem to stop."""
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})

    history = read_history(write_table(gains, tmp_path, "parquet"), now=datetime(2024, 1, 20, tzinfo=UTC))

    assert history["stars"].tolist() == [1.0, 3.0]


def test_a_week_that_was_unfinished_when_it_was_fetched_stays_dropped(tmp_path: Path) -> None:
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})
    path = write_table(gains, tmp_path, "parquet")
    os.utime(path, (datetime(2024, 1, 17, tzinfo=UTC).timestamp(),) * 2)

    assert read_history(path, now=NOW)["stars"].tolist() == [1.0, 3.0]


def test_other_time_zones_are_converted_to_utc(tmp_path: Path) -> None:
    table = counts_table(date=["2024-01-01T00:00:00+02:00", "2024-01-08T00:00:00+02:00", "2024-01-15T00:00:00+02:00"])

    assert read_history(write_table(table, tmp_path), now=NOW)["date"].iloc[0] == pd.Timestamp(
        "2023-12-31T22:00", tz="UTC"
    )


def test_other_names_of_the_columns_are_known(tmp_path: Path) -> None:
    table = counts_table().rename(columns={"full_name": "repository", "stars": "stargazers_count"})

    assert read_history(write_table(table, tmp_path), now=NOW)["stars"].tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(stars=[30, -1, 20]), "row 2: stars is negative: -1"),
        (lambda table: table.assign(stars=[30, "many", 20]), "row 2: stars is not a number: many"),
        (lambda table: table.assign(stars=[30, None, 20]), "row 2: stars is not a number: nan"),
        (lambda table: table.assign(forks=[1, 2, -3]), "row 3: forks is negative: -3"),
        (lambda table: table.assign(date=["2024-01-01", "2031-01-01", "2032-01-01"]), "row 2: date is in the future"),
        (lambda table: table.assign(date=["2024-01-01", "soon", "2024-01-08"]), "row 2: date is not a date: soon"),
        (lambda table: table.assign(date=[20240101, 20240108, 20240115]), "row 1: date is not a date: 20240101"),
        (lambda table: table.assign(full_name=["a/b", " ", "a/b"]), "row 2: has no full_name"),
        (lambda table: table.drop(columns="stars"), "no column for stars; it has full_name, date"),
        (lambda table: table.drop(columns="date"), "no column for date"),
        (lambda table: table.head(0), "has no rows"),
    ],
)
def test_an_invalid_table_is_rejected_with_the_row(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    path = write_table(change(counts_table()), tmp_path)

    with pytest.raises(BadDataError) as caught:
        read_history(path, now=NOW)

    assert caught.value.message.startswith(f"{path}: {message}")
    assert caught.value.hint


def test_a_similar_column_name_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(BadDataError) as caught:
        read_history(write_table(counts_table().rename(columns={"stars": "star"}), tmp_path), now=NOW)

    assert "Did you mean star?" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"), [("x.parquet", b"no parquet"), ("x.csv", b""), ("x.csv", b"\xff\xfe\x00\x01")]
)
def test_a_file_that_is_not_a_table_is_rejected(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BadDataError, match=r"cannot be read"):
        read_history(tmp_path / name, now=NOW)


def test_a_missing_history_has_a_hint_how_to_fetch_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        read_history(tmp_path / "star_history.parquet", now=NOW)

    assert "--star-history" in caught.value.hint


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_too_many_rows_are_rejected_and_not_truncated(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.history.read.MAX_ROWS", 2)

    with pytest.raises(BadDataError, match="more than 2 rows are too many"):
        read_history(write_table(counts_table(), tmp_path, suffix), now=NOW)
