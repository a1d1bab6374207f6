"""Read star histories from tables of weekly gains (as ``fetch`` writes them) or of dates and counts, and validate them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stargaze.errors import BadDataError
from stargaze.features.history.columns import COLUMNS, COUNTS
from stargaze.features.history.rows import RawHistory, missing_hint, read_raw_history
from stargaze.features.history.table_format import ANY_FORMAT, AUTO, HistoryFormat
from stargaze.features.ingest.parsing.dates import parse_dates
from stargaze.features.ingest.parsing.grouped_numbers import SeparatorUse, read_grouped, undecided_error
from stargaze.features.ingest.parsing.missing import MISSING, Bools, find_missing
from stargaze.features.ingest.parsing.repository_names import parse_names
from stargaze.features.ingest.validate import shorten
from stargaze.features.schema import FIELD_BY_NAME

WEEK = pd.Timedelta(days=7)
EPOCH = pd.Timestamp("1970-01-01", tz="UTC")
"""Days are counted from here."""
NO_DATE = "not a date"
MAX_EXAMPLES = 3
"""Rows that the error of a mostly invalid table names."""
_PLAIN = r"^[ \t]*[0-9]+(?:\.0)?[ \t]*$"
"""A count that can be read in one way only."""

IS_MISSING = "is missing"


@dataclass(frozen=True)
class RefusedRows:
    """Rows, or values of one column, that were left out for one reason; ``example`` names the first one."""

    column: str
    reason: str
    rows: int
    example: str

    def as_text(self) -> str:
        """Return one line about rows that were left out."""
        return f"{self.rows:,} {'row is' if self.rows == 1 else 'rows are'} left out: {self.problem}"

    @property
    def problem(self) -> str:
        """The first row with the reason, as ``row 3: stars is missing``."""
        return f"{self.example} {self.reason}" if self.reason == IS_MISSING else f"{self.example}: {self.reason}"


@dataclass(frozen=True)
class StarHistory:
    """A history: shape (n_counts, 7), the columns of :data:`COLUMNS`, sorted by name and date.

    ``rows`` is the number of rows of the table. ``refused`` are rows that are left out, ``cleared`` values that became missing.
    """

    frame: pd.DataFrame
    rows: int
    refused: tuple[RefusedRows, ...] = ()
    cleared: tuple[RefusedRows, ...] = ()

    @property
    def n_refused(self) -> int:
        """The number of rows that are left out."""
        return sum(item.rows for item in self.refused)


def read_history(path: Path, *, now: datetime, form: HistoryFormat = ANY_FORMAT) -> StarHistory:
    """Read a star history, and leave out invalid rows.

    The file (CSV, JSON, JSON lines, Parquet, and gzip of each) has either weekly gains (``full_name``, ``week``, ``stars``,
    ``days``) or dates and counts (``full_name``, ``date`` [UTC], ``stars`` (total), others optional). No count may be later than
    ``now``. A week that had not ended when the file was written is dropped; missing columns are NaN or None.

    Raise MissingInputError if the file does not exist, BadDataError if it is not such a table or most of its rows are invalid,
    ConfigError if the columns of ``form`` do not exist.
    """
    raw = read_raw_history(path, form.columns)
    if not raw.rows:
        raise BadDataError(f"{path}: has no rows", hint=missing_hint(path))
    validation = _Validation(raw, str(path), form.thousands)
    frame = validation.convert(now)
    if 2 * validation.n_refused > raw.rows or frame.empty:
        raise validation.error()
    written = datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)  # an unfinished week stays unfinished
    frame = tidy_history(_accumulate(frame, min(now, written)) if raw.has_gains else frame)
    return StarHistory(frame, raw.rows, tuple(validation.refused), tuple(validation.cleared))


def tidy_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort a history by name and date, and add its missing columns; shape (n_counts, 7).

    Examples
    --------
    >>> days = pd.to_datetime(["2024-01-08", "2024-01-01"], utc=True)
    >>> tidy_history(pd.DataFrame({"full_name": ["a/b", "a/b"], "date": days, "stars": [12, 10]}))["stars"].tolist()
    [10.0, 12.0]
    """
    if "last_commit" not in frame:  # NaN would be converted to dates value by value
        frame = frame.assign(last_commit=pd.Series(dtype="datetime64[us, UTC]"))
    frame = frame.reindex(columns=list(COLUMNS))
    frame = frame.astype(dict.fromkeys(COUNTS, "float64") | {"full_name": "str", "language": "object"})
    frame["last_commit"] = pd.to_datetime(frame["last_commit"], utc=True, errors="coerce")
    return frame.sort_values(["full_name", "date"], kind="stable", ignore_index=True)


