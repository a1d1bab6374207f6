"""Validation of records, one column at a time; ``fetch`` and prediction requests use the same checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.schema import Field

FULL_NAME = re.compile(
    r"(?P<owner>(?=[A-Za-z0-9-]{0,39}[_/])[A-Za-z0-9_-]{1,48})/(?P<name>(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100})"
)
"""owner/name: an owner has up to 39 characters, and "_" with up to 8 more if an enterprise manages the user."""
NAME_HINT = "use owner/name, e.g. pallets/flask"
GITHUB_START = datetime(2007, 10, 29, tzinfo=UTC)
"""Day of GitHub's first repository."""
CLOCK_TOLERANCE = timedelta(days=1)
"""Tolerance for dates in the future: clocks differ, and a day may be of a time zone ahead of UTC."""
MAX_ID = 1e12
"""GitHub's ids are near 1e9 and grow by about 1e8 per year."""
MAX_CATEGORY_LENGTH = 255
"""Git's limit for the name of a branch, the longest of the categories [characters]."""
MISSING = frozenset({"", "nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "NaT"})
"""Spellings of a missing value in tables."""
YES = frozenset({"1", "1.0", "true", "t", "yes", "y"})
NO = frozenset({"0", "0.0", "false", "f", "no", "n"})
UNRELIABLE_DATES = frozenset({"first_commit_at"})
"""Dates of the authors' clocks: an impossible one becomes missing, and the record stays valid."""

ROUNDED = frozenset({"monthly_downloads"})
"""Counts that sources give as means over months."""

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Problem = tuple[Bools, str]


def check_name(text: str) -> str:
    """Return ``owner/name`` if it is a possible name on GitHub; raise BadDataError for a path, a URL or control characters.

    Examples
    --------
    >>> check_name("pallets/flask")
    'pallets/flask'
    """
    if not isinstance(text, str) or FULL_NAME.fullmatch(text) is None:
        raise BadDataError(f"{shorten(text)} is not the name of a repository", hint=NAME_HINT)
    return text


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
    columns: dict[str, pd.Series] = {}
    reasons: dict[int, str] = {}
    for field in schema.FIELDS:
        if field.name not in frame.columns:
            continue
        raw = frame[field.name]
        columns[field.name], problems = _PARSERS[field.kind](raw, field, now)
        for mask, problem in problems:
            for row in np.flatnonzero(mask):
                reasons.setdefault(int(row), f"{field.name} is {shorten(raw.iloc[row])}: {problem}")
    for name in required:
        absent = columns[name].isna().to_numpy() if name in columns else np.ones(len(frame), dtype=bool)
        for row in np.flatnonzero(absent):
            reasons.setdefault(int(row), f"{name} is missing")
    is_valid = np.ones(len(frame), dtype=bool)
    is_valid[list(reasons)] = False
    valid = pd.DataFrame(columns, index=frame.index)
    return (valid if is_valid.all() else valid[is_valid]), sorted(reasons.items())


def shorten(value: object) -> str:
    """Return a short, one-line representation of any value for a message."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:40]!r}… ({len(value):,} characters)"
    if isinstance(value, (bool, int, float, np.number, np.bool_, datetime)):
        return str(value)[:60]
    return f"a {type(value).__name__}"


def _parse_keys(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    numbers, problems = _parse_numbers(column, minimum=1.0, maximum=MAX_ID)
    return pd.Series(numbers, index=column.index).astype("Int64"), problems


def _parse_counts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    if field.name in ROUNDED and pd.api.types.is_float_dtype(column.dtype):
        column = column.round()
    numbers, problems = _parse_numbers(column, minimum=0.0, maximum=field.maximum)
    return pd.Series(numbers, index=column.index), problems


def _parse_numbers(column: pd.Series, *, minimum: float, maximum: float) -> tuple[np.ndarray[Any, Any], list[Problem]]:
    """Return whole numbers; everything else becomes missing and a problem."""
    absent = _find_missing(column)
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        numbers = np.full(len(column), np.nan)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        texts = pd.Series([_number_or_text(value) for value in column], dtype="object").mask(absent, None)
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
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
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else 1e300 if value > 0 else -1e300
    return value if isinstance(value, (str, float, np.number, Decimal)) else None


def _parse_flags(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = _find_missing(column)
    if pd.api.types.is_numeric_dtype(column.dtype):  # or boolean
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        words = pd.Series([str(value)[:10].strip().lower() for value in column], dtype="object")
        numbers = np.where(words.isin(YES), 1.0, np.where(words.isin(NO), 0.0, np.nan))
    wrong = ~absent & ~np.isin(numbers, (0.0, 1.0))
    flags = pd.Series(np.where(wrong | absent, np.nan, numbers), index=column.index)
    return flags, [(wrong, "should be true or false")]


def _parse_texts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts = _to_strings(column)
    texts = texts.mask(texts == "")
    if field.name != "full_name":
        return texts, []
    wrong = np.array([isinstance(name, str) and FULL_NAME.fullmatch(name) is None for name in texts], dtype=bool)
    return texts, [(wrong, "not owner/name as GitHub writes it")]


def _parse_categories(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts = _to_strings(column).mask(_find_missing(column))
    too_long = (texts.str.len() > MAX_CATEGORY_LENGTH).to_numpy(dtype=bool, na_value=False)
    return texts, [(too_long, f"longer than {MAX_CATEGORY_LENGTH} characters")]


def _parse_dates(column: pd.Series, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = _find_missing(column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        dates = pd.Series(pd.NaT, index=column.index, dtype="datetime64[s, UTC]")
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).dt.as_unit("s")
    else:
        texts = _to_strings(column).mask(absent)
        texts = texts.where(texts.str.match(r"\d{4}", na=False))  # pandas reads -1 as a year
        dates = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).dt.as_unit("s")
    not_a_date = ~absent & dates.isna().to_numpy()
    late = (dates > pd.Timestamp(now + CLOCK_TOLERANCE)).to_numpy()
    early = (dates < pd.Timestamp(GITHUB_START)).to_numpy() & (field.name in ("created_at", "fetched_at"))
    dates = dates.mask(not_a_date | late | early)
    if field.name in UNRELIABLE_DATES:
        return dates, []
    return dates, [
        (not_a_date, "not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        (late, "in the future"),
        (early, f"before GitHub began ({GITHUB_START:%Y-%m-%d})"),
    ]


def _parse_lists(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    return pd.Series([_split_list(value) for value in column], index=column.index, dtype="object"), []


def _split_list(value: object) -> list[str] | None:
    """Return the words of a list, or of a text such as ``a, b`` or ``['a', 'b']``; None for anything else."""
    if isinstance(value, str):
        parts: list[Any] = re.split(r"[\[\],'\"]", value)
    elif isinstance(value, (list, tuple, np.ndarray)):
        parts = list(value)
    else:
        return None
    return [_replace_surrogates(part.strip()) for part in parts if isinstance(part, str) and part.strip()]


def _find_missing(column: pd.Series) -> Bools:
    """Return which values are missing, in any spelling."""
    absent: Bools = column.isna().to_numpy(dtype=bool)
    if column.dtype == "str":
        absent = absent | column.str.strip().isin(MISSING).to_numpy(dtype=bool)
    elif column.dtype == "object":
        absent = absent | np.array(
            [isinstance(value, str) and value.strip() in MISSING for value in column], dtype=bool
        )
    return absent


def _to_strings(column: pd.Series) -> pd.Series:
    """Convert to strings; JSON may contain a lone surrogate, which no file can store."""
    try:
        return column.astype("str")
    except UnicodeEncodeError:
        whole = [_replace_surrogates(value) if isinstance(value, str) else value for value in column]
        return pd.Series(whole, index=column.index, dtype="object").astype("str")


def _replace_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


_PARSERS: dict[str, Callable[[pd.Series, Field, datetime], tuple[pd.Series, list[Problem]]]] = {
    "key": _parse_keys,
    "count": _parse_counts,
    "flag": _parse_flags,
    "text": _parse_texts,
    "category": _parse_categories,
    "date": _parse_dates,
    "list": _parse_lists,
}
