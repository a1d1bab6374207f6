"""Read CSV and Parquet of any origin: map their columns to our fields, and return the rows in batches."""

from __future__ import annotations

import csv
import difflib
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.errors import BadDataError, ConfigError, did_you_mean
from stargaze.features.ingest.column_use import ColumnUse, OnColumns, ignore_columns
from stargaze.features.ingest.csv_rows import read_csv_rows
from stargaze.features.ingest.derive import is_url
from stargaze.features.ingest.field_mapping import SPELLINGS
from stargaze.features.ingest.open_file import MAX_BYTES, Source
from stargaze.features.schema import FIELD_BY_NAME

NAME_PARTS = ("owner", "name")
"""Columns that together replace full_name."""
BATCH = 100_000
MAX_HEADER = 2**20
"""Length of the header line [characters]."""
MAX_IN_MEMORY = 2**30
"""Size of a gzipped Parquet file, which is decompressed in memory [byte]."""
MAX_ROWS = 100_000_000
"""Rows of a Parquet file, which compresses equal rows to nothing; fewer public repositories have a star."""
_URL = re.compile(r"^(?:https?://)?(?:www\.)?github\.com/|\.git$|/+$")


@dataclass(frozen=True)
class TableBatch:
    """Rows of a table: our columns, each row's position in the file from 1, and positions and reasons of invalid rows."""

    frame: pd.DataFrame
    positions: list[int]
    invalid: list[tuple[int, str]]


def check_mapping(columns: Mapping[str, str]) -> None:
    """Raise ConfigError for a mapping of an unknown field, before any file is opened."""
    known = [*FIELD_BY_NAME, *NAME_PARTS]
    for field in columns:
        if field not in known:
            hint = did_you_mean(field, known, f"The fields are {_list_names(known)}")
            raise ConfigError(f"fetch.columns.{field} is not a field", hint=hint)


def read_rows(
    source: Source, columns: Mapping[str, str], on_columns: OnColumns = ignore_columns
) -> Iterator[TableBatch]:
    """Yield a table's rows in our columns, with unconverted values.

    Raise ConfigError if the mapping names a column that does not exist; BadDataError if there is no column for the name or the
    stars, or the file is broken.
    """
    read = _read_parquet if source.format == "parquet" else _read_csv
    for batch in read(source, columns, on_columns):
        yield TableBatch(_normalize_names(batch.frame), batch.positions, batch.invalid)


