"""Counts with separators are decided by file and column; an undecided file is refused with the key that decides it."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from stargaze.config import FetchSection, parse_section
from stargaze.errors import BadDataError, ConfigError
from stargaze.features.fetch import fetch_files
from stargaze.features.ingest import table_records
from stargaze.store import Store

NOW = datetime(2025, 6, 1, tzinfo=UTC)
UNDECIDED = [("ada/one", "3.000"), ("ada/two", "870"), ("ada/three", "41.000")]


def write(path: Path, rows: list[tuple[str, str]], field: str = "stars") -> Path:
    """Write rows of name and count in the format of the path's suffix; other files have their stars as numbers."""
    records = [{"full_name": name, "stars": 1, field: count} for name, count in rows]
    if path.suffix == ".csv":
        pd.DataFrame(records).to_csv(path, sep=";", index=False)
    elif path.suffix == ".parquet":
        pd.DataFrame(records).to_parquet(path)
    else:
        path.write_text(json.dumps(records))
    return path


def fetch(tmp_path: Path, *paths: Path, field: str = "stars", thousands: str = "auto") -> list[float]:
    """Fetch files and return the counts by name."""
    store = Store(tmp_path / "store")
    fetch_files(FetchSection(thousands=thousands), store, paths, NOW)
    table = pd.read_parquet(store.repositories).set_index("full_name")[field]
    return [float(table[name]) for name in ("ada/one", "ada/two", "ada/three")]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize("field", ["stars", "forks", "size_kb"])
def test_an_undecided_column_is_refused_with_the_key(tmp_path: Path, suffix: str, field: str) -> None:
    path = write(tmp_path / f"x{suffix}", UNDECIDED, field)

    with pytest.raises(BadDataError) as caught:
        fetch(tmp_path, path, field=field)

    assert caught.value.message.startswith(f"{path}: {field} is '3.000': thousands or decimals?")
    assert 'fetch.thousands = "."' in caught.value.hint
    assert not (tmp_path / "store" / "repositories.parquet").exists()
    assert fetch(tmp_path, path, field=field, thousands=".") == [3000, 870, 41000]
    assert fetch(tmp_path, path, field=field, thousands="") == [3, 870, 41]


@pytest.mark.parametrize("suffix", [".csv", ".json", ".parquet"])
@pytest.mark.parametrize(
    ("proof", "expected"), [("1.234.567", [3000, 870, 41000]), ("5.250", [3000, 870, 41000]), ("12.0", [3, 870, 41])]
)
def test_a_later_value_decides(
    tmp_path: Path, suffix: str, proof: str, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in another batch, which is read after the first one."""
    monkeypatch.setattr(table_records, "BATCH", 2)
    path = write(tmp_path / f"x{suffix}", [*UNDECIDED, ("ada/four", proof)])

    assert fetch(tmp_path, path) == expected


def test_each_file_is_decided_by_its_own_values(tmp_path: Path) -> None:
    german = write(tmp_path / "german.json", [("ada/one", "3.000"), ("ada/x", "1.234.567")])
    decimal = write(tmp_path / "decimal.json", [("ada/two", "870.000"), ("ada/y", "7.0")])
    english = write(tmp_path / "english.csv", [("ada/three", "41,000"), ("ada/z", "1,234,567")])

    assert fetch(tmp_path, german, decimal, english) == [3000, 870, 41000]


def test_counts_with_spaces_apostrophes_and_units_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", [("ada/one", "3 000"), ("ada/two", "1'870"), ("ada/three", "41.2k")])

    assert fetch(tmp_path, path) == [3000, 1870, 41200]


def test_fractions_of_an_optional_count_are_missing_and_not_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", [("ada/one", "60.6"), ("ada/two", "12.345"), ("ada/three", "7.0")], "contributors")

    one, two, three = fetch(tmp_path, path, field="contributors")

    assert (one != one, two != two, three) == (True, True, 7)  # noqa: PLR0124 - NaN


def test_a_pipe_is_decided_although_it_can_be_read_once_only(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = write(tmp_path / "x.csv", [*UNDECIDED, ("ada/four", "1.234.567")]).read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()

    assert fetch(tmp_path, pipe) == [3000, 870, 41000]
    writer.join()


def test_another_separator_is_rejected_in_the_config() -> None:
    with pytest.raises(ConfigError, match=r"fetch\.thousands"):
        parse_section("fetch", {"thousands": ";"}, source="stargaze.toml")
