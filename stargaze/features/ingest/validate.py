"""What a record may claim: names, counts, switches and dates that can be true, checked a column at a time.

The same checks stand before the store (``fetch``) and before a prediction (the page's form), so a figure that
one refuses the other refuses too.
"""

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

FULL_NAME = re.compile(r"(?P<owner>[A-Za-z0-9_-]{1,48})/(?P<name>(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100})")
"""owner/name: an owner has up to 39 characters, with "_" and up to 8 more where an enterprise manages the user."""
GITHUB_START = datetime(2007, 10, 29, tzinfo=UTC)
"""GitHub's first repository was made on this day."""
SLACK = timedelta(days=1)
"""Clocks differ, and a bare day may be written in a time zone ahead of UTC."""
MOST_ID = 1e12
"""GitHub's numbers are near 1e9 and grow by about 1e8 a year."""
MAX_CATEGORY_LENGTH = 255
"""Characters; git's limit for the name of a branch, the longest of the categories."""
MISSING = frozenset({"", "nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "NaT"})
"""How tables write "not known"."""
YES = frozenset({"1", "1.0", "true", "t", "yes", "y"})
NO = frozenset({"0", "0.0", "false", "f", "no", "n"})
BY_AUTHORS_CLOCK = frozenset({"first_commit_at"})
"""Dates that GitHub passes on as git has them: one that cannot be true is not known, and no fault of the record."""

MEANS = frozenset({"monthly_downloads"})
"""Counts that sources give as a mean over months; they are rounded."""

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Problem = tuple[Bools, str]


def check_name(text: str) -> str:
    """Return ``owner/name`` if GitHub could have given it.

    Raises
    ------
    BadDataError
        For anything else: a path, a URL, control characters, 10,000 characters.

    Examples
    --------
    >>> check_name("pallets/flask")
    'pallets/flask'
    """
    if not isinstance(text, str) or FULL_NAME.fullmatch(text) is None:
        raise BadDataError(
            f"{shorten(text)} is not the name of a repository", hint="write it owner/name, as pallets/flask"
        )
    return text


def validate_repositories(
    frame: pd.DataFrame, now: datetime, *, need: Sequence[str] = ("full_name",)
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Part the rows that can be true from those that cannot, and say of each of these why.

    Parameters
    ----------
    frame : DataFrame, shape (n_rows, any of the schema's columns)
        Values as they came: numbers, texts, None. Other columns are left out.
    now : datetime
        No date may be later, but for a day of slack.
    need : sequence of str
        Fields that must not be missing.

    Returns
    -------
    good : DataFrame, shape (n_good, the schema's columns)
        In the schema's dtypes, under the index of ``frame``.
    bad : list of (row, reason)
        Position of the row in ``frame``, from 0, and its first fault.

    Examples
    --------
    >>> rows = pd.DataFrame({"full_name": ["a/b", "../etc"], "forks": ["3", "4"]})
    >>> good, bad = validate_repositories(rows, datetime(2025, 1, 1, tzinfo=UTC))
    >>> good["forks"].tolist(), bad
    ([3.0], [(1, "full_name is '../etc': not owner/name as GitHub writes it")])
    """
    good, bad = validate_columns(frame, now, need=need)
    return schema.conform(good), bad


def validate_columns(
    frame: pd.DataFrame, now: datetime, *, need: Sequence[str] = ("full_name",)
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Do what :func:`validate_repositories` does, but add no column: a million rows of seven columns stay small."""
    columns: dict[str, pd.Series] = {}
    reasons: dict[int, str] = {}
    for field in schema.FIELDS:
        if field.name not in frame.columns:
            continue
        raw = frame[field.name]
        columns[field.name], problems = _PARSERS[field.kind](raw, field, now)
        for mask, why in problems:
            for row in np.flatnonzero(mask):
                reasons.setdefault(int(row), f"{field.name} is {shorten(raw.iloc[row])}: {why}")
    for name in need:
        absent = columns[name].isna().to_numpy() if name in columns else np.ones(len(frame), dtype=bool)
        for row in np.flatnonzero(absent):
            reasons.setdefault(int(row), f"{name} is missing")
    keep = np.ones(len(frame), dtype=bool)
    keep[list(reasons)] = False
    good = pd.DataFrame(columns, index=frame.index)
    return (good if keep.all() else good[keep]), sorted(reasons.items())


def shorten(value: object) -> str:
    """Write a value so that a message stays one short line, whatever the value holds."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else f"{value[:40]!r}… ({len(value):,} characters)"
    if isinstance(value, (bool, int, float, np.number, np.bool_, datetime)):
        return str(value)[:60]
    return f"a {type(value).__name__}"


def _keys(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    numbers, problems = _numbers(column, least=1.0, most=MOST_ID)
    return pd.Series(numbers, index=column.index).astype("Int64"), problems


def _counts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    if field.name in MEANS and pd.api.types.is_float_dtype(column.dtype):
        column = column.round()
    numbers, problems = _numbers(column, least=0.0, most=field.most)
    return pd.Series(numbers, index=column.index), problems


def _numbers(column: pd.Series, *, least: float, most: float) -> tuple[np.ndarray[Any, Any], list[Problem]]:
    """Read whole numbers; what is none becomes missing and a problem."""
    absent = _absent(column)
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        numbers = np.full(len(column), np.nan)
    elif pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        texts = pd.Series([_number_or_text(value) for value in column], dtype="object").mask(absent, None)
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    none = np.isnan(numbers) & ~absent
    finite = np.isfinite(numbers)
    broken = (
        ~none
        & ~np.isnan(numbers)
        & (~finite | (np.floor(np.where(finite, numbers, 0.0)) != np.where(finite, numbers, 0.0)))
    )
    few, many = finite & (numbers < least), finite & (numbers > most)
    problems = [
        (none | broken, "not a whole number"),
        (few & ~broken, "too small to be true" if least else "a count cannot be negative"),
        (many & ~broken, f"larger than GitHub can have ({most:,.0f})"),
    ]
    return np.where(none | broken | few | many, np.nan, numbers), problems


def _number_or_text(value: object) -> object:
    """Leave what may spell a number; an integer beyond 64 bits is infinite for our purpose."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 2**63 else float("inf")
    return value if isinstance(value, (str, float, np.number, Decimal)) else None


def _flags(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = _absent(column)
    if pd.api.types.is_numeric_dtype(column.dtype):  # booleans too
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
    else:
        words = pd.Series([str(value)[:10].strip().lower() for value in column], dtype="object")
        numbers = np.where(words.isin(YES), 1.0, np.where(words.isin(NO), 0.0, np.nan))
    wrong = ~absent & ~np.isin(numbers, (0.0, 1.0))
    flags = pd.Series(np.where(wrong | absent, np.nan, numbers), index=column.index)
    return flags, [(wrong, "should be true or false")]


def _texts(column: pd.Series, field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts = _strings(column)
    texts = texts.mask(texts == "")
    if field.name != "full_name":
        return texts, []
    wrong = np.array([isinstance(name, str) and FULL_NAME.fullmatch(name) is None for name in texts], dtype=bool)
    return texts, [(wrong, "not owner/name as GitHub writes it")]


def _categories(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    texts = _strings(column).mask(_absent(column))
    long = (texts.str.len() > MAX_CATEGORY_LENGTH).to_numpy(dtype=bool, na_value=False)
    return texts, [(long, f"longer than {MAX_CATEGORY_LENGTH} characters")]


def _dates(column: pd.Series, field: Field, now: datetime) -> tuple[pd.Series, list[Problem]]:
    absent = _absent(column)
    if pd.api.types.is_numeric_dtype(column.dtype):
        dates = pd.Series(pd.NaT, index=column.index, dtype="datetime64[s, UTC]")
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).dt.as_unit("s")
    else:
        texts = _strings(column).mask(absent)
        dates = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).dt.as_unit("s")
    none = ~absent & dates.isna().to_numpy()
    late = (dates > pd.Timestamp(now + SLACK)).to_numpy()
    early = (dates < pd.Timestamp(GITHUB_START)).to_numpy() & (field.name in ("created_at", "fetched_at"))
    dates = dates.mask(none | late | early)
    if field.name in BY_AUTHORS_CLOCK:
        return dates, []
    return dates, [
        (none, "not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"),
        (late, "in the future"),
        (early, f"before GitHub began ({GITHUB_START:%Y-%m-%d})"),
    ]


def _lists(column: pd.Series, _field: Field, _now: datetime) -> tuple[pd.Series, list[Problem]]:
    return pd.Series([_words(value) for value in column], index=column.index, dtype="object"), []


def _words(value: object) -> list[str] | None:
    """Read a list of words from a list, or from text: ``a, b`` or ``['a', 'b']`` or ``["a", "b"]``."""
    if isinstance(value, str):
        parts: list[Any] = re.split(r"[\[\],'\"]", value)
    elif isinstance(value, (list, tuple, np.ndarray)):
        parts = list(value)
    else:
        return None
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]


def _absent(column: pd.Series) -> Bools:
    """Tell the missing values, however they are written."""
    absent: Bools = column.isna().to_numpy(dtype=bool)
    if column.dtype == "str":
        absent = absent | column.str.strip().isin(MISSING).to_numpy(dtype=bool)
    elif column.dtype == "object":
        absent = absent | np.array(
            [isinstance(value, str) and value.strip() in MISSING for value in column], dtype=bool
        )
    return absent


def _strings(column: pd.Series) -> pd.Series:
    """Make texts of anything; JSON may hold half of a character (a lone surrogate), which no file can."""
    try:
        return column.astype("str")
    except UnicodeEncodeError:
        whole = [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in column]
        return pd.Series(whole, index=column.index, dtype="object").astype("str")


_PARSERS: dict[str, Callable[[pd.Series, Field, datetime], tuple[pd.Series, list[Problem]]]] = {
    "key": _keys,
    "count": _counts,
    "flag": _flags,
    "text": _texts,
    "category": _categories,
    "date": _dates,
    "list": _lists,
}
