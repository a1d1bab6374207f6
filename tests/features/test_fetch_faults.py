"""Random tables with injected faults: every record is read or refused once, and mostly broken files change nothing."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.fetch import fetch_files
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.store import Store
from tests.conftest import Ended

NOW = datetime(2025, 6, 1, tzinfo=UTC)
REFUSED: dict[str, dict[str, Any]] = {
    "no name": {"full_name": None},
    "bad name": {"full_name": "../tool"},
    "no stars": {"stars": None},
    "negative": {"stars": -4},
    "half": {"stars": 1.5},
}
"""Faults of a value that is required, in every format."""
TOLERATED: dict[str, dict[str, Any]] = {
    "": {},
    "forks": {"forks": -1},
    "date": {"pushed_at": "31/12/2020"},
    "lines": {"description": 'one,\ntwo "and"\r\nthree\n\n'},
    "nul": {"description": "a\x00b"},
    "long": {"description": "line\n" * 40_000},
    "table": {"description": "An example:\nada/x,5,7,2020-01-01,text\nThat is all."},
}
"""Values of optional fields that no format must fail at."""
LINES: dict[str, Callable[[str], str]] = {
    "open": lambda line: line[:-1] + ',"never closed\n',
    "open name": lambda line: '"' + line,
    "misplaced": lambda line: line[:-1] + ',"closed" before the end\n',
    "short": lambda line: line.rsplit(",", 2)[0] + "\n",
    "extra": lambda line: line[:-1] + ",more,cells\n",
}
"""Faults of one line of a CSV."""
JSON_LINES = ("{", '{"full_name": "ada/tool", "stars": 5', "7", "null", '"text"', "[1]", "nonsense")
"""Lines that are no records."""


def record(number: int, change: dict[str, Any]) -> dict[str, Any]:
    """Return a good record with a change."""
    good = {"full_name": f"ada/tool{number}", "stars": number, "forks": 3, "pushed_at": "2020-01-01"}
    return {**good, "description": f"text of {number}", **change}


def csv_line(values: dict[str, Any]) -> str:
    """Return a line as the csv module writes it; without the description for faults of the line."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values.values())
    return text.getvalue()


def write_csv(path: Path, faults: list[str]) -> int:
    """Write a CSV; return how many rows must be refused."""
    lines = ["full_name,stars,forks,pushed_at,description\n"]
    for number, fault in enumerate(faults):
        if fault in LINES:
            values = record(number, {})
            del values["description"]
            lines.append(LINES[fault](csv_line(values)))
        else:
            lines.append(csv_line(record(number, {**REFUSED, **TOLERATED}[fault])))
    path.write_text("".join(lines), newline="")
    return sum(fault in LINES or fault in REFUSED for fault in faults)


def write_json(path: Path, faults: list[str]) -> int:
    """Write JSON lines or a JSON list; return how many records must be refused."""
    changes = {**REFUSED, **TOLERATED}
    texts = [json.dumps(record(i, changes[fault])) if fault in changes else fault for i, fault in enumerate(faults)]
    path.write_text("\n".join(texts) if path.suffix == ".jsonl" else f"[{','.join(texts)}]")
    return sum(fault not in TOLERATED for fault in faults)


def write_parquet(path: Path, faults: list[str]) -> int:
    """Write Parquet; return how many rows must be refused."""
    pd.DataFrame([record(i, {**REFUSED, **TOLERATED}[fault]) for i, fault in enumerate(faults)]).to_parquet(path)
    return sum(fault in REFUSED for fault in faults)


def rows_with(*names: str) -> st.SearchStrategy[list[str]]:
    """Return lists of faults, about two thirds of them none."""
    value = st.sampled_from([*TOLERATED, *[""] * (2 * len(names) + 4), *names])
    return st.lists(value, min_size=2, max_size=40)


