"""CSV and Parquet of others: which of their columns is which of our fields, and the rows in batches."""

from __future__ import annotations

import csv
import difflib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.errors import BadDataError, ConfigError, did_you_mean
from stargaze.features.ingest.derive import is_url
from stargaze.features.ingest.field_mapping import SPELLINGS
from stargaze.features.ingest.open_file import MOST_BYTES, Source
from stargaze.features.schema import FIELD_BY_NAME

NAME_PARTS = ("owner", "name")
"""Together they stand for full_name."""
BATCH = 100_000
MOST_HEADER = 2**20
"""Characters of the line that names the columns."""
MOST_IN_MEMORY = 2**30
"""Bytes of a gzipped Parquet file, which must be unpacked before it can be read."""
MOST_ROWS = 100_000_000
"""Parquet packs equal rows into nothing; GitHub's public repositories with a star are fewer."""
_URL = re.compile(r"^(?:https?://)?(?:www\.)?github\.com/|\.git$|/+$")


@dataclass(frozen=True)
class Batch:
    """Some rows of a table: our columns, each row's position in the file from 1, and the rows that are none."""

    frame: pd.DataFrame
    positions: list[int]
    bad: list[tuple[int, str]]


def check_mapping(columns: Mapping[str, str]) -> None:
    """Refuse a mapping of a field that we do not have, before any file is opened."""
    known = [*FIELD_BY_NAME, *NAME_PARTS]
    for field in columns:
        if field not in known:
            raise ConfigError(f"fetch.columns.{field} is not a field", hint=_near(field, known, "The fields are"))


def read_rows(source: Source, columns: Mapping[str, str]) -> Iterator[Batch]:
    """Yield a table's rows in our columns; values stay as they are.

    Raises
    ------
    ConfigError
        If the mapping names a column that the file has not.
    BadDataError
        If there is no column for the name or the stars, or the file is broken.
    """
    rows = _parquet(source, columns) if source.format == "parquet" else _csv(source, columns)
    for batch in rows:
        yield Batch(_named(batch.frame), batch.positions, batch.bad)


def resolve_columns(header: list[str], columns: Mapping[str, str], name: str) -> dict[str, str]:
    """Find the column of each field: the mapped one, else the one that has our name, else GitHub's.

    Examples
    --------
    >>> resolve_columns(["full_name", "Star Count", "n"], {"stars": "Star Count"}, "x.csv")
    {'stars': 'Star Count', 'full_name': 'full_name'}
    >>> resolve_columns(["full_name", "stargazers_count"], {}, "x.csv")
    {'full_name': 'full_name', 'stars': 'stargazers_count'}
    """
    for field, theirs in columns.items():
        if theirs not in header:
            raise ConfigError(
                f"fetch.columns.{field}: {name} has no column {theirs!r}", hint=_near(theirs, header, "Its columns are")
            )
    found = dict(columns)
    free = set(header) - set(found.values())
    for ours in (*FIELD_BY_NAME, *NAME_PARTS):
        if ours not in found and (own := _own(ours, free)):
            found[ours] = own
            free.remove(own)
    missing = [] if "full_name" in found or all(part in found for part in NAME_PARTS) else ["full_name"]
    missing += [] if "stars" in found else ["stars"]
    if missing:
        lines = ", ".join(f'{field} = "{_guess(field, header)}"' for field in missing)
        raise BadDataError(
            f"{name}: no column for {' and '.join(missing)}; it has {_listing(header)}",
            hint=f"say in stargaze.toml which they are: [fetch.columns] {lines}"
            + (' (or owner = "…" and name = "…")' if "full_name" in missing else ""),
        )
    return found


def _own(field: str, header: set[str]) -> str | None:
    """Find the column that needs no line in the config: a name of another field is never taken for this one's."""
    names = (field, *(name for name in SPELLINGS.get(field, ()) if name not in FIELD_BY_NAME))
    return next((name for name in names if name in header), None)


def _guess(field: str, header: list[str]) -> str:
    near = difflib.get_close_matches(field.rstrip("s"), header, n=1, cutoff=0.4)
    return near[0] if near else "…"