def resolve_columns(header: list[str], columns: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the column of each field: the mapped one, else that of the same name, else that of GitHub's name.

    Examples
    --------
    >>> resolve_columns(["full_name", "Star Count", "n"], {"stars": "Star Count"}, "x.csv")
    {'stars': 'Star Count', 'full_name': 'full_name'}
    >>> resolve_columns(["full_name", "stargazers_count"], {}, "x.csv")
    {'full_name': 'full_name', 'stars': 'stargazers_count'}
    """
    for field, column in columns.items():
        if column not in header:
            hint = did_you_mean(column, header, f"Its columns are {_list_names(header)}")
            raise ConfigError(f"fetch.columns.{field}: {name} has no column {column!r}", hint=hint)
    mapping = dict(columns)
    unused = set(header) - set(mapping.values())
    for field in (*FIELD_BY_NAME, *NAME_PARTS):
        if field not in mapping and (match := _find_column(field, unused)):
            mapping[field] = match
            unused.remove(match)
    missing = [] if "full_name" in mapping or all(part in mapping for part in NAME_PARTS) else ["full_name"]
    missing += [] if "stars" in mapping else ["stars"]
    if missing:
        lines = ", ".join(f'{field} = "{_suggest_column(field, header)}"' for field in missing)
        or_parts = ' (or owner = "…" and name = "…")' if "full_name" in missing else ""
        message = f"{name}: no column for {' and '.join(missing)}; it has {_list_names(header)}"
        raise BadDataError(message, hint=f"map them in stargaze.toml: [fetch.columns] {lines}{or_parts}")
    return mapping


def _find_column(field: str, header: set[str]) -> str | None:
    """Return the column that needs no mapping; the name of another field is never used."""
    names = (field, *(name for name in SPELLINGS.get(field, ()) if name not in FIELD_BY_NAME))
    return next((name for name in names if name in header), None)


def _suggest_column(field: str, header: list[str]) -> str:
    near = difflib.get_close_matches(field.rstrip("s"), header, n=1, cutoff=0.4)
    return near[0] if near else "…"


def _list_names(names: list[str]) -> str:
    some = ", ".join(repr(name)[1:41].rstrip("'") for name in names[:30])
    return some + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _read_csv(source: Source, columns: Mapping[str, str], on_columns: OnColumns) -> Iterator[TableBatch]:
    text = source.text()
    first = text.readline(MAX_HEADER)
    delimiter = max(",;\t", key=first.count)
    try:
        header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    except csv.Error as error:
        hint = "the first line of a CSV names its columns"
        raise BadDataError(f"{source.name}: neither JSON, Parquet nor CSV: {error}", hint=hint) from error
    mapping = resolve_columns(header, columns, source.name)
    indices = {field: header.index(column) for field, column in mapping.items()}
    names = _indices_of_name(indices)
    cells = read_csv_rows(text, delimiter, len(header), names=names, counts=[indices["stars"]])
    while batch := list(itertools.islice(cells, BATCH)):
        rows = [row for _, row, reason in batch if not reason]
        frame = pd.DataFrame({field: pd.Series([row[i] for row in rows], dtype="str") for field, i in indices.items()})
        positions = [position for position, _, reason in batch if not reason]
        yield TableBatch(frame, positions, [(position, reason) for position, _, reason in batch if reason])
    on_columns(_describe_use(mapping, header))


def _describe_use(mapping: Mapping[str, str], header: list[str]) -> ColumnUse:
    used = set(mapping.values())
    return ColumnUse(dict(mapping), tuple((column, "") for column in header if column not in used))


def _indices_of_name(indices: Mapping[str, int]) -> list[int]:
    return [indices["full_name"]] if "full_name" in indices else [indices[part] for part in NAME_PARTS]


def _read_parquet(source: Source, columns: Mapping[str, str], on_columns: OnColumns) -> Iterator[TableBatch]:
    try:
        file = pq.ParquetFile(pa.BufferReader(_decompress(source)) if source.compressed else source.path)
        mapping = resolve_columns(list(file.schema_arrow.names), columns, source.name)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if file.metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
            message = f"{source.name}: {file.metadata.num_rows:,} rows are too many"
            raise BadDataError(message, hint="split it into smaller files")
        position = 0
        for rows in file.iter_batches(batch_size=BATCH, columns=sorted(set(mapping.values()))):
            table = rows.to_pandas(date_as_object=False, ignore_metadata=True)
            frame = pd.DataFrame({field: _decode_categories(table[column]) for field, column in mapping.items()})
            yield TableBatch(frame, list(range(position + 1, position + len(frame) + 1)), [])
            position += len(frame)
        on_columns(_describe_use(mapping, list(file.schema_arrow.names)))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise BadDataError(f"{source.name}: broken Parquet: {reason}", hint="fetch the file again") from error


def _decompress(source: Source) -> bytes:
    """Return a whole gzipped Parquet file, as Parquet needs random access."""
    content = source.stream.read(MAX_IN_MEMORY + 1)
    if len(content) > MAX_IN_MEMORY:
        raise BadDataError(f"{source.name}: decompresses to more than 1 GiB", hint="decompress it with gunzip")
    return content


def _decode_categories(column: pd.Series) -> pd.Series:
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _normalize_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Build full_name from its parts or a URL, and mark empty descriptions and homepages as known."""
    if "full_name" not in frame.columns:
        frame["full_name"] = frame["owner"].astype("str") + "/" + frame["name"].astype("str")
    names = frame["full_name"].astype("str").str.strip()
    while (shorter := names.str.replace(_URL, "", regex=True)).ne(names).any():
        names = shorter
    frame["full_name"] = names
    if "description" in frame.columns and "description_length" not in frame.columns:
        frame["description_length"] = frame["description"].astype("str").str.len().fillna(0.0)
    if "has_homepage" in frame.columns and any(map(is_url, frame["has_homepage"])):
        frame["has_homepage"] = frame["has_homepage"].fillna("")
    return frame
