"""Read CSV and Parquet of any origin: map their columns to our fields, and return the rows in batches."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.errors import BadDataError
from stargaze.features.ingest.column_use import OnColumns, ignore_columns
from stargaze.features.ingest.csv_rows import read_csv_rows
from stargaze.features.ingest.field_mapping import REQUIRED
from stargaze.features.ingest.open_file import MAX_BYTES, Source
from stargaze.features.ingest.parsing.column_fields import TableMapper
from stargaze.features.ingest.parsing.missing import find_missing
from stargaze.features.ingest.parsing.parquet_values import has_objects, to_series

BATCH = 100_000
HEADER_LINES = 20
"""Lines of the names of the columns."""
DELIMITERS = ",;\t|"
"""Possible delimiters of a CSV; the most frequent one in the header is used."""
_DELIMITER_LINE = re.compile(r'"?sep=.?"?\s*', re.DOTALL)
"""A line before the header by which Excel knows the delimiter."""
_QUOTED = re.compile(r'"[^"]*"')
AROUND = " \t\r\n\v\f\ufeff\u200b\N{NO-BREAK SPACE}"
"""Spaces around the name of a column, of which some cannot be seen."""
MAX_HEADER = 2**20
"""Length of the header line [characters]."""
MAX_IN_MEMORY = 2**30
"""Size of a Parquet file that is gzipped or a pipe, and so read into memory [byte]."""
MAX_ROWS = 100_000_000
"""Rows of a Parquet file, which compresses equal rows to nothing; fewer public repositories have a star."""
OBJECT_BATCH = 10_000
"""Rows of a Parquet file with objects, which take much more memory in Python."""


@dataclass(frozen=True)
class TableBatch:
    """Rows of a table: our columns, each row's position in the file from 1, and positions and reasons of invalid rows."""

    frame: pd.DataFrame
    positions: list[int]
    invalid: list[tuple[int, str]]


def read_rows(
    source: Source,
    columns: Mapping[str, str],
    on_columns: OnColumns = ignore_columns,
    exclude: frozenset[str] = frozenset(),
    required: Sequence[str] = REQUIRED,
    batch: int = BATCH,
) -> Iterator[TableBatch]:
    """Yield a table's rows in our columns and own columns, with unconverted values; at most ``batch`` at once.

    Columns and fields in ``exclude`` are not read; the table has the ``required`` ones.

    Raise ConfigError if the mapping names a column that does not exist; BadDataError if there is no column for the name or the
    stars, or the file is broken.
    """
    read = _read_parquet if source.format == "parquet" else _read_csv
    for rows in read(source, columns, on_columns, exclude, required, batch):
        yield TableBatch(_normalize_names(rows.frame), rows.positions, rows.invalid)


def _read_csv(
    source: Source,
    columns: Mapping[str, str],
    on_columns: OnColumns,
    exclude: frozenset[str],
    required: Sequence[str],
    size: int,
) -> Iterator[TableBatch]:
    text = source.text()
    header, delimiter = read_header(text, source.name)
    mapper = TableMapper(header, columns, source.name, exclude=exclude, required=required)
    indices = {column: header.index(column) for column in mapper.columns_to_read()}
    names, counts = ([header.index(column) for column in found] for found in mapper.name_and_stars())
    cells = read_csv_rows(text, delimiter, len(header), names=names, counts=counts)
    while batch := list(itertools.islice(cells, size)):
        rows = [row for _, row, reason in batch if not reason]
        raw = {column: pd.Series([row[i] for row in rows], dtype="str", name=column) for column, i in indices.items()}
        positions = [position for position, _, reason in batch if not reason]
        invalid = [(position, reason) for position, _, reason in batch if reason]
        yield TableBatch(mapper.map_batch(raw), positions, invalid)
    mapper.check()
    on_columns(mapper.describe())


