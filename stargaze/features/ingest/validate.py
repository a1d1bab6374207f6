"""Validation of records, one column at a time; ``fetch`` and prediction requests use the same checks."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features import schema
from stargaze.features.ingest.parsing.dates import parse_dates, read_iso_dates
from stargaze.features.ingest.parsing.grouped_numbers import find_rounded_numbers
from stargaze.features.ingest.parsing.missing import MISSING, Bools, find_missing
from stargaze.features.ingest.parsing.object_text import BEGINNINGS, repair_text, split_words
from stargaze.features.ingest.parsing.repository_names import FULL_NAME, parse_names
from stargaze.features.schema import Field
from stargaze.system.text import shorten_text

GITHUB_START = datetime(2007, 10, 29, tzinfo=UTC)
"""Day of GitHub's first repository."""
CLOCK_TOLERANCE = timedelta(days=1)
"""Tolerance for dates in the future: clocks differ, and a day may be of a time zone ahead of UTC."""
MAX_ID = 1e12
"""GitHub's ids are near 1e9 and grow by about 1e8 per year."""
MAX_CATEGORY_LENGTH = 255
"""Git's limit for the name of a branch, the longest of the categories [characters]."""
YES = frozenset({"1", "1.0", "true", "t", "yes", "y", "on"})
NO = frozenset({"0", "0.0", "false", "f", "no", "n", "off"})
TOLERATED = frozenset({"first_commit_at", "topics"})
"""Fields of which an unusable value becomes missing in every mode: the first is the date of an author's clock."""

_OBJECTS = re.compile(r"\s*(?:\[?\s*\{[^{},;]{0,200}:|@\{|\[object |System\.\w{1,40}(?:\.\w{1,40})*\[\])")
"""The beginning of an object with names and values, or the type in its place; neither is a list of words."""
ROUNDED = frozenset({"monthly_downloads"})
"""Counts that sources give as means over months."""

Problem = tuple[Bools, str]
"""Which values of a column have a defect, and its description."""
_Parser = Callable[[pd.Series, Field, datetime], tuple[pd.Series, list[Problem]]]


@dataclass(frozen=True)
class ClearedValues:
    """Values of one field that became missing for one reason: their rows, from 0, and the column with the values."""

    field: str
    reason: str
    rows: np.ndarray[Any, np.dtype[np.intp]]
    values: pd.Series


