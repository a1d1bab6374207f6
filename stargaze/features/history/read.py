"""Histories of stars, from whatever table they come, in one tidy form: a row a repository and day, with the stars it had.

``fetch`` writes stars gained a week; others keep tables of dates and counts. Both are read here, and nothing is believed
that cannot be true: a count below zero, a day that has not come.
"""

from __future__ import annotations

from collections.abc import Mapping
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
"""Our columns and how others spell them; a history holds the first three, and of the rest what its table has."""
NEEDED = ("full_name", "date", "stars")
COUNTS = ("stars", "forks", "issues")
WEEK = pd.Timedelta(days=7)
EPOCH = pd.Timestamp("1970-01-01", tz="UTC")
"""Days are counted from here."""
MOST_ROWS = 50_000_000
"""Rows of a table: a hundred thousand repositories week by week for ten years."""


def read_history(path: Path, *, now: datetime) -> pd.DataFrame:
    """Read a history of stars and put it into one form, whichever of the two kinds of table it is.

    Parameters
    ----------
    path : Path
        Parquet or CSV. Either weeks and stars gained, as ``fetch`` writes them (``full_name``, ``week``, ``stars``,
        ``days``), or dates and counts (``full_name``, ``date``, ``stars`` and, where known, ``forks``, ``issues``,
        ``language``, ``last_commit``).
    now : datetime
        Counts of later days cannot be; a week that was not over when the file was written is left out.

    Returns
    -------
    DataFrame
        ``full_name``, ``date`` [UTC], ``stars`` [stars in all], ``forks``, ``issues``, ``language``, ``last_commit``,
        by name and date; NaN or None for what the table has not.

    Raises
    ------
    MissingInputError
        If there is no such file.
    BadDataError
        If it is neither table, or a row holds what cannot be.
    """
    table = _table(path)
    gains = {"week", "days"} <= set(table.columns)
    named = _named(table, path, {"date": "week"} if gains else {})
    frame = _checked(named, path, now)
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)  # what was gathered on a Wednesday stays half a week
    return tidy_history(_totals(frame, min(now, written)) if gains else frame)


def tidy_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a history by name and date and give it every column, missing where it has none.

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-08", "2024-01-01"], utc=True)
    >>> tidy_history(pd.DataFrame({"full_name": ["a/b", "a/b"], "date": days, "stars": [12, 10]}))["stars"].tolist()
    [10.0, 12.0]
    """
    whole = frame.reindex(columns=list(COLUMNS))
    whole = whole.astype(dict.fromkeys(COUNTS, "float64") | {"full_name": "str", "language": "object"})
    whole["last_commit"] = pd.to_datetime(whole["last_commit"], utc=True, errors="coerce")
    return whole.sort_values(["full_name", "date"], kind="stable", ignore_index=True)


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise MissingInputError(
            f"{path}: no such history",
            hint="stargaze fetch --name OWNER/NAME --star-history '*'; or set growth.history_file to a table",
        )
    try:
        if path.suffix == ".parquet":
            rows = pq.read_metadata(path).num_rows
            table = pq.read_table(path).to_pandas(ignore_metadata=True) if rows <= MOST_ROWS else pd.DataFrame()
        else:
            table = pd.read_csv(path, nrows=MOST_ROWS + 1)
            rows = len(table)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0][:200]
        raise BadDataError(
            f"{path}: cannot be read: {reason}", hint="growth.history_file takes Parquet and CSV"
        ) from error
    if rows > MOST_ROWS:
        raise BadDataError(
            f"{path}: more than {MOST_ROWS:,} rows are too many", hint="keep one row a repository and week"
        )
    return table


def _named(table: pd.DataFrame, path: Path, ours: Mapping[str, str]) -> pd.DataFrame:
    """Give the columns our names; what we do not know is left out."""
    there = [str(name) for name in table.columns]
    found = {}
    for name, spellings in COLUMNS.items():
        spelled = next((one for one in (ours.get(name), *spellings) if one in there), None)
        if spelled is not None:
            found[name] = table[spelled]
    for name in NEEDED:
        if name not in found:
            has = ", ".join(repr(one)[1:41].rstrip("'") for one in there[:20])
            raise BadDataError(
                f"{path}: no column for {name}; it has {has or 'none'}",
                hint=did_you_mean(name, there, f"name one {name}; a history needs {', '.join(NEEDED)}") + _rename(name),
            )
    return pd.DataFrame(found)


def _rename(name: str) -> str:
    return f" Then rename it to {name}."


def _checked(frame: pd.DataFrame, path: Path, now: datetime) -> pd.DataFrame:
    """Refuse the first row that cannot be true, by its number."""
    if frame.empty:
        raise BadDataError(
            f"{path}: holds no row", hint="stargaze fetch --name OWNER/NAME --star-history '*' gathers some"
        )
    frame = frame.assign(full_name=frame["full_name"].astype("str").str.strip())
    _refuse(frame["full_name"].eq("") | frame["full_name"].isna(), frame["full_name"], path, "has no full_name")
    dates = _dates(frame["date"])
    _refuse(dates.isna(), frame["date"], path, "date is none")
    _refuse(dates > pd.Timestamp(now), dates, path, "date lies in the future")
    frame["date"] = dates
    for name in filter(frame.columns.__contains__, COUNTS):
        numbers = pd.to_numeric(frame[name], errors="coerce").astype("float64")
        wrong = (numbers.isna() & (name == "stars")) | numbers.abs().eq(np.inf)
        _refuse(wrong, frame[name], path, f"{name} is no number")
        _refuse(numbers < 0, frame[name], path, f"{name} is negative")
        frame[name] = numbers
    return frame


def _dates(column: pd.Series) -> pd.Series:
    """Read dates as UTC; what is none becomes NaT. A bare number is none: nobody knows since when it counts."""
    if pd.api.types.is_numeric_dtype(column):
        return pd.Series(pd.NaT, index=column.index, dtype="datetime64[us, UTC]")
    parsed = pd.to_datetime(column, utc=True, errors="coerce", format=None if _is_time(column) else "ISO8601")
    return parsed.astype("datetime64[us, UTC]")


def _is_time(column: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column)


def _refuse(wrong: pd.Series, values: pd.Series, path: Path, what: str) -> None:
    places = np.flatnonzero(wrong.to_numpy())
    if len(places):
        value = str(values.iloc[places[0]])[:60]
        more = f" (and {len(places) - 1:,} more rows)" if len(places) > 1 else ""
        raise BadDataError(
            f"{path}: row {places[0] + 1}: {what}: {value}{more}", hint="correct or remove the row, then stargaze tune"
        )


def _totals(frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Add gains up to counts, each as of the end of its week."""
    ended = frame.assign(date=frame["date"] + WEEK)
    ended = ended[ended["date"] <= pd.Timestamp(now)]
    ended = ended.drop_duplicates(["full_name", "date"], keep="last").sort_values(["full_name", "date"], kind="stable")
    return ended.assign(stars=ended.groupby("full_name")["stars"].cumsum())
