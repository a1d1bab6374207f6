"""The columns of a history are found under the names of other tools, each once."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.errors import BadDataError
from stargaze.features.history.columns import find_columns
from stargaze.features.history.read import read_history
from stargaze.features.ingest import table_records


@pytest.mark.parametrize("column", ["full_name", "stars"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_used_column_that_is_there_twice_is_named(column: str, suffix: str, tmp_path: Path) -> None:
    values = {"full_name": ["a/b"], "date": ["2024-01-01"], "stars": [3]}
    names = [*values, column]
    path = tmp_path / f"history.{suffix}"
    if suffix == "csv":
        path.write_text(f"{','.join(names)}\n{','.join(str(values[name][0]) for name in names)}\n")
    else:
        pq.write_table(pa.Table.from_arrays([pa.array(values[name]) for name in names], names=names), path)

    with pytest.raises(BadDataError, match=f"the column '{column}' exists 2 times"):
        read_history(path, now=pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime())


def test_an_unused_column_may_be_there_twice() -> None:
    header = ["full_name", "date", "stars", "note", "note"]

    assert find_columns(header, {}, "x.csv") == {"full_name": "full_name", "date": "date", "stars": "stars"}


def test_a_compressed_history_that_decompresses_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_records, "MAX_IN_MEMORY", 1000)
    table = pd.DataFrame({"full_name": [f"a/b{i}" for i in range(2000)], "date": "2024-01-01", "stars": 3})
    table.to_parquet(tmp_path / "history.parquet")
    path = tmp_path / "history.parquet.gz"
    path.write_bytes(gzip.compress((tmp_path / "history.parquet").read_bytes()))

    with pytest.raises(BadDataError, match="decompresses to more"):
        read_history(path, now=pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime())
