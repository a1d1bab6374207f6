"""Tables are read by a mapping, and a wrong mapping lists the existing columns."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from stargaze.errors import BadDataError, ConfigError
from stargaze.features.ingest import table_records
from stargaze.features.ingest.open_file import open_source
from stargaze.features.ingest.parsing.column_fields import TableMapper
from stargaze.features.ingest.parsing.column_plan import check_mapping
from stargaze.features.ingest.table_records import TableBatch, read_rows


def rows(path: Path, content: bytes, columns: Mapping[str, str] | None = None) -> TableBatch:
    """Write a file and return its only batch."""
    path.write_bytes(content)
    with open_source(path) as source:
        (batch,) = read_rows(source, columns or {})
    return batch


def resolve_columns(header: list[str], columns: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the column of each field of a table."""
    mapper = TableMapper(header, columns, name)
    mapper.check()
    return mapper.describe().fields


def test_columns_with_our_names_need_no_mapping() -> None:
    assert resolve_columns(["stars", "x", "full_name"], {}, "f") == {"full_name": "full_name", "stars": "stars"}


def test_columns_with_githubs_names_need_no_mapping() -> None:
    header = ["nameWithOwner", "stargazers_count", "size", "forks_count", "fork"]
    expected = {"full_name": "nameWithOwner", "stars": "stargazers_count", "size_kb": "size", "is_fork": "fork"}
    assert resolve_columns(header, {}, "f") == {**expected, "forks": "forks_count"}


def test_a_column_is_used_for_one_field() -> None:
    """If both names exist, that of stargaze takes precedence; a mapped column is not used again."""
    assert resolve_columns(["full_name", "stars", "stargazers_count"], {}, "f")["stars"] == "stars"
    assert "size_kb" not in resolve_columns(["full_name", "stars", "size"], {"forks": "size"}, "f")


def test_a_mapped_column_is_not_used_again_by_its_name() -> None:
    """If their ``issues`` is mapped to ``open_issues``, it is not used for ``issues`` too."""
    assert "issues" not in resolve_columns(["full_name", "stars", "issues"], {"open_issues": "issues"}, "f")


def test_a_mapping_takes_precedence_over_a_name() -> None:
    assert resolve_columns(["full_name", "stars", "star_count"], {"stars": "star_count"}, "f")["stars"] == "star_count"


def test_a_missing_mapped_column_has_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_columns(["full_name", "star_count"], {"stars": "star_cuont"}, "data.csv")

    assert caught.value.message == "fetch.columns.stars: data.csv has no column 'star_cuont'"
    assert caught.value.hint == "Did you mean star_count?"


def test_a_mapping_of_an_unknown_field_has_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        check_mapping({"strs": "star_count"})

    assert caught.value.hint == "Did you mean stars?"


@pytest.mark.parametrize(
    ("header", "missing", "hint"),
    [
        (["name", "Star Count"], "full_name and stars", 'stars = "Star Count"'),
        (["full_name", "x"], "stars", 'stars = "…"'),
        (["owner", "stars"], "full_name", 'owner = "…" and name = "…"'),
    ],
)
def test_without_name_or_stars_the_columns_are_listed_with_a_mapping(
    header: list[str], missing: str, hint: str
) -> None:
    with pytest.raises(BadDataError) as caught:
        resolve_columns(header, {}, "data.csv")

    assert caught.value.message == f"data.csv: no column for {missing}; it has {', '.join(header)}"
    assert "[fetch.columns]" in caught.value.hint
    assert hint in caught.value.hint


def test_a_thousand_columns_are_not_all_listed() -> None:
    with pytest.raises(BadDataError) as caught:
        resolve_columns([f"column {n}" * 9 for n in range(1000)], {}, "data.csv")

    assert len(caught.value.message) < 2000


def test_a_long_text_without_columns_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match="neither JSON, Parquet nor CSV"):
        rows(tmp_path / "x.csv", b"x" * 300_000)


@pytest.mark.parametrize(
    "content",
    [
        b"full_name,stars\na/b,3\n",
        b"\xef\xbb\xbffull_name,stars\r\na/b,3\r\n",
        b"full_name;stars\na/b;3",
        b"stars\tfull_name\n3\ta/b\n\n",
        "full_name,stars\na/b,3\n".encode("utf-16"),
        b'"full_name","stars"\n"a/b","3"\n',
    ],
)
def test_csv_dialects_are_read(tmp_path: Path, content: bytes) -> None:
    batch = rows(tmp_path / "x.csv", content)

    assert batch.frame[["full_name", "stars"]].values.tolist() == [["a/b", "3"]]


def test_a_name_of_a_column_may_have_several_lines(tmp_path: Path) -> None:
    batch = rows(tmp_path / "x.csv", b'full_name,stars,"num\nforks",x\r\na/b,3,4,5\r\n')

    assert batch.frame[["full_name", "stars"]].values.tolist() == [["a/b", "3"]]


@pytest.mark.parametrize("first", [b'full_name,stars,"x', b'"full_name,stars,x', b'full_name,stars,"x"y'])
def test_a_quote_of_the_first_line_that_is_not_closed_hides_no_rows(tmp_path: Path, first: bytes) -> None:
    for row in (b"a/b,1,x\n", b'a/b,1,"\n', b'a/b,1,"x"\n', b"a/b,1,x\n" * 99):
        with pytest.raises(BadDataError):
            rows(tmp_path / "x.csv", first + b"\n" + row)


