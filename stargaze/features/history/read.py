"""Read star histories from tables of weekly gains (as ``fetch`` writes them) or of dates and counts, and validate them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.errors import BadDataError, MissingInputError, did_you_mean

COLUMNS: dict[str, tuple[str, ...]] = {
    "full_name": ("full_name", "repository", "name_with_owner", "nameWithOwner"),
    "date": ("date", "day", "snapshot", "fetched_at"),
    "stars": ("stars", "stargazers_count", "stargazerCount"),
    "forks": ("forks", "forks_count", "forkCount"),
    "issues": ("issues", "open_issues", "open_issues_count"),
    "language": ("language", "primary_language"),
    "last_commit": ("last_commit", "pushed_at"),
}
"""Our columns and their names in other tables; a history needs the first three."""
REQUIRED = ("full_name", "date", "stars")
COUNTS = ("stars", "forks", "issues")
WEEK = pd.Timedelta(days=7)
EPOCH = pd.Timestamp("1970-01-01", tz="UTC")
"""Days are counted from here."""
MAX_ROWS = 50_000_000
"""Rows of a table: a hundred thousand repositories week by week for ten years."""


def read_history(path: Path, *, now: datetime) -> pd.DataFrame:
    """Read a star history: shape (n_counts, 7), the columns of :data:`COLUMNS`, sorted by name and date.

    The file (Parquet or CSV) has either weekly gains (``full_name``, ``week``, ``stars``, ``days``) or dates and counts
    (``full_name``, ``date`` [UTC], ``stars`` (total), others optional). No count may be later than ``now``. A week that had not
    ended when the file was written is dropped; missing columns are NaN or None. Raise MissingInputError if the file does not
    exist, BadDataError if it is not such a table or a row is invalid.
    """
    table = _read_table(path)
    has_gains = {"week", "days"} <= set(table.columns)
    frame = _validate(_rename_columns(table, path, date="week" if has_gains else "date"), path, now)
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)  # an unfinished week stays unfinished
    return tidy_history(_accumulate(frame, min(now, written)) if has_gains else frame)


def tidy_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a history by name and date, and add its missing columns; shape (n_counts, 7).

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-08", "2024-01-01"], utc=True)
    >>> tidy_history(pd.DataFrame({"full_name": ["a/b", "a/b"], "date": days, "stars": [12, 10]}))["stars"].tolist()
    [10.0, 12.0]
    """
    frame = frame.reindex(columns=list(COLUMNS))
    frame = frame.astype(dict.fromkeys(COUNTS, "float64") | {"full_name": "str", "language": "object"})
    frame["last_commit"] = pd.to_datetime(frame["last_commit"], utc=True, errors="coerce")
    return frame.sort_values(["full_name", "date"], kind="stable", ignore_index=True)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        hint = "stargaze fetch --name OWNER/NAME --star-history '*'; or set growth.history_file to a table"
        raise MissingInputError(f"{path}: no such history", hint=hint)
    try:
        if path.suffix == ".parquet":
            rows = pq.read_metadata(path).num_rows
            table = pq.read_table(path).to_pandas(ignore_metadata=True) if rows <= MAX_ROWS else pd.DataFrame()
        else:
            table = pd.read_csv(path, nrows=MAX_ROWS + 1)
            rows = len(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:200]
        hint = "growth.history_file takes Parquet and CSV"
        raise BadDataError(f"{path}: cannot be read: {reason}", hint=hint) from error
    if rows > MAX_ROWS:
        hint = "keep one row per repository and week"
        raise BadDataError(f"{path}: more than {MAX_ROWS:,} rows are too many", hint=hint)
    return table


def _rename_columns(table: pd.DataFrame, path: Path, *, date: str) -> pd.DataFrame:
    """Return our columns under our names; the others are dropped."""
    names = [str(name) for name in table.columns]
    renamed = {}
    for column, spellings in COLUMNS.items():
        candidates = (date, *spellings) if column == "date" else spellings
        source = next((name for name in candidates if name in names), None)
        if source is not None:
            renamed[column] = table[source]
    for column in REQUIRED:
        if column not in renamed:
            listed = ", ".join(repr(name)[1:41].rstrip("'") for name in names[:20]) or "none"
            near = did_you_mean(column, names, f"A history needs {', '.join(REQUIRED)}.")
            message = f"{path}: no column for {column}; it has {listed}"
            raise BadDataError(message, hint=f"{near} Rename the column to {column}.")
    return pd.DataFrame(renamed)


def _validate(frame: pd.DataFrame, path: Path, now: datetime) -> pd.DataFrame:
    """Convert dates and counts; raise BadDataError with the number of the first invalid row."""
    if frame.empty:
        hint = "stargaze fetch --name OWNER/NAME --star-history '*' fetches one"
        raise BadDataError(f"{path}: has no rows", hint=hint)
    frame = frame.assign(full_name=frame["full_name"].astype("str").str.strip())
    _reject(frame["full_name"].eq("") | frame["full_name"].isna(), frame["full_name"], path, "has no full_name")
    dates = _parse_dates(frame["date"])
    _reject(dates.isna(), frame["date"], path, "date is not a date")
    _reject(dates > pd.Timestamp(now), dates, path, "date is in the future")
    frame["date"] = dates
    for name in filter(frame.columns.__contains__, COUNTS):
        numbers = pd.to_numeric(frame[name], errors="coerce").astype("float64")
        invalid = (numbers.isna() & (name == "stars")) | numbers.abs().eq(np.inf)
        _reject(invalid, frame[name], path, f"{name} is not a number")
        _reject(numbers < 0, frame[name], path, f"{name} is negative")
        frame[name] = numbers
    return frame


def _parse_dates(column: pd.Series) -> pd.Series:
    """Parse dates as UTC; anything else becomes NaT, also a number, as its origin is unknown."""
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(pd.NaT, index=column.index, dtype="datetime64[us, UTC]")
    date_format = None if pd.api.types.is_datetime64_any_dtype(column) else "ISO8601"
    return pd.to_datetime(column, utc=True, errors="coerce", format=date_format).astype("datetime64[us, UTC]")


def _reject(invalid: pd.Series, values: pd.Series, path: Path, problem: str) -> None:
    rows = np.flatnonzero(invalid.to_numpy())
    if len(rows):
        value = str(values.iloc[rows[0]])[:60]
        more = f" (and {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
        message = f"{path}: row {rows[0] + 1}: {problem}: {value}{more}"
        raise BadDataError(message, hint="correct or remove the row, then stargaze tune")


def _accumulate(frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Add weekly gains up to counts at the end of each week."""
    ended = frame.assign(date=frame["date"] + WEEK)
    ended = ended[ended["date"] <= pd.Timestamp(now)]
    ended = ended.drop_duplicates(["full_name", "date"], keep="last").sort_values(["full_name", "date"], kind="stable")
    return ended.assign(stars=ended.groupby("full_name")["stars"].cumsum())
