"""Dates in the forms that databases and programs write, as UTC; nothing is guessed."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.ingest.parsing.missing import Bools, find_missing
from stargaze.features.ingest.parsing.object_text import repair_text

FIRST_SECOND, LAST_SECOND = 1e8, 4e9
"""Range of seconds since 1970 that are read as dates: the years 1973 to 2096."""
MAX_TEXT = 100
"""Length of the longest text that is read as a date [characters]."""
_ZERO = re.compile(r"0000(?:[^\d].*|0000\d*)?|0001-01-0[1-3]\b.*|-?0+(?:\.0*)?|-62135596800(?:000)?", re.ASCII)
_ZERO_DAYS = (("0001-01-01", "0001-01-04"), ("1899-12-30", "1900-01-02"), ("1969-12-31 10:00", "1970-01-02"))
"""What an empty date becomes in .NET, Go and Java, in Excel, and in Unix, in any time zone."""
_NUMBER = re.compile(r"\d{9,11}(?:\.\d*)?|(?:\d{13}|\d{16}|\d{19})(?:\.\d*)?|\d{1,3}(?:\.\d+)?[eE]\+?\d{1,2}", re.ASCII)
_UTC = r"[ ]?(?:UTC|GMT)$"
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d{1,9})?)?(?:\s?(?P<half>[AaPp])\.?[Mm]\.?)?"
_ZONE = (
    r"(?:UTC|GMT|Z)?\s?(?:(?P<sign>[+-])(?P<hours>\d\d):?(?P<minutes>\d\d)?)?(?:\[[\w/+-]{1,40}\]|\s?\([^()]{1,60}\))?"
)
_WEEKDAY = r"(?:[A-Za-z]{3,9},?\s)?"
_MONTH_DAY = r"(?P<month>[A-Za-z]{3,9})\.?\s(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_FORMS = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"(?P<year>\d{{4}})[-/](?P<month>\d\d?)[-/](?P<day>\d\d?)(?:[T\s]{_TIME}\s?{_ZONE})?",
        rf"(?P<year>\d{{4}})(?P<month>\d\d)(?P<day>\d\d)[T\s]?(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?{_ZONE}",
        rf"{_WEEKDAY}{_MONTH_DAY},?\s(?P<year>\d{{4}})(?:,?\s(?:at\s)?{_TIME})?\s?{_ZONE}",
        rf"{_WEEKDAY}{_MONTH_DAY},?\s{_TIME}\s(?P<year>\d{{4}})\s?{_ZONE}",
        rf"{_WEEKDAY}{_MONTH_DAY},?\s{_TIME}\s{_ZONE}\s(?P<year>\d{{4}})",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-](?P<month>[A-Za-z]{{3,9}})\.?,?[\s-](?P<year>\d{{4}})(?:,?\s{_TIME})?\s?{_ZONE}",
    )
)
"""ISO 8601 with other zones, without separators, JavaScript, ctime and git, date(1) and Twitter, RFC 2822."""


def parse_dates(column: pd.Series) -> tuple[pd.Series, Bools]:
    """Return the dates of a column (datetime64[s, UTC]; NaT where there is none), and which values are missing.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970. A date without a zone is in UTC. Zero dates, as
    ``0000-00-00`` and 1970-01-01, are missing. A value is unreadable if it is NaT and not missing, as ``01/02/2020`` is.

    Examples
    --------
    >>> texts = ["2015-01-02 03:04:05 UTC", "Fri Jan 02 2015 05:04:05 GMT+0200 (Central European Summer Time)", "1420167845"]
    >>> dates, absent = parse_dates(pd.Series([*texts, "0000-00-00", "01/02/2020"]))
    >>> dates.astype(str).tolist()[:3] == ["2015-01-02 03:04:05+00:00"] * 3, dates.isna().tolist()[3:], absent.tolist()[3:]
    (True, [True, True], [True, False])
    """
    absent = find_missing(column)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        dates = pd.to_datetime(column, utc=True).dt.as_unit("s")
    elif pd.api.types.is_bool_dtype(column.dtype):
        dates = pd.Series(pd.NaT, index=column.index, dtype="datetime64[s, UTC]")
    elif pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype="float64", na_value=np.nan)
        dates, absent = _read_numbers(numbers, column.index), absent | np.isin(numbers, (0.0, -62135596800.0))
    else:
        dates, absent = _read_objects(column.mask(absent, None), absent)
    zero = np.zeros(len(column), dtype=bool)
    for first, end in _ZERO_DAYS:
        zero |= ((dates >= pd.Timestamp(first, tz="UTC")) & (dates < pd.Timestamp(end, tz="UTC"))).to_numpy(dtype=bool)
    return dates.mask(zero), absent | zero


def _read_objects(column: pd.Series, absent: Bools) -> tuple[pd.Series, Bools]:
    """Read texts, dates and numbers of any kind."""
    if column.dtype == "str":
        texts = column.str.strip()
    else:
        texts = pd.Series([_to_text(value) for value in column], index=column.index, dtype="object").astype("str")
    dates = read_iso_dates(texts)
    rest = dates.isna().to_numpy() & texts.notna().to_numpy() & ~absent
    if rest.any():
        dates[rest], absent[rest] = _read_other_texts(texts[rest])
    return dates, absent


def _read_other_texts(texts: pd.Series) -> tuple[pd.Series, Bools]:
    """Read what is not in ISO 8601: times since 1970, and each other text once."""
    absent = texts.str.fullmatch(_ZERO.pattern, na=False).to_numpy(dtype=bool)
    is_number = texts.str.fullmatch(_NUMBER.pattern, na=False).to_numpy(dtype=bool)
    numbers = pd.to_numeric(texts.where(is_number), errors="coerce").to_numpy(dtype="float64", na_value=np.nan)
    dates = _read_numbers(numbers, texts.index)
    rest = ~absent & ~is_number
    dates[rest] = read_iso_dates(texts[rest].str.replace(_UTC, "Z", regex=True))
    rest &= dates.isna().to_numpy()
    if rest.any():
        distinct = {text: _read_text(text) for text in texts[rest].unique()}
        dates[rest] = read_iso_dates(texts[rest].map(distinct).astype("str"))
    return dates, absent


def read_iso_dates(texts: pd.Series) -> pd.Series:
    """Return the dates of texts in the forms of ISO 8601, NaT for all others; pandas would read -1 as a year."""
    texts = texts.where(texts.str.match(r"\d{4}", na=False))
    return pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).dt.as_unit("s")


def _to_text(value: object) -> str | None:
    """Return a value as a text that can be parsed; None if it is no date."""
    if isinstance(value, str):
        return repair_text(value).strip() if len(value) <= 2 * MAX_TEXT else None
    if isinstance(value, (date, np.datetime64)):  # of which datetime and Timestamp are kinds
        return None if pd.isna(value) else str(value)
    if isinstance(value, (int, float, np.number, Decimal)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (OverflowError, ValueError):
            return None
        is_small = math.isfinite(number) and abs(number) < 1e20
        return (f"{number:.0f}" if number.is_integer() else f"{number:.3f}") if is_small else None
    return None


def _read_numbers(numbers: np.ndarray[Any, Any], index: pd.Index) -> pd.Series:
    """Read times since 1970, and days written as the number YYYYMMDD."""
    size = np.abs(numbers)
    units = np.select([size < 1e11, size < 1e14, size < 1e17], [1.0, 1e3, 1e6], 1e9)
    seconds = np.floor(numbers / units)
    is_day = (size >= 1e7) & (size < FIRST_SECOND)
    known = (seconds >= FIRST_SECOND) & (seconds <= LAST_SECOND)
    times = pd.Series(np.where(known, seconds, 0).astype("int64"), index=index)
    dates = pd.to_datetime(times, unit="s", utc=True).dt.as_unit("s").mask(~known)
    if is_day.any():
        days = pd.Series([f"{number:.0f}" for number in numbers[is_day]], index=index[is_day], dtype="str")
        dates[is_day] = read_iso_dates(days)
    return dates


def _read_text(text: str) -> str | None:
    """Return the date of a text in ISO 8601; None if it is in no known form, or is no date of the calendar."""
    if len(text) > MAX_TEXT:
        return None
    spaced = " ".join(text.split())
    for form in _FORMS:
        if match := form.fullmatch(spaced):
            return _read_parts(match.groupdict())
    return None


def _read_parts(parts: dict[str, str | None]) -> str | None:
    month = _month(parts["month"] or "")
    hour, half = int(parts.get("hour") or 0), (parts.get("half") or "").lower()
    if half and not 1 <= hour <= 12:
        return None
    hour = hour % 12 + 12 * (half == "p") if half else hour
    offset = timedelta(hours=int(parts.get("hours") or 0), minutes=int(parts.get("minutes") or 0))
    try:
        zone = timezone(-offset if parts.get("sign") == "-" else offset) if parts.get("sign") else UTC
        year, day = int(parts["year"] or 0), int(parts["day"] or 0)
        minute, second = int(parts.get("minute") or 0), int(parts.get("second") or 0)
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).isoformat()
    except ValueError:
        return None


def _month(text: str) -> int:
    """Return the number of a month, 0 if it is none."""
    if text.isdigit():
        return int(text)
    name = "september" if text.lower() == "sept" else text.lower()
    return next((i + 1 for i, month in enumerate(_MONTHS) if name in (month, month[:3])), 0)
