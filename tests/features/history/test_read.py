"""Both kinds of histories are read into one form, and invalid rows are rejected by number."""

from __future__ import annotations

import gzip
import json
import os
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.errors import BadDataError, ConfigError, MissingInputError
from stargaze.features.history.columns import COLUMNS
from stargaze.features.history.read import read_history
from stargaze.features.history.table_format import HistoryFormat

NOW = datetime(2024, 3, 1, tzinfo=UTC)
WEEKS = pd.date_range("2024-01-01", periods=3, freq="7D", tz="UTC")


def counts_table(**columns: Any) -> pd.DataFrame:
    """Return a table of dates and counts of other origin."""
    return pd.DataFrame(
        {"full_name": "a/b", "date": ["2024-01-15", "2024-01-01", "2024-01-08"], "stars": [30, 10, 20], **columns}
    )


def write_table(table: pd.DataFrame, folder: Path, suffix: str = "csv") -> Path:
    path = folder / f"history.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    elif suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=suffix == "jsonl")
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_dates_and_counts_are_sorted_and_completed(tmp_path: Path, suffix: str) -> None:
    history = read_history(write_table(counts_table(forks=[3, 1, 2]), tmp_path, suffix), now=NOW).frame

    assert list(history.columns) == list(COLUMNS)
    assert history["stars"].tolist() == [10.0, 20.0, 30.0]
    assert history["forks"].tolist() == [1.0, 2.0, 3.0]
    assert history["date"].tolist() == list(WEEKS)
    assert history[["issues", "language", "last_commit"]].isna().all(axis=None)


def test_weekly_gains_are_accumulated_at_the_end_of_each_week(tmp_path: Path) -> None:
    """The weeks are in descending order, as in GitHub's responses."""
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS[::-1], "stars": [4, 2, 1], "days": [[0] * 7] * 3})

    history = read_history(write_table(gains, tmp_path, "parquet"), now=NOW).frame

    assert history["stars"].tolist() == [1.0, 3.0, 7.0]
    assert history["date"].tolist() == [week + pd.Timedelta(days=7) for week in WEEKS]


def test_an_unfinished_week_is_dropped(tmp_path: Path) -> None:
    """Otherwise the growth would seem to stop."""
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})

    history = read_history(write_table(gains, tmp_path, "parquet"), now=datetime(2024, 1, 20, tzinfo=UTC)).frame

    assert history["stars"].tolist() == [1.0, 3.0]


def test_a_week_that_was_unfinished_when_it_was_fetched_stays_dropped(tmp_path: Path) -> None:
    gains = pd.DataFrame({"full_name": "a/b", "week": WEEKS, "stars": [1, 2, 4], "days": [[0] * 7] * 3})
    path = write_table(gains, tmp_path, "parquet")
    os.utime(path, (datetime(2024, 1, 17, tzinfo=UTC).timestamp(),) * 2)

    assert read_history(path, now=NOW).frame["stars"].tolist() == [1.0, 3.0]


def test_other_time_zones_are_converted_to_utc(tmp_path: Path) -> None:
    table = counts_table(date=["2024-01-01T00:00:00+02:00", "2024-01-08T00:00:00+02:00", "2024-01-15T00:00:00+02:00"])

    assert read_history(write_table(table, tmp_path), now=NOW).frame["date"].iloc[0] == pd.Timestamp(
        "2023-12-31T22:00", tz="UTC"
    )


def test_other_names_of_the_columns_are_known(tmp_path: Path) -> None:
    table = counts_table().rename(columns={"full_name": "repository", "stars": "stargazers_count"})

    assert read_history(write_table(table, tmp_path), now=NOW).frame["stars"].tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.assign(stars=[30, -1, 20]), "row 2: stars is '-1': negative"),
        (lambda table: table.assign(stars=[30, "many", 20]), "row 2: stars is 'many': not a whole number"),
        (lambda table: table.assign(stars=[30, None, 20]), "row 2: stars is missing"),
        (lambda table: table.assign(stars=[30, 2.5, 20]), "2.5': not a whole number"),
        (lambda table: table.assign(stars=[30, 10**7, 20]), "row 2: stars is '10000000': larger than any on GitHub"),
        (
            lambda table: table.assign(date=["2024-01-01", "2031-01-01", "2024-01-08"]),
            "row 2: date is '2031-01-01': in the future",
        ),
        (lambda table: table.assign(date=["2024-01-01", "soon", "2024-01-08"]), "row 2: date is 'soon': not a date"),
        (lambda table: table.assign(date=["2024-01-01", "0000-00-00", "2024-01-08"]), "row 2: date is missing"),
        (lambda table: table.assign(full_name=["a/b", " ", "a/b"]), "row 2: full_name is missing"),
        (
            lambda table: table.assign(full_name=["a/b", "nobody", "a/b"]),
            "row 2: full_name is 'nobody': not the name of a repository",
        ),
        (
            lambda table: table.assign(full_name=["a/b", "gitlab.com/a/b", "a/b"]),
            "row 2: full_name is 'gitlab.com/a/b': not on github.com",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_invalid_row_is_left_out_and_named(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], reason: str, suffix: str
) -> None:
    history = read_history(write_table(change(counts_table()), tmp_path, suffix), now=NOW)

    assert (history.rows, history.n_refused, len(history.frame)) == (3, 1, 2)
    assert history.refused[0].rows == 1
    assert reason in re.sub(r"is (-?[0-9.]+):", r"is '\1':", history.refused[0].problem)


