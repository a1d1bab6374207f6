"""The next milestone as one sentence, for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from stargaze.formatting import format_stars

MAX_DAYS_AS_DAYS = 45
"""A range of at most so many days is written with days, a longer one with months [days]."""


def milestone_text(milestone: Mapping[str, Any]) -> str:
    """Return a milestone of an answer as text.

    >>> row = {"stars": 10_000, "date": "2027-05-09", "earliest": "2027-03-20", "latest": "2027-09-01", "coverage": 0.8}
    >>> milestone_text(row)
    '10,000 stars around May 2027 (80%: March–September 2027)'
    >>> milestone_text({**row, "stars": 1, "latest": None})
    '1 star around May 2027 (80%: March 2027 or later)'
    >>> milestone_text({**row, "earliest": "2027-05-02", "latest": "2027-05-20"})
    '10,000 stars around May 9, 2027 (80%: May 2–20, 2027)'
    """
    expected, earliest = (date.fromisoformat(milestone[name]) for name in ("date", "earliest"))
    latest = date.fromisoformat(milestone["latest"]) if milestone["latest"] else None
    in_days = latest is not None and (latest - earliest).days <= MAX_DAYS_AS_DAYS
    around = _day(expected) if in_days else _month(expected)
    dates = _range(earliest, latest, in_days=in_days) if latest else f"{_month(earliest)} or later"
    return f"{format_stars(milestone['stars'])} around {around} ({milestone['coverage'] * 100:g}%: {dates})"


def _range(first: date, last: date, *, in_days: bool) -> str:
    """Return a range of days or months in which nothing occurs twice.

    >>> _range(date(2026, 11, 3), date(2027, 3, 1), in_days=False)
    'November 2026–March 2027'
    >>> _range(date(2027, 4, 28), date(2027, 5, 3), in_days=True)
    'April 28–May 3, 2027'
    """
    whole = _day if in_days else _month
    if whole(first) == whole(last):
        return whole(last)
    if first.year != last.year:
        return f"{whole(first)}–{whole(last)}"
    if not in_days:
        return f"{first:%B}–{_month(last)}"
    return (
        f"{first:%B} {first.day}–{last.day}, {last.year}"
        if first.month == last.month
        else (f"{first:%B} {first.day}–{_day(last)}")
    )


def _month(day: date) -> str:
    return f"{day:%B} {day.year}"


def _day(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"