class _Validation:
    """Converts the values of a table column by column, and collects rows that are refused and values that are cleared."""

    def __init__(self, raw: RawHistory, name: str, thousands: str) -> None:
        self._raw = raw
        self._name = name
        self._thousands = thousands
        self._valid = np.ones(len(raw.frame), dtype=bool)
        counts = Counter(reason for _, reason in raw.refused)
        first = {reason: position for position, reason in reversed(raw.refused)}
        self.refused = [RefusedRows("row", reason, counts[reason], f"row {first[reason]}") for reason in counts]
        self.cleared: list[RefusedRows] = []

    @property
    def n_refused(self) -> int:
        """The number of refused rows."""
        return sum(item.rows for item in self.refused)

    def convert(self, now: datetime) -> pd.DataFrame:
        """Return the valid rows with converted values."""
        columns: dict[str, pd.Series] = {}
        converters: dict[str, Callable[[pd.Series], tuple[pd.Series, list[tuple[Bools, str]]]]] = {
            "full_name": _convert_names,
            "date": lambda column: _convert_dates(column, now),
            **dict.fromkeys(COUNTS, self._convert_counts),
            "language": lambda column: (column.astype("object").mask(find_missing(column), None), []),
            "last_commit": lambda column: _convert_dates(column, None),
        }
        for name in COLUMNS:
            if name in self._raw.frame:
                column = self._raw.frame[name]
                columns[name], problems = converters[name](column)
                for mask, reason in problems:
                    self._note(name, column, mask, reason)
        frame = pd.DataFrame(columns)
        return frame if self._valid.all() else frame[self._valid]

    def error(self) -> BadDataError:
        """Return the error of a table most of whose rows are refused."""
        examples = "; ".join(item.problem for item in self.refused[:MAX_EXAMPLES])
        message = f"{self._name}: {self.n_refused:,} of {self._raw.rows:,} rows are refused; {examples}"
        hint = "correct them, or map its columns in stargaze.toml: [growth.columns]"
        if self.refused and max(self.refused, key=lambda item: item.rows).reason == NO_DATE:
            hint = f"write dates as 2024-01-31; if they are in another column, {hint.rpartition(', or ')[2]}"
        return BadDataError(message, hint=hint)

    def _note(self, name: str, column: pd.Series, mask: Bools, reason: str) -> None:
        rows = np.flatnonzero(mask & self._valid)
        if not len(rows):
            return
        is_required = name in ("full_name", "date", "stars")
        place = f"row {column.index[rows[0]]}: {name}"
        example = place if reason == IS_MISSING else f"{place} is {shorten(column.iloc[rows[0]])}"
        (self.refused if is_required else self.cleared).append(RefusedRows(name, reason, len(rows), example))
        if is_required:
            self._valid &= ~mask

    def _convert_counts(self, column: pd.Series) -> tuple[pd.Series, list[tuple[Bools, str]]]:
        numbers, absent = self._read_numbers(column)
        is_finite = np.isfinite(numbers)
        not_whole = ~absent & (~is_finite | (np.floor(np.where(is_finite, numbers, 0.5)) != numbers))
        negative, large = numbers < 0, numbers > FIELD_BY_NAME["stars"].maximum
        values = pd.Series(np.where(not_whole | negative | large, np.nan, numbers), index=column.index)
        problems = [
            (not_whole, "not a whole number"),
            (negative, "negative"),
            (large, "larger than any on GitHub"),
        ]
        return values, [(absent, IS_MISSING), *problems] if column.name == "stars" else problems

    def _read_numbers(self, column: pd.Series) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Bools]:
        """Return the numbers of a column, NaN where there is none, and which values are missing."""
        if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            return np.full(len(column), np.nan), find_missing(column)
        if pd.api.types.is_numeric_dtype(column.dtype):
            return column.to_numpy(dtype="float64", na_value=np.nan), find_missing(column)
        texts = column if column.dtype == "str" else column.astype("object").map(_number_text).astype("str")
        numbers, is_plain = _read_digits(texts)
        absent = np.zeros(len(column), dtype=bool)
        rest = np.flatnonzero(~is_plain)
        if len(rest):
            absent[rest] = find_missing(texts.iloc[rest])
            special = np.flatnonzero(~is_plain & ~absent)
            stripped = texts.iloc[special].str.strip()
            mark = self._find_mark(str(column.name), stripped)
            digits = {text: read_grouped(text, mark) for text in stripped.unique()}
            numbers[special] = pd.to_numeric(stripped.map(digits), errors="coerce").to_numpy(dtype="float64")
        return numbers, absent

    def _find_mark(self, name: str, texts: pd.Series) -> str:
        if self._thousands != AUTO:
            return self._thousands
        use = SeparatorUse()
        use.add(texts.unique())
        mark, undecided = use.find_thousands()
        if undecided:
            raise undecided_error(f"{self._name}: {name}", undecided, "growth.thousands")
        return mark


