"""The columns of a history are found under the names of other tools, each once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.errors import BadDataError, ConfigError
from stargaze.features.history.columns import find_columns
from stargaze.features.history.read import read_history
from stargaze.features.history.table_format import HistoryFormat
from stargaze.features.ingest import table_records

NOW = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()


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
        read_history(path, now=NOW)


def test_an_unused_column_may_be_there_twice() -> None:
    header = ["full_name", "date", "stars", "note", "note"]

    assert find_columns(header, {}, "x.csv") == {"full_name": "full_name", "date": "date", "stars": "stars"}


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        (["date", "oak/leaf", "oak/root"], "one row per repository and date"),
        (["user", "starred_at"], "write the total of each day"),
        (["repo", "starredAt"], "write the total of each day"),
        (["owner/name", "date", "stars"], 'full_name = "…"'),
        (["repo", "when", "starz"], 'date = "…", stars = "starz"'),
    ],
)
def test_a_table_of_another_kind_is_explained(header: list[str], hint: str) -> None:
    with pytest.raises(BadDataError) as excinfo:
        find_columns(header, {}, "x.csv")

    assert excinfo.value.hint is not None
    assert hint in excinfo.value.hint


def test_a_compressed_history_that_decompresses_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_records, "MAX_IN_MEMORY", 1000)
    table = pd.DataFrame({"full_name": [f"a/b{i}" for i in range(2000)], "date": "2024-01-01", "stars": 3})
    table.to_parquet(tmp_path / "history.parquet")
    path = tmp_path / "history.parquet.gz"
    path.write_bytes(gzip.compress((tmp_path / "history.parquet").read_bytes()))

    with pytest.raises(BadDataError, match="decompresses to more"):
        read_history(path, now=NOW)


@pytest.mark.parametrize("orient", ["columns", "index", "records", "split", "table"])
@pytest.mark.parametrize(
    "names",
    [("repo", "day", "stargazers"), ("Repository", "Date", "Stars"), ("REPO NAME", "Snapshot Date", "starCount")],
)
def test_each_orientation_of_pandas_is_read(tmp_path: Path, orient: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "history.json"
    rows = [("oak/leaf", "2023-05-01", 7), ("oak/leaf", "2023-05-08", 9), ("oak/root", "2023-05-01", 2)]
    pd.DataFrame(rows, columns=list(names)).to_json(path, orient=orient)  # type: ignore[arg-type]

    history = read_history(path, now=NOW)

    assert (history.rows, history.n_refused) == (3, 0)
    assert history.frame["stars"].tolist() == [7, 9, 2]


@pytest.mark.parametrize("root", ["of", "repository"])
def test_a_column_of_json_may_be_a_path(tmp_path: Path, root: str) -> None:
    path = tmp_path / "history.jsonl"
    records = [{root: {"name": "oak/leaf"}, "at": f"2023-05-0{day}", "n": {"stars": day}} for day in (1, 2)]
    path.write_text("\n".join(map(json.dumps, records)))
    mapping = {"full_name": f"{root}.name", "date": "at", "stars": "n.stars"}

    history = read_history(path, now=NOW, form=HistoryFormat(mapping))

    assert history.frame["full_name"].tolist() == ["oak/leaf"] * 2
    assert history.frame["stars"].tolist() == [1, 2]
    with pytest.raises(ConfigError, match=r"growth\.columns\.stars: .*history\.jsonl has no column 'n\.star'"):
        read_history(path, now=NOW, form=HistoryFormat(mapping | {"stars": "n.star"}))