def read_header(text: TextIO, name: str) -> tuple[list[str], str]:
    """Return the names of the columns and the delimiter; a quoted name may have several lines."""
    lines = [_skip_empty_lines(text)]
    if _DELIMITER_LINE.fullmatch(lines[0]):
        lines = [_skip_empty_lines(text)]
    delimiter = _find_delimiter(lines[0])
    while True:
        try:
            cells = next(csv.reader(lines, delimiter=delimiter, strict=True))
            break
        except csv.Error as error:
            more = text.readline(MAX_HEADER) if len(lines) < HEADER_LINES else ""
            is_open = str(error) == "unexpected end of data"
            if is_open and not more:
                raise _unclosed_header(name) from error
            if not is_open:
                hint = "the first line of a CSV names its columns"
                message = f"{name}: neither JSON, Parquet nor CSV: the first line: {error}"
                raise BadDataError(message, hint=hint) from error
            lines.append(more)
    if any("\n" in cell.strip() and delimiter in cell for cell in cells):
        raise _unclosed_header(name)
    return [cell.strip(AROUND) for cell in cells], delimiter


def _find_delimiter(line: str) -> str:
    """Return the most frequent delimiter, preferably of those outside of quotes."""
    bare = _QUOTED.sub("", line)
    return max(DELIMITERS, key=bare.count if any(mark in bare for mark in DELIMITERS) else line.count)


def _skip_empty_lines(text: TextIO) -> str:
    """Return the first line that is not empty, an empty text if there is none."""
    lines = iter(lambda: text.readline(MAX_HEADER), "")
    return next((line for line in lines if line.strip("\r\n\ufeff")), "")


def _unclosed_header(name: str) -> BadDataError:
    return BadDataError(f"{name}: a quote in the first line is not closed", hint="close the quote or remove it")


def _read_parquet(
    source: Source,
    columns: Mapping[str, str],
    on_columns: OnColumns,
    exclude: frozenset[str],
    required: Sequence[str],
    size: int,
) -> Iterator[TableBatch]:
    try:
        file = open_parquet(source)
        schema = file.schema_arrow
        nested = frozenset(field.name for field in schema if has_objects(field.name, field.type))
        mapper = TableMapper(list(schema.names), columns, source.name, nested, exclude, required)
        used = mapper.columns_to_read()
        _check_size(file, source.name)
        position = 0
        for rows in file.iter_batches(
            batch_size=min(OBJECT_BATCH, size) if nested.intersection(used) else size, columns=used
        ):
            frame = mapper.map_batch({column: to_series(rows.column(column), column, source.name) for column in used})
            yield TableBatch(frame, list(range(position + 1, position + len(frame) + 1)), [])
            position += len(frame)
        mapper.check()
        on_columns(mapper.describe())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise BadDataError(f"{source.name}: broken Parquet: {reason}", hint="fetch the file again") from error


def _check_size(file: pq.ParquetFile, name: str) -> None:
    size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if file.metadata.num_rows > MAX_ROWS or size > MAX_BYTES:
        raise BadDataError(f"{name}: {file.metadata.num_rows:,} rows are too many", hint="split it into smaller files")


def open_parquet(source: Source) -> pq.ParquetFile:
    """Open a Parquet file; a gzipped one, or a pipe, is read into memory, as Parquet needs random access."""
    if not source.compressed and source.path.is_file():
        return pq.ParquetFile(source.path)
    content = source.stream.read(MAX_IN_MEMORY + 1)
    if len(content) > MAX_IN_MEMORY:
        if not source.compressed:
            raise BadDataError(f"{source.name}: a pipe of more than 1 GiB", hint="write it to a file")
        raise BadDataError(f"{source.name}: decompresses to more than 1 GiB", hint="decompress it with gunzip")
    return pq.ParquetFile(pa.BufferReader(content))


def _normalize_names(frame: pd.DataFrame) -> pd.DataFrame:
    """Build full_name from its parts, and mark missing descriptions as known and empty."""
    if "full_name" not in frame.columns:
        frame["full_name"] = frame["owner"].astype("str").str.strip() + "/" + frame["name"].astype("str").str.strip()
    frame["full_name"] = frame["full_name"].astype("str").str.strip()
    if "description" in frame.columns:
        frame["description"] = frame["description"].mask(find_missing(frame["description"]))
        if "description_length" not in frame.columns:
            frame["description_length"] = frame["description"].astype("str").str.len().fillna(0.0)
    return frame