def _near(name: str, known: list[str], otherwise: str) -> str:
    return did_you_mean(name, known, f"{otherwise} {_listing(known)}")


def _listing(names: list[str]) -> str:
    some = ", ".join(repr(name)[1:41].rstrip("'") for name in names[:30])
    return some + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _csv(source: Source, columns: Mapping[str, str]) -> Iterator[Batch]:
    text = source.text()
    first = text.readline(MOST_HEADER)
    delimiter = max(",;\t", key=first.count)
    try:
        header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    except csv.Error as error:
        raise BadDataError(
            f"{source.name}: neither JSON, Parquet nor CSV: {error}", hint="the first line of a CSV names its columns"
        ) from error
    found = resolve_columns(header, columns, source.name)
    places = {ours: header.index(theirs) for ours, theirs in found.items()}
    cells = _cells(text, delimiter, len(header))
    while part := list(itertools.islice(cells, BATCH)):
        good = [(position, row) for position, row, reason in part if not reason]
        bad = [(position, reason) for position, _, reason in part if reason]
        yield Batch(_columns([row for _, row in good], places), [position for position, _ in good], bad)


def _cells(text: Iterable[str], delimiter: str, width: int) -> Iterator[tuple[int, list[str], str]]:
    """Yield each row with its position, and why it is none."""
    reader = csv.reader(
        text, delimiter=delimiter, strict=True
    )  # else a quote that is never closed swallows rows unsaid
    for position in itertools.count(1):
        row: list[str] = []
        try:
            while not row:  # an empty line
                row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield position, [], str(error)
            continue
        yield position, row, "" if len(row) == width else f"{len(row)} columns where the header has {width}"


def _columns(rows: list[list[str]], places: Mapping[str, int]) -> pd.DataFrame:
    return pd.DataFrame({ours: pd.Series([row[place] for row in rows], dtype="str") for ours, place in places.items()})


def _parquet(source: Source, columns: Mapping[str, str]) -> Iterator[Batch]:
    try:
        file = pq.ParquetFile(pa.BufferReader(_unpacked(source)) if source.packed else source.path)
        found = resolve_columns(list(file.schema_arrow.names), columns, source.name)
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if file.metadata.num_rows > MOST_ROWS or unpacked > MOST_BYTES:
            raise BadDataError(
                f"{source.name}: {file.metadata.num_rows:,} rows are too many", hint="split it into smaller files"
            )
        position = 0
        for part in file.iter_batches(batch_size=BATCH, columns=sorted(set(found.values()))):
            theirs = part.to_pandas(date_as_object=False, ignore_metadata=True)
            frame = pd.DataFrame({ours: _plain(theirs[name]) for ours, name in found.items()})
            yield Batch(frame, list(range(position + 1, position + len(frame) + 1)), [])
            position += len(frame)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        raise BadDataError(f"{source.name}: broken Parquet: {reason}", hint="fetch the file again") from error


def _unpacked(source: Source) -> bytes:
    """Read a whole gzipped Parquet file, which cannot be read from front to back."""
    whole = source.stream.read(MOST_IN_MEMORY + 1)
    if len(whole) > MOST_IN_MEMORY:
        raise BadDataError(
            f"{source.name}: unpacks to more than 1 GiB", hint="unpack it: gunzip keeps Parquet as it is"
        )
    return whole


def _plain(column: pd.Series) -> pd.Series:
    return column.astype(column.cat.categories.dtype) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Make full_name of its parts or of an address, and tell an empty description or homepage from an unknown one."""
    if "full_name" not in frame.columns:
        frame["full_name"] = frame["owner"].astype("str") + "/" + frame["name"].astype("str")
    names = frame["full_name"].astype("str").str.strip()
    while (rest := names.str.replace(_URL, "", regex=True)).ne(names).any():
        names = rest
    frame["full_name"] = names
    if "description" in frame.columns and "description_length" not in frame.columns:
        frame["description_length"] = frame["description"].astype("str").str.len().fillna(0.0)
    if "has_homepage" in frame.columns and any(map(is_url, frame["has_homepage"])):
        frame["has_homepage"] = frame["has_homepage"].fillna("")
    return frame