def validate_columns(
    frame: pd.DataFrame, now: datetime, *, required: Sequence[str] = ("full_name",)
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Separate valid rows from invalid ones.

    ``frame`` (n_rows, any of the schema's columns) has unconverted values: numbers, texts, None; other columns are ignored. No
    date may be later than ``now`` by more than a day.

    Returns
    -------
    valid : DataFrame, shape (n_valid, the columns of ``frame`` that are fields)
        Converted, with the index of ``frame``.
    invalid : list of (row, reason)
        Position of the row in ``frame``, from 0, and its first defect.

    Examples
    --------
    >>> rows = pd.DataFrame({"full_name": ["a/b", "../etc"], "forks": ["3", "4"]})
    >>> valid, invalid = validate_columns(rows, datetime(2025, 1, 1, tzinfo=UTC))
    >>> valid["forks"].tolist(), invalid
    ([3.0], [(1, "full_name is '../etc': not owner/name as GitHub writes it")])
    """
    columns, problems = _parse_columns(frame, now, _PARSERS)
    return _split_rows(frame, columns, [item for item in problems if item.field not in TOLERATED], required)


def clear_columns(
    frame: pd.DataFrame, now: datetime, *, required: Sequence[str]
) -> tuple[pd.DataFrame, list[tuple[int, str]], list[ClearedValues]]:
    """Separate valid rows from invalid ones as :func:`validate_columns` does, but only by the required fields.

    Unusable values of all other fields become missing, and are returned too. More forms of dates are read.

    Examples
    --------
    >>> rows = pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": ["1", "x"], "forks": ["60.6", "4"]})
    >>> valid, invalid, cleared = clear_columns(rows, datetime(2025, 1, 1, tzinfo=UTC), required=("full_name", "stars"))
    >>> valid["forks"].tolist(), invalid, [(item.field, item.reason, item.rows.tolist()) for item in cleared]
    ([nan], [(1, "stars is 'x': not a whole number")], [('forks', 'not a whole number', [0])])
    """
    columns, problems = _parse_columns(frame, now, {**_PARSERS, "date": _parse_any_dates, "text": _parse_any_texts})
    valid, invalid = _split_rows(frame, columns, [item for item in problems if item.field in required], required)
    refused = [row for row, _ in invalid]
    cleared = []
    for item in problems:
        rows = np.setdiff1d(item.rows, refused, assume_unique=True)
        if item.field not in required and len(rows):
            cleared.append(dataclasses.replace(item, rows=rows))
    return valid, invalid, cleared


def _parse_columns(
    frame: pd.DataFrame, now: datetime, parsers: Mapping[str, _Parser]
) -> tuple[dict[str, pd.Series], list[ClearedValues]]:
    columns: dict[str, pd.Series] = {}
    found = []
    for field in schema.FIELDS:
        if field.name in frame.columns:
            raw = frame[field.name]
            columns[field.name], problems = parsers[field.kind](raw, field, now)
            found += [ClearedValues(field.name, problem, np.flatnonzero(mask), raw) for mask, problem in problems]
    return columns, [item for item in found if len(item.rows)]


def _split_rows(
    frame: pd.DataFrame,
    columns: Mapping[str, pd.Series],
    problems: Sequence[ClearedValues],
    required: Sequence[str],
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Return the rows without problems and with all required fields, and the position and first defect of each other one."""
    reasons: dict[int, str] = {}
    for item in problems:
        for row in item.rows:
            reasons.setdefault(int(row), f"{item.field} is {shorten(item.values.iloc[row])}: {item.reason}")
    for name in required:
        absent = columns[name].isna().to_numpy() if name in columns else np.ones(len(frame), dtype=bool)
        for row in np.flatnonzero(absent):
            reasons.setdefault(int(row), f"{name} is missing")
    is_valid = np.ones(len(frame), dtype=bool)
    is_valid[list(reasons)] = False
    valid = pd.DataFrame(dict(columns), index=frame.index)
    return (valid if is_valid.all() else valid[is_valid]), sorted(reasons.items())


@dataclass(frozen=True)
class UnreadValue:
    """Stands for a value that a source could not give; no field accepts it, and messages show the reason."""

    reason: str


def shorten(value: object) -> str:
    """Return a short, one-line representation of any value for a message."""
    if isinstance(value, UnreadValue):
        return f"unknown ({value.reason})"
    if isinstance(value, str):
        return shorten_text(value)
    if isinstance(value, int) and value.bit_length() > 500:  # Python refuses to write thousands of digits
        return "a number of many digits"
    if isinstance(value, (bool, int, float, np.number, np.bool_, datetime)):
        return str(value)[:60]
    return f"a {type(value).__name__}"


def _parse_keys(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    numbers, problems = _parse_numbers(column, minimum=1.0, maximum=MAX_ID)
    is_rounded = find_rounded_numbers(column) & np.isfinite(numbers)
    keys = pd.Series(np.where(is_rounded, np.nan, numbers), index=column.index).astype("Int64")
    return keys, [*problems, (is_rounded, "digits are lost in a spreadsheet")]


def _parse_counts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    numbers, problems = _parse_numbers(column, minimum=0.0, maximum=field.maximum, rounded=field.name in ROUNDED)
    return pd.Series(numbers, index=column.index), problems


def _parse_numbers(
    column: pd.Series, *, minimum: float, maximum: float, rounded: bool = False
) -> tuple[np.ndarray[Any, Any], list[Problem]]:
    """Return whole numbers; everything else becomes missing and a problem."""
    absent = find_missing(column)
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        numbers = np.full(len(column), np.nan)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        values = column.to_numpy(dtype="object")
        texts = pd.Series(values if column.dtype == "str" else list(map(_number_or_text, values)), dtype="object")
        texts = texts.mask(absent, None)
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    numbers = np.round(numbers) if rounded else numbers
    is_finite = np.isfinite(numbers)
    finite = np.where(is_finite, numbers, 0.0)
    not_whole = ~absent & (~is_finite | (np.floor(finite) != finite))
    too_small, too_large = is_finite & (numbers < minimum), is_finite & (numbers > maximum)
    problems = [
        (not_whole, "not a whole number"),
        (too_small & ~not_whole, "too small" if minimum else "a count cannot be negative"),
        (too_large & ~not_whole, f"larger than any on GitHub ({maximum:,.0f})"),
    ]
    return np.where(not_whole | too_small | too_large, np.nan, numbers), problems


def _number_or_text(value: object) -> object:
    """Return what may be a number, else None; an integer beyond 64 bits becomes a float that is too large."""
    if isinstance(value, (str, float)):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else 1e300 if value > 0 else -1e300
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, np.number) and not isinstance(value, (np.complexfloating, np.timedelta64)):
        return float(value) if math.isfinite(value) else None
    return None


def _parse_flags(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = find_missing(column)
    if pd.api.types.is_numeric_dtype(column.dtype):  # or boolean
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        is_text = column.dtype == "str"
        words = column.str.strip().str.lower() if is_text else pd.Series(list(map(_flag_word, column)), dtype="object")
        numbers = np.where(words.isin(YES), 1.0, np.where(words.isin(NO), 0.0, np.nan))
    wrong = ~absent & ~np.isin(numbers, (0.0, 1.0))
    flags = pd.Series(np.where(wrong | absent, np.nan, numbers), index=column.index)
    return flags, [(wrong, "should be true or false")]


def _flag_word(value: object) -> str:
    if isinstance(value, str):
        return value[:20].strip().lower()
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    number = _number_or_text(value)
    return "1" if number == 1 else "0" if number == 0 else ""


def _parse_texts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts, wrong = _to_strings(column)
    texts = texts.mask((texts == "") | (texts == "\\N"))
    if field.name != "full_name":
        return texts, [(wrong, "not a text")]
    wrong |= np.array([isinstance(name, str) and FULL_NAME.fullmatch(name) is None for name in texts], dtype=bool)
    return texts, [(wrong, "not owner/name as GitHub writes it")]


def _parse_any_texts(column: pd.Series, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    """Parse texts, and names of repositories also from URLs."""
    if field.name != "full_name":
        return _parse_texts(column, field, now)
    texts, wrong = _to_strings(column)
    names, problems = parse_names(texts.mask((texts == "") | (texts == "\\N")))
    return names, [(wrong, "not a text"), *problems]


def _parse_categories(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts, wrong = _to_strings(column)
    texts = texts.mask(find_missing(column))
    too_long = (texts.str.len() > MAX_CATEGORY_LENGTH).to_numpy(dtype=bool, na_value=False)
    texts = texts.str.strip()
    is_object = texts.str.startswith(BEGINNINGS).to_numpy(dtype=bool, na_value=False)
    return texts.mask(too_long | is_object), [
        (wrong, "not a text"),
        (is_object & ~too_long, "an object, not a text"),
        (too_long, f"longer than {MAX_CATEGORY_LENGTH} characters"),
    ]


def _parse_dates(column: pd.Series, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = find_missing(column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        dates = pd.Series(pd.NaT, index=column.index, dtype="datetime64[s, UTC]")
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).dt.as_unit("s")
    else:
        dates = read_iso_dates(_to_strings(column)[0].mask(absent))
    return _check_dates(dates, absent, field, now)


def _parse_any_dates(column: pd.Series, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    return _check_dates(*parse_dates(column), field, now)


def _check_dates(dates: pd.Series, absent: Bools, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    not_a_date = ~absent & dates.isna().to_numpy()
    late = (dates > pd.Timestamp(now + CLOCK_TOLERANCE)).to_numpy()
    early = (dates < pd.Timestamp(GITHUB_START)).to_numpy() & (field.name in ("created_at", "fetched_at"))
    return dates.mask(not_a_date | late | early), [
        (not_a_date, "not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        (late, "in the future"),
        (early, f"before GitHub began ({GITHUB_START:%Y-%m-%d})"),
    ]


def _parse_lists(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    read, problem = (schema.read_codes, " of hashed words") if field.kind == "codes" else (_split_list, "")
    lists = [read(value) for value in column]
    wrong = np.array([items is None for items in lists], dtype=bool) & ~find_missing(column)
    return pd.Series(lists, index=column.index, dtype="object"), [(wrong, f"not a list{problem}")]


def _split_list(value: object) -> list[str] | None:
    """Return the words of a list, or of a text such as ``a, b``, ``a;b``, ``a b`` or ``['a', 'b']``; None for anything else."""
    if isinstance(value, str):
        if value and value.strip() in MISSING and len(value) < MAX_CATEGORY_LENGTH:
            return None
        if _OBJECTS.match(value):
            return None
        parts: list[Any] = split_words(value)
    elif isinstance(value, (list, tuple, np.ndarray)):
        parts = [part.get("name") if isinstance(part, dict) else part for part in value]
    else:
        return None
    return [repair_text(part.strip()) for part in parts if isinstance(part, str) and part.strip()]


def _to_strings(column: pd.Series) -> tuple[pd.Series, Bools]:
    """Convert texts and numbers to strings, and return which values are neither.

    JSON may contain a lone surrogate, which no file can store.
    """
    if column.dtype == "str":
        return column, np.zeros(len(column), dtype=bool)
    absent = column.isna().to_numpy(dtype=bool)
    texts = [None if is_absent else _to_string(value) for value, is_absent in zip(column, absent, strict=True)]
    strings = pd.Series(texts, index=column.index, dtype="object").astype("str")
    return strings, strings.isna().to_numpy(dtype=bool) & ~absent


def _to_string(value: object) -> str | None:
    if isinstance(value, str):
        return repair_text(value)
    is_number = isinstance(value, (int, float, np.number, Decimal, date)) and not isinstance(value, bool)
    return str(value) if is_number and not (isinstance(value, int) and abs(value) >= 2**63) else None


_PARSERS: dict[str, _Parser] = {
    "key": _parse_keys,
    "count": _parse_counts,
    "flag": _parse_flags,
    "text": _parse_texts,
    "category": _parse_categories,
    "date": _parse_dates,
    "list": _parse_lists,
    "codes": _parse_lists,
}