def check(path: Path, faults: list[str], refused: int) -> None:
    """Fetch a file over a stored table, and check the counts, or that the table stays."""
    store = Store(path.parent / "store")
    good = path.parent / "good.csv"
    good.write_text("full_name,stars\nbob/old,1\n")
    fetch_files(FetchSection(), store, [good], NOW)
    before = store.repositories.read_bytes()
    if 2 * refused > len(faults):
        with pytest.raises(BadDataError):
            fetch_files(FetchSection(), store, [good, path], NOW)
        assert store.repositories.read_bytes() == before
        return
    summary: FetchSummary = fetch_files(FetchSection(), store, [good, path], NOW)
    source = summary.sources[1]
    assert (source.records, source.valid, source.invalid) == (len(faults), len(faults) - refused, refused)
    assert (summary.records, summary.invalid_count) == (len(faults) + 1, refused)
    assert summary.repositories == len(faults) - refused + 1 == len(pd.read_parquet(store.repositories))
    assert sum(item.count for item in summary.cleared) == faults.count("forks") + faults.count("date")


@pytest.mark.thorough
@given(rows_with(*REFUSED, *LINES))
def test_each_row_of_a_csv_is_read_or_refused(faults: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        check(path, faults, write_csv(path, faults))


@pytest.mark.thorough
@pytest.mark.parametrize(("suffix", "lines"), [(".jsonl", JSON_LINES), (".json", ("7", "null", '"text"'))])
def test_each_record_of_json_is_read_or_refused(suffix: str, lines: tuple[str, ...]) -> None:
    @given(rows_with(*REFUSED, *lines))
    def test(faults: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"x{suffix}"
            check(path, faults, write_json(path, faults))

    test()


@pytest.mark.thorough
@given(rows_with(*REFUSED))
def test_each_row_of_parquet_is_read_or_refused(faults: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.parquet"
        check(path, faults, write_parquet(path, faults))


@pytest.mark.thorough
@given(st.lists(st.sampled_from(sorted(TOLERATED.keys() - {"table"})), min_size=3, max_size=30), st.floats(0, 1))
def test_a_csv_that_is_cut_anywhere_loses_only_what_is_cut(faults: list[str], share: float) -> None:
    """The last row is refused, or read if the cut is between two rows or within a text.

    A text that shows a table is left out: behind an unclosed quote its rows cannot be distinguished from those of the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        rows = [csv_line(record(number, TOLERATED[fault])) for number, fault in enumerate(faults)]
        content = "full_name,stars,forks,pushed_at,description\n" + "".join(rows)
        last = len(content) - len(rows[-1])
        path.write_text(content[: last + round(share * len(rows[-1]))], newline="")

        summary = fetch_files(FetchSection(), Store(Path(folder) / "store"), [path], NOW)

        assert summary.records in (len(faults), len(faults) - 1)
        assert summary.repositories >= len(faults) - 1
        assert summary.records == summary.repositories + summary.invalid_count


def test_a_mostly_broken_file_is_refused_by_the_command(run: Callable[..., Ended]) -> None:
    Path("good.csv").write_text("full_name,stars\nbob/old,1\n")
    run("fetch", "good.csv")
    before = Path("store/repositories.parquet").read_bytes()
    refused = write_csv(Path("x.csv"), ["open", "", "short", "half", "extra", "", "open name"])

    ended = run("fetch", "x.csv")

    assert ended.code == 2
    assert ended.error.startswith(f"x.csv: {refused} of 7 records are invalid; record 1: a quote is not closed")
    assert Path("store/repositories.parquet").read_bytes() == before


def test_rows_between_stray_quotes_are_counted_by_the_command(run: Callable[..., Ended]) -> None:
    write_csv(Path("x.csv"), ["", "open", *[""] * 700, "", ""])
    text = Path("x.csv").read_text()
    Path("x.csv").write_text(text.replace("text of 600\n", 'text of 600"\n'))

    values = json.loads(run("fetch", "x.csv", "--json").out)

    assert values["sources"] == [{"file": "x.csv", "records": 704, "valid": 703, "invalid": 1}]
    assert values["invalid"] == [["x.csv", 2, "a quote is not closed"]]