def _read_digits(texts: pd.Series) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Bools]:
    """Return the numbers of texts that can be read in one way only, and which these are."""
    array = pa.array(texts)
    if pc.all(pc.ascii_is_decimal(array), skip_nulls=False).as_py():
        return np.array(pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False)), np.ones(len(texts), dtype=bool)
    is_plain = pc.fill_null(pc.match_substring_regex(array, _PLAIN), fill_value=False)
    digits = pc.utf8_trim_whitespace(pc.if_else(is_plain, array, pa.scalar(None, array.type)))
    numbers = np.array(pc.cast(digits, pa.float64()).to_numpy(zero_copy_only=False))
    return numbers, np.asarray(is_plain)


def _number_text(value: object) -> str | None:
    """Return a value of any type as a text: a number or a text as it is, another one as no number."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return "not a number"
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)[:100]


def _convert_names(column: pd.Series) -> tuple[pd.Series, list[tuple[Bools, str]]]:
    """Parse each name once."""
    texts = (
        column
        if column.dtype == "str"
        else pd.Series([value if isinstance(value, str) else None for value in column], index=column.index)
    )
    codes, distinct = pd.factorize(texts.astype("str"))
    stripped = pd.Series(distinct, dtype="str").str.strip()
    absent = stripped.isin(MISSING).to_numpy(dtype=bool)
    names, problems = parse_names(stripped.mask(absent))

    def spread(mask: Bools, *, otherwise: bool = False) -> Bools:
        return np.append(mask, otherwise)[codes]  # the code of a missing value is -1

    masks = [(spread(absent, otherwise=True), IS_MISSING), *((spread(mask), reason) for mask, reason in problems)]
    if names.equals(pd.Series(distinct, dtype="str")):
        return texts, masks
    texts_by_code = np.array([*names, None], dtype="object")
    values = pd.Series(texts_by_code[codes], index=column.index, dtype="str")
    return values, masks


def _convert_dates(column: pd.Series, now: datetime | None) -> tuple[pd.Series, list[tuple[Bools, str]]]:
    """Parse dates; a required date, which may not be later than ``now``, must not be missing."""
    codes, distinct = pd.factorize(column) if column.dtype == "str" else (np.arange(len(column)), column)
    parsed, missing = parse_dates(pd.Series(distinct))
    dates = pd.Series(parsed.array.take(codes, allow_fill=True), index=column.index).astype("datetime64[us, UTC]")
    absent = np.append(missing, True)[codes]
    invalid = dates.isna().to_numpy(dtype=bool) & ~absent
    problems = [(invalid, NO_DATE)]
    if now is not None:
        later = (dates > pd.Timestamp(now)).to_numpy(dtype=bool)
        problems = [(absent, IS_MISSING), *problems, (later, "in the future")]
    return dates, problems


def _accumulate(frame: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Add weekly gains up to counts at the end of each week."""
    ended = frame.assign(date=frame["date"] + WEEK)
    ended = ended[ended["date"] <= pd.Timestamp(now)]
    ended = ended.drop_duplicates(["full_name", "date"], keep="last").sort_values(["full_name", "date"], kind="stable")
    return ended.assign(stars=ended.groupby("full_name")["stars"].cumsum())
