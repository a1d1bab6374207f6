"""The rows of a star history from files of any format that ``fetch`` reads, with unconverted values and true positions."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.history.columns import COLUMNS, find_columns, has_weekly_gains
from stargaze.features.ingest.csv_rows import read_csv_rows
from stargaze.features.ingest.json_records import read_records
from stargaze.features.ingest.open_file import Source, open_source
from stargaze.features.ingest.parsing.flattened_names import value_at
from stargaze.features.ingest.parsing.object_text import repair_text
from stargaze.features.ingest.parsing.parquet_values import to_series
from stargaze.features.ingest.table_records import MAX_HEADER, open_parquet, read_header

MAX_ROWS = 50_000_000
"""Rows of a table: a hundred thousand repositories week by week for ten years."""
STAR_HISTORY = "star_history.parquet"
"""The history of ``fetch`` in a store."""
BATCH = 500_000
BLOCK = 2**24
"""Bytes of a CSV that are parsed at once; no line can be longer."""
KEY_RECORDS = 1_000
"""Records of a JSON file from which its keys are taken."""
_TABLE_COLUMNS = {name: name for names in COLUMNS.values() for name in names}
"""Names by which a table in one object is recognized, as pandas writes it."""


@dataclass
class RawHistory:
    """Rows in our columns with the positions of the rows in the file, from 1, as index; and the rows that cannot be read."""

    frame: pd.DataFrame
    has_gains: bool
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The number of rows of the file."""
        return len(self.frame) + len(self.refused)


def read_raw_history(path: Path, columns: Mapping[str, str]) -> RawHistory:
    """Read CSV, JSON, JSON lines or Parquet, each also as gzip; ``columns`` is the mapping of the config.

    Raise MissingInputError if there is no such file, ConfigError for an invalid mapping, BadDataError if it is no such table.
    """
    if not path.is_file():
        raise MissingInputError(f"{path}: no such history", hint=missing_hint(path))
    with open_source(path) as source:
        if source.format == "parquet":
            return _read_parquet(source, columns)
        if source.format != "csv":
            return _read_json(source, columns)
        if history := _read_plain_csv(source, columns):
            return history
    with open_source(path) as source:
        return _read_csv(source, columns)


def missing_hint(path: Path) -> str:
    """Return where a history comes from that does not exist or has no rows: from ``fetch``, or from the file of the config."""
    if path.name == STAR_HISTORY:
        return "stargaze fetch --name OWNER/NAME --star-history '*'; or set growth.history_file to a table"
    return "check growth.history_file; without it, the history of stargaze fetch --star-history is used"


def _check_rows(count: int, name: str) -> None:
    if count > MAX_ROWS:
        hint = "keep one row per repository and week"
        raise BadDataError(f"{name}: more than {MAX_ROWS:,} rows are too many", hint=hint)


def _read_parquet(source: Source, columns: Mapping[str, str]) -> RawHistory:
    try:
        file = open_parquet(source)
        header = [str(name) for name in file.schema_arrow.names]
        found = find_columns(header, columns, source.name)
        _check_rows(file.metadata.num_rows, source.name)
        table = file.read(columns=list(dict.fromkeys(found.values())))
        series = {ours: to_series(table.column(theirs), theirs, source.name) for ours, theirs in found.items()}
        frame = pd.DataFrame(series)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise BadDataError(f"{source.name}: broken Parquet: {reason}", hint="write the file again") from error
    return RawHistory(frame.set_axis(range(1, len(frame) + 1)), has_weekly_gains(header))


def _read_json(source: Source, columns: Mapping[str, str]) -> RawHistory:
    records = read_records(source, {**_TABLE_COLUMNS, **columns})
    first = list(itertools.islice(records, KEY_RECORDS))
    objects = [value for _, value, _ in first if isinstance(value, dict)]
    paths = [path for path in columns.values() if any(value_at(value, path)[0] for value in objects)]
    header = list(dict.fromkeys([*(str(key) for value in objects for key in value), *paths]))
    found = find_columns(header, columns, source.name)
    values: dict[str, list[Any]] = {ours: [] for ours in found}
    positions: list[int] = []
    refused: list[tuple[int, str]] = []
    for count, (position, value, reason) in enumerate(itertools.chain(first, records), start=1):
        _check_rows(count, source.name)
        if reason or not isinstance(value, dict):
            refused.append((position, reason or "not an object"))
            continue
        positions.append(position)
        for ours, theirs in found.items():
            found_value = value_at(value, theirs)[1]
            values[ours].append(repair_text(found_value) if isinstance(found_value, str) else found_value)
    frame = pd.DataFrame({ours: pd.Series(column, dtype="object") for ours, column in values.items()})
    return RawHistory(frame.set_axis(positions), has_weekly_gains(header), refused)


