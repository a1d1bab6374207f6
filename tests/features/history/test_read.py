"""Both kinds of history are read into one form, and what cannot be true is refused by its row."""

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


def counted(**columns: Any) -> pd.DataFrame:
    """Make a table of dates and counts, as somebody else keeps it."""
    return pd.DataFrame(
        {"full_name": "a/b", "date": ["2024-01-15", "2024-01-01", "2024-01-08"], "stars": [30, 10, 20], **columns}
    )


def written(table: pd.DataFrame, folder: Path, ending: str = "csv") -> Path:
    path = folder / f"history.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_dates_and_counts_are_read_in_order_with_every_column(tmp_path: Path, ending: str) -> None:
    found = read_history(written(counted(forks=[3, 1, 2]), tmp_path, ending), now=NOW)

    assert list(found.columns) == list(COLUMNS)
    assert found["stars"].tolist() == [10.0, 20.0, 30.0]
    assert found["forks"].tolist() == [1.0, 2.0, 3.0]
    assert found["date"].tolist() == list(WEEKS)
    assert found[["issues", "language", "last_commit"]].isna().all(axis=None)


def test_what_fetch_gathered_is_added_up_to_the_end_of_each_week(tmp_path: Path) -> None:
    """Newest first, as GitHub gives it."""
    gained = pd.DataFrame({"full_name": "a/b", "week": WEEKS[::-1], "stars": [4, 2, 1], "days": [[0] * 7] * 3})

    found = read_history(written(gained, tmp_path, "parquet"), now=NOW)

    assert found["stars"].tolist() == [1.0, 3.0, 7.0]
    assert found["date"].tolist() == [week + pd.Timedelta(days=7) for week in WEEKS]


def test_a_week_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    """Its stars would look as if the growth had stopped."""
    gained = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})

    found = read_history(written(gained, tmp_path, "parquet"), now=datetime(2024, 1, 20, tzinfo=UTC))

    assert found["stars"].tolist() == [1.0, 3.0]


def test_a_week_that_was_not_over_when_it_was_gathered_is_left_out_later_too(tmp_path: Path) -> None:
    gained = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})
    path = written(gained, tmp_path, "parquet")
    os.utime(path, (datetime(2024, 1, 17, tzinfo=UTC).timestamp(),) * 2)

    assert read_history(path, now=NOW)["stars"].tolist() == [1.0, 3.0]


def test_times_of_other_zones_become_utc(tmp_path: Path) -> None:
    table = counted(date=["2024-01-01T00:00:00+02:00", "2024-01-08T00:00:00+02:00", "2024-01-15T00:00:00+02:00"])

    assert read_history(written(table, tmp_path), now=NOW)["date"].iloc[0] == pd.Timestamp("2023-12-31T22:00", tz="UTC")


def test_names_of_others_for_our_columns_are_known(tmp_path: Path) -> None:
    table = counted().rename(columns={"full_name": "repository", "stars": "stargazers_count"})

    assert read_history(written(table, tmp_path), now=NOW)["stars"].tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_what_cannot_be_true_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    path = written(change(counted()), tmp_path)

    with pytest.raises(BadDataError) as caught:
        read_history(path, now=NOW)

    assert caught.value.message.startswith(f"{path}: {said}")
    assert caught.value.hint


def test_a_column_that_is_nearly_ours_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(BadDataError) as caught:
        read_history(written(counted().rename(columns={"stars": "star"}), tmp_path), now=NOW)

    assert "Did you mean star?" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"), [("x.parquet", b"no parquet"), ("x.csv", b""), ("x.csv", b"\xff\xfe\x00\x01")]
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BadDataError, match=r"cannot be read"):
        read_history(tmp_path / name, now=NOW)


def test_a_missing_history_says_how_to_gather_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        read_history(tmp_path / "star_history.parquet", now=NOW)

    assert "--star-history" in caught.value.hint


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_more_rows_than_can_be_true_are_refused_and_not_cut(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.history.read.MAX_ROWS", 2)

    with pytest.raises(BadDataError, match="more than 2 rows are too many"):
        read_history(written(counted(), tmp_path, ending), now=NOW)
