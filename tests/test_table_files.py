"""Tables are written in batches, atomically, and read back as they were."""

from __future__ import annotations

import gzip
import json
import os
import threading
from pathlib import Path

import pandas as pd
import pytest

from stargaze.errors import UsageError
from stargaze.table_files import check_table_path, open_table

FIRST = pd.DataFrame({"full_name": ["a/b", "-c/d"], "stars": [1.0, float("nan")], "language": ["=1+1", None]})
SECOND = pd.DataFrame({"full_name": ["e/f"], "stars": [float("nan")], "language": [None]}, dtype="object").astype(
    FIRST.dtypes
)


def write(path: Path) -> None:
    """Write two batches, of which the second has no known value."""
    with open_table(path) as table:
        table.write(FIRST)
        table.write(SECOND)


@pytest.mark.parametrize("name", ["t.csv", "t.CSV", "deep/t.csv.gz"])
def test_csv_has_one_header_and_no_formula(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)

    frame = pd.read_csv(tmp_path / name, compression="gzip" if name.endswith("gz") else None)
    assert frame["full_name"].tolist() == ["a/b", "-c/d", "e/f"]
    assert frame["language"].tolist()[0] == "'=1+1"
    assert frame["stars"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.jsonl.gz"])
def test_json_lines_are_exact(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)

    data = (tmp_path / name).read_bytes()
    lines = (gzip.decompress(data) if name.endswith("gz") else data).decode().splitlines()
    assert [json.loads(line)["stars"] for line in lines] == [1.0, None, None]
    assert json.loads(lines[0])["language"] == "=1+1"


def test_parquet_keeps_the_types_of_the_first_batch(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet")

    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["language"].tolist()[0] == "=1+1"
    assert frame.dtypes.to_dict() == FIRST.dtypes.to_dict()
    assert len(frame) == 3


@pytest.mark.parametrize("name", ["t.txt", "t", "t.parquet.gz", "t.xlsx"])
def test_another_suffix_is_refused_with_the_possible_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="its suffix names no format") as caught:
        check_table_path(tmp_path / name)

    assert ".parquet" in caught.value.hint


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        check_table_path(tmp_path)


def test_an_error_keeps_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("before")

    def fail() -> None:
        with open_table(path) as table:
            table.write(FIRST)
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_as_csv(tmp_path: Path) -> None:
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_text()))
    reader.start()

    write(path)

    reader.join()
    assert received[0].splitlines()[0] == "full_name,stars,language"
    assert len(received[0].splitlines()) == 4