class _LineCounter(io.RawIOBase):
    """Reads from a stream and counts its lines."""

    def __init__(self, stream: io.BufferedReader[Any]) -> None:
        self._stream = stream
        self.lines = 0
        self._last = b"\n"

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.lines += data.count(b"\n")
        if data:
            self._last = data[-1:]
        else:
            self.lines += self._last != b"\n"
            self._last = b"\n"
        return data


def _read_plain_csv(source: Source, columns: Mapping[str, str]) -> RawHistory | None:
    """Read a CSV with a fast parser; None if a record is invalid, or is not exactly one line."""
    head = bytes(source.stream.peek(MAX_HEADER)[:MAX_HEADER])
    try:
        first = head.decode("utf-8-sig", errors="replace" if len(head) == MAX_HEADER else "strict")
    except UnicodeDecodeError:
        return None
    line, newline, _ = first.partition("\n")
    text = io.StringIO(first, newline="")
    try:
        header, delimiter = read_header(text, source.name)
    except BadDataError:  # or its end was not read yet
        return None
    if not newline or "\r" in line[:-1] or text.tell() != len(line) + 1:
        return None
    found = find_columns(header, columns, source.name)
    numbers = {ours: str(header.index(theirs)) for ours, theirs in found.items()}
    used = list(dict.fromkeys(numbers.values()))
    counter = _LineCounter(source.stream)
    try:
        tables = list(_read_batches(counter, [str(i) for i in range(len(header))], used, delimiter, source.name))
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    rows = sum(map(len, tables))
    if rows != counter.lines - 1:
        return None
    table = pa.Table.from_batches(tables) if tables else pa.table({name: pa.array([], pa.string()) for name in used})
    frame = pd.DataFrame({ours: table.column(number).to_pandas() for ours, number in numbers.items()})
    return RawHistory(frame.set_axis(range(1, rows + 1)), has_weekly_gains(header))


def _read_batches(
    stream: _LineCounter, names: list[str], used: list[str], delimiter: str, name: str
) -> Iterator[pa.RecordBatch]:
    reader = pa_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=pa_csv.ReadOptions(column_names=names, skip_rows=1, block_size=BLOCK),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter),
        convert_options=pa_csv.ConvertOptions(
            include_columns=used, column_types=dict.fromkeys(used, pa.string()), strings_can_be_null=False
        ),
    )
    count = 0
    for batch in reader:
        count += len(batch)
        _check_rows(count, name)
        yield batch


def _read_csv(source: Source, columns: Mapping[str, str]) -> RawHistory:
    """Read any CSV; a record that cannot be parsed is refused."""
    text = source.text()
    header, delimiter = read_header(text, source.name)
    found = find_columns(header, columns, source.name)
    indices = {ours: header.index(theirs) for ours, theirs in found.items()}
    name, stars = indices["full_name"], indices["stars"]
    records = read_csv_rows(text, delimiter, len(header), names=[name], counts=[stars])
    history = RawHistory(pd.DataFrame(), has_weekly_gains(header))
    frames = list(_build_frames(records, indices, history, source.name))
    empty = pd.DataFrame({ours: pd.Series([], dtype="str") for ours in indices})
    history.frame = pd.concat(frames) if frames else empty
    return history


def _build_frames(
    records: Iterable[tuple[int, Sequence[str], str]], indices: Mapping[str, int], history: RawHistory, name: str
) -> Iterator[pd.DataFrame]:
    rows = iter(records)
    while batch := list(itertools.islice(rows, BATCH)):
        _check_rows(batch[-1][0], name)
        history.refused += [(position, reason) for position, _, reason in batch if reason]
        valid = [(position, cells) for position, cells, reason in batch if not reason]
        columns = {ours: pd.Series([cells[i] for _, cells in valid], dtype="str") for ours, i in indices.items()}
        yield pd.DataFrame(columns).set_axis([position for position, _ in valid])