def test_an_invalid_count_of_an_optional_column_is_missing_and_counted(tmp_path: Path) -> None:
    table = counts_table(forks=["3", "-2", "some"], issues=["1", "", "2"], last_commit=["2024-01-01", "x", None])

    history = read_history(write_table(table, tmp_path), now=NOW)

    assert history.refused == ()
    assert history.frame["forks"].isna().tolist() == [True, True, False]
    assert [(item.rows, item.problem) for item in history.cleared] == [
        (1, "row 3: forks is 'some': not a whole number"),
        (1, "row 2: forks is '-2': negative"),
        (1, "row 2: last_commit is 'x': not a date"),
    ]


def test_a_table_of_mostly_invalid_rows_is_an_error_that_names_the_first_ones(tmp_path: Path) -> None:
    path = write_table(counts_table(stars=["x", "5", "-6"]), tmp_path)

    with pytest.raises(BadDataError) as caught:
        read_history(path, now=NOW)

    assert caught.value.message == (
        f"{path}: 2 of 3 rows are refused; row 1: stars is 'x': not a whole number; row 3: stars is '-6': negative"
    )
    assert "[growth.columns]" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="stars"), "no column for stars; it has full_name, date"),
        (lambda table: table.drop(columns=["date", "stars"]), "no column for date and stars"),
        (lambda table: table.head(0), "has no rows"),
    ],
)
def test_a_table_without_counts_is_refused(
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

    assert caught.value.hint == 'map them in stargaze.toml: [growth.columns] stars = "star"'


@pytest.mark.parametrize(
    ("name", "content"), [("x.parquet", b"no parquet"), ("x.csv", b""), ("x.csv", b"\xff\xfe\x00\x01")]
)
def test_a_file_that_is_not_a_table_is_rejected(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(BadDataError, match=name):
        read_history(tmp_path / name, now=NOW)


def test_a_missing_history_has_a_hint_how_to_fetch_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        read_history(tmp_path / "star_history.parquet", now=NOW)

    assert "--star-history" in caught.value.hint


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_too_many_rows_are_rejected_and_not_truncated(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.history.rows.MAX_ROWS", 2)

    with pytest.raises(BadDataError, match="more than 2 rows are too many"):
        read_history(write_table(counts_table(), tmp_path, suffix), now=NOW)


@pytest.mark.parametrize(
    "stars", [["1.030", "1.010", "1.020"], ["1,030", "1,010", "1,020"], ["1 030", "1 010", "1 020"]]
)
def test_separators_of_thousands_are_decided_by_the_column(tmp_path: Path, stars: list[str]) -> None:
    history = read_history(write_table(counts_table(stars=stars), tmp_path), now=NOW)

    assert history.frame["stars"].tolist() == [1010.0, 1020.0, 1030.0]


def test_an_undecided_separator_needs_a_key(tmp_path: Path) -> None:
    path = write_table(counts_table(stars=["3.000", "1.000", "2.000"]), tmp_path)

    with pytest.raises(BadDataError) as caught:
        read_history(path, now=NOW)

    assert 'growth.thousands = "."' in caught.value.hint
    assert read_history(path, now=NOW, form=HistoryFormat({}, ".")).frame["stars"].tolist() == [1000.0, 2000.0, 3000.0]
    assert read_history(path, now=NOW, form=HistoryFormat({}, "")).frame["stars"].tolist() == [1.0, 2.0, 3.0]


STAR_HISTORY = """Repository,Date,Stars
kim/tool,Sat Jun 01 2019 02:00:00 GMT+0200 (Central European Summer Time),12
kim/tool,Thu Aug 01 2019 02:00:00 GMT+0200 (Central European Summer Time),19
"""


def test_the_hint_for_dates_in_an_unknown_form_says_how_to_write_them(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("full_name,date,stars\na/b,08.01.2024,20\na/b,15.01.2024,30\n", encoding="utf-8")

    with pytest.raises(BadDataError, match=r"date is '08\.01\.2024': not a date") as caught:
        read_history(path, now=NOW)
    assert "write dates as 2024-01-31" in (caught.value.hint or "")


def test_the_export_of_star_history_is_read_without_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "star-history.csv"
    path.write_text(STAR_HISTORY, encoding="utf-8")

    frame = read_history(path, now=NOW).frame

    assert frame["date"].tolist() == [pd.Timestamp("2019-06-01", tz="UTC"), pd.Timestamp("2019-08-01", tz="UTC")]
    assert frame["stars"].tolist() == [12.0, 19.0]


@pytest.mark.parametrize(
    "text",
    [
        "full_name|date|stars\na/b|2024-01-08|20\n",
        "sep=;\nfull_name;date;stars\na/b;2024-01-08;20\n",
        "\n\nfull_name,date,stars\na/b,2024-01-08,20\n",
        'full_name,date,stars,"two\nlines"\na/b,2024-01-08,20,x\n',
    ],
)
def test_headers_are_read_as_those_of_repositories(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(text, encoding="utf-8")

    history = read_history(path, now=NOW)

    assert (history.rows, history.frame["stars"].tolist()) == (1, [20.0])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_every_dialect_of_csv_is_read(
    tmp_path: Path, delimiter: str, encoding: str, newline: str, *, is_compressed: bool
) -> None:
    lines = ["date|full_name|stars|note", '2024-01-01|"a/b"|3|""', "", "2024-01-08|github.com/a/b.git|4|x"]
    content = newline.join(lines).replace("|", delimiter).encode(encoding)
    path = tmp_path / "history.csv"
    path.write_bytes(gzip.compress(content) if is_compressed else content)

    frame = read_history(path, now=NOW).frame

    assert frame[["full_name", "stars"]].to_numpy().tolist() == [["a/b", 3.0], ["a/b", 4.0]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [('a/b,"2024-01-01,1', "a quote is not closed"), ("a/b,2024-01-01", "2 columns instead of 3")],
)
def test_a_broken_record_is_refused_and_hides_no_row(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "history.csv"
    days = [f"a/b,2023-{month:02d}-01,{month}" for month in range(1, 13)]
    path.write_text("\n".join(["full_name,date,stars", *days[:3], line, *days[3:]]), encoding="utf-8")

    history = read_history(path, now=NOW)

    assert history.frame["stars"].tolist() == [float(month) for month in range(1, 13)]
    assert [(item.rows, item.problem) for item in history.refused] == [(1, f"row 4: {reason}")]


def test_columns_are_mapped_and_a_wrong_mapping_is_named(tmp_path: Path) -> None:
    table = counts_table().rename(columns={"full_name": "Projekt", "date": "Tag", "stars": "Sterne"})
    path = write_table(table, tmp_path)
    columns = {"full_name": "Projekt", "date": "Tag", "stars": "Sterne"}

    assert len(read_history(path, now=NOW, form=HistoryFormat(columns)).frame) == 3
    with pytest.raises(ConfigError, match=r"growth\.columns\.stars: .* has no column 'Stern'") as caught:
        read_history(path, now=NOW, form=HistoryFormat({**columns, "stars": "Stern"}))
    assert caught.value.hint == "Did you mean Sterne?"
    with pytest.raises(ConfigError, match=r"growth\.columns\.star is not a column of a history"):
        read_history(path, now=NOW, form=HistoryFormat({**columns, "star": "Sterne"}))


def test_the_hint_of_a_missing_file_of_the_config_is_its_key(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError) as caught:
        read_history(tmp_path / "counts.csv", now=NOW)

    assert caught.value.hint.startswith("check growth.history_file")


@pytest.mark.parametrize("column", ["full_name", "date", "stars", "language", "last_commit"])
def test_half_of_a_character_pair_in_json_ends_no_history(tmp_path: Path, column: str) -> None:
    row = {"full_name": "a/b", "date": "2024-01-01", "stars": 5, "language": "C", "last_commit": "2024-01-01"}
    path = tmp_path / "history.json"
    path.write_text(json.dumps([row, {**row, "date": "2024-01-08"}, {**row, column: "\ud83d"}]))

    history = read_history(path, now=NOW)

    assert history.rows == 3
    assert history.n_refused == (column in ("full_name", "date", "stars"))


def test_the_suggested_mapping_of_a_name_with_quotes_is_valid_toml(tmp_path: Path) -> None:
    table = counts_table().rename(columns={"stars": 'star"s'})

    with pytest.raises(BadDataError) as raised:
        read_history(write_table(table, tmp_path), now=NOW)

    _, _, mapping = raised.value.hint.partition("[growth.columns] ")
    assert tomllib.loads(mapping) == {"stars": 'star"s'}