def test_owner_and_name_are_joined_to_the_full_name(tmp_path: Path) -> None:
    mapping = {"owner": "Owner", "name": "Repository Name", "stars": "Star Count"}

    batch = rows(tmp_path / "x.csv", b"Repository Name,Owner,Star Count\nnull,NA,3\n", mapping)

    assert batch.frame["full_name"].tolist() == ["NA/null"]


def test_a_row_with_too_few_or_too_many_cells_is_invalid_and_the_others_are_read(tmp_path: Path) -> None:
    batch = rows(tmp_path / "x.csv", b"full_name,stars\na/b,1\nc/d\ne/f,2,3\ng/h,4\n")

    assert batch.positions == [1, 4]
    assert batch.invalid == [(2, "1 columns instead of 2"), (3, "3 columns instead of 2")]


def test_an_unclosed_quote_is_reported(tmp_path: Path) -> None:
    batch = rows(tmp_path / "x.csv", b'full_name,stars,description\na/b,1,x\nc/d,2,"never\ne/f,3,y\n')

    assert batch.positions == [1, 3]
    assert batch.invalid == [(2, "a quote is not closed")]


def test_a_cell_of_the_size_of_a_readme_is_read(tmp_path: Path) -> None:
    batch = rows(tmp_path / "x.csv", b'full_name,stars,x\na/b,1,"' + b"line\n" * 50_000 + b'"\nc/d,2,\n')

    assert batch.positions == [1, 2]
    assert batch.invalid == []


def test_a_missing_description_or_homepage_in_an_existing_column_is_empty(tmp_path: Path) -> None:
    content = b"full_name,stars,description,home\na/b,1,four,https://x.org\nc/d,2,,\n"

    frame = rows(tmp_path / "x.csv", content, {"has_homepage": "home"}).frame

    assert frame["description_length"].tolist() == [4.0, 0.0]
    assert frame["has_homepage"].tolist() == ["https://x.org", ""]


@pytest.mark.parametrize("pack", [False, True])
def test_parquet_keeps_its_types(tmp_path: Path, pack: bool) -> None:
    table = pd.DataFrame(
        {
            "repo": pd.Categorical(["a/b", "c/d"]),
            "stars": pd.array([1, None], "Int32"),
            "date": pd.Series([pd.Timestamp("2020-01-01"), pd.NaT]),
            "topics": [["x"], None],
        }
    )
    table.to_parquet(tmp_path / "t")
    content = (tmp_path / "t").read_bytes()

    frame = rows(
        tmp_path / "x", gzip.compress(content) if pack else content, {"full_name": "repo", "fetched_at": "date"}
    ).frame

    assert frame["full_name"].tolist() == ["a/b", "c/d"]
    assert frame["stars"].tolist()[0] == 1
    assert list(frame["topics"].iloc[0]) == ["x"]
    assert isinstance(frame["fetched_at"].dtype, type(table["date"].dtype))


@pytest.mark.parametrize("cut", [slice(0, 50), slice(0, -30)])
def test_broken_parquet_is_rejected(tmp_path: Path, cut: slice) -> None:
    pd.DataFrame({"full_name": ["a/b"], "stars": [1]}).to_parquet(tmp_path / "t")

    with pytest.raises(BadDataError, match="broken Parquet"):
        rows(tmp_path / "x", (tmp_path / "t").read_bytes()[cut])


def test_parquet_is_read_from_a_pipe_up_to_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was broken Parquet: lseek failed."""
    pd.DataFrame({"full_name": ["a/b"], "stars": [1]}).to_parquet(tmp_path / "t")
    os.mkfifo(tmp_path / "pipe")

    def read() -> list[int]:
        with ThreadPoolExecutor() as pool, open_source(write_to_pipe(pool)) as source:
            return [position for batch in read_rows(source, {}) for position in batch.positions]

    def write_to_pipe(pool: ThreadPoolExecutor) -> Path:
        pool.submit((tmp_path / "pipe").write_bytes, (tmp_path / "t").read_bytes())
        return tmp_path / "pipe"

    assert read() == [1]
    monkeypatch.setattr(table_records, "MAX_IN_MEMORY", 10)
    with pytest.raises(BadDataError, match="a pipe of more"):
        read()


def test_parquet_that_decompresses_to_too_much_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_records, "MAX_ROWS", 10)
    monkeypatch.setattr(table_records, "MAX_IN_MEMORY", 10)
    pd.DataFrame({"full_name": ["a/b"] * 11, "stars": [1] * 11}).to_parquet(tmp_path / "t")
    content = (tmp_path / "t").read_bytes()

    with pytest.raises(BadDataError, match="too many"):
        rows(tmp_path / "x", content)
    with pytest.raises(BadDataError, match="decompresses to more"):
        rows(tmp_path / "x", gzip.compress(content))


def test_a_long_table_is_read_in_batches(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("full_name,stars\n" + "a/b,1\n" * 7)
    pd.DataFrame({"full_name": ["a/b"] * 7, "stars": [1] * 7}).to_parquet(tmp_path / "x.parquet")

    for name in ("x.csv", "x.parquet"):
        with open_source(tmp_path / name) as source:
            assert [batch.positions for batch in read_rows(source, {}, batch=3)] == [[1, 2, 3], [4, 5, 6], [7]]


def test_the_errors_of_the_parquet_library_have_one_base_class() -> None:
    """If this changes, broken files would end in a traceback."""
    assert issubclass(pa.ArrowInvalid, pa.ArrowException)
