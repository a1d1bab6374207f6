"""Tables of any length as CSV, JSON lines or Parquet files, written in batches."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.errors import UsageError
from stargaze.system.files import atomic_write, convert_disk_errors, is_standard_output

SUFFIXES = {".csv": "csv", ".jsonl": "json lines", ".ndjson": "json lines", ".parquet": "parquet"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters with which a spreadsheet begins a formula."""
NAME = "full_name"
"""This column is written unchanged: names of repositories cannot be formulas, and are joined with other tables."""


class TableWriter(Protocol):
    """Writes one batch of rows after the other; all batches have the same columns and dtypes."""

    def write(self, frame: pd.DataFrame) -> None:
        """Write rows."""


def check_table_path(path: Path, inputs: Iterable[Path] = ()) -> str:
    """Return the format of a table's path: csv, json lines or parquet, a device or pipe is csv.

    Raise UsageError for another suffix, for a folder, and for one of the ``inputs``, which would be lost.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file in it: {path / 'predictions.csv'}")
    if path.is_file() and any(other.exists() and path.samefile(other) for other in inputs):
        raise UsageError(f"{path} is also an input, which the table would replace", hint="name another file")
    if is_standard_output(path) or _is_special(path):
        return "csv"
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_compressed = suffixes[-1:] == [".gz"]
    kind = SUFFIXES.get("".join(suffixes[-2:-1] if is_compressed else suffixes[-1:]), "")
    if not kind or (is_compressed and kind == "parquet"):
        hint = "end it with .csv, .jsonl, .csv.gz, .jsonl.gz or .parquet"
        raise UsageError(f"{path}: its suffix names no format of a table", hint=hint)
    return kind


@contextlib.contextmanager
def open_table(path: Path) -> Iterator[TableWriter]:
    """Yield a writer of a table, which gets its name when the block succeeds; a device or a pipe is written at once."""
    kind = check_table_path(path)
    if is_standard_output(path):
        yield _CsvWriter(sys.stdout)
        sys.stdout.flush()
        return
    if _is_special(path):
        with convert_disk_errors(path), path.open("w", encoding="utf-8", newline="") as stream:
            yield _CsvWriter(stream)
        return
    with atomic_write(path) as temporary, contextlib.ExitStack() as stack:
        if kind == "parquet":
            yield stack.enter_context(contextlib.closing(_ParquetWriter(temporary)))
            return
        is_compressed = path.suffix.lower() == ".gz"
        text = stack.enter_context(_open_text(temporary, compressed=is_compressed))
        yield _CsvWriter(text) if kind == "csv" else _JsonWriter(text)


def escape_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a quote before texts that a spreadsheet would evaluate.

    >>> escape_formulas(pd.DataFrame({"language": ["=1+1", "C"]}, dtype="str"))["language"].tolist()
    ["'=1+1", 'C']
    """
    texts = [name for name in frame if name != NAME and not pd.api.types.is_numeric_dtype(frame[name])]
    return frame.assign(**{str(name): frame[name].map(_escape) for name in texts}) if texts else frame


def _escape(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _open_text(path: Path, *, compressed: bool) -> TextIO:
    if compressed:
        return io.TextIOWrapper(gzip.GzipFile(path, "wb", mtime=0), encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


class _CsvWriter:
    def __init__(self, stream: TextIO) -> None:
        self._stream, self._header = stream, True

    def write(self, frame: pd.DataFrame) -> None:
        escape_formulas(frame).to_csv(self._stream, index=False, header=self._header, lineterminator="\n")
        self._header = False


class _JsonWriter:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, frame: pd.DataFrame) -> None:
        self._stream.write(to_json_lines(frame))


class _ParquetWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._schema: Any = None

    def write(self, frame: pd.DataFrame) -> None:
        table = pa.Table.from_pandas(frame, schema=self._schema, preserve_index=False)
        if self._writer is None:
            self._schema = table.schema
            self._writer = pq.ParquetWriter(self._path, self._schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


def to_json_lines(frame: pd.DataFrame) -> str:
    """Return one JSON object per row and line; a missing value is null.

    >>> to_json_lines(pd.DataFrame({"full_name": ["a/b"], "stars": [float("nan")]})).strip()
    '{"full_name": "a/b", "stars": null}'
    """
    rows = frame.astype("object").where(frame.notna(), None).to_dict("records")
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
