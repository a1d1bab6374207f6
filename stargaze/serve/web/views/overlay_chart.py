"""The star histories of several repositories in one chart, by date or by age, with their table."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from stargaze.formatting import format_count
from stargaze.serve.prediction.sentence import note_sentence
from stargaze.serve.web.views.star_chart import (
    Chart,
    Point,
    Series,
    age_ticks,
    date_ticks,
    draw_chart,
    linear_map,
    read_series,
    recent_series,
)

TABLE_ROWS = 12
"""Rows of the table."""


@dataclass(frozen=True)
class OverlayChart:
    """The chart, the names of its lines and of repositories without a history, and the table."""

    by: str
    is_recent: bool | None
    """Whether only the last year and the forecasts are shown; None if there is no such choice."""
    chart: Chart
    names: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    """For instance from which day on a history is known, where ages begin."""
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Date or age, and the count of each repository; a dash outside of its history."""


def overlay_chart(
    predictions: Sequence[Mapping[str, Any]], by: Literal["date", "age"] = "date", *, is_recent: bool = False
) -> OverlayChart | None:
    """Return the chart of all predictions that have a history; None if none has one. Age counts from the first known day."""
    found = {str(item["full_name"]): read_series(item) for item in predictions}
    series = [item if by == "date" else _by_age(item) for item in found.values() if item is not None]
    if not series:
        return None
    recent = recent_series(series) if by == "date" else None
    if recent and is_recent:
        series = recent
    days = [point.day for item in series for point in item.points]
    ticks = date_ticks(min(days), max(days)) if by == "date" else age_ticks(max(days))
    names = tuple(item.name for item in series)
    missing = tuple(name for name in found if name not in names)
    noted = {str(item["full_name"]): item["history_note"] for item in predictions if item["history_note"]}
    return OverlayChart(
        by,
        is_recent if recent else None,
        draw_chart(series, ticks),
        names,
        missing,
        tuple(f"{name}: {note_sentence(note)}" for name, note in noted.items()),
        tuple(_rows(series, by)),
    )


def _by_age(series: Series) -> Series:
    first = series.history[0].day

    def shift(points: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple(
            dataclasses.replace(point, day=point.day - first, label=f"day {point.day - first:,} ({point.label})")
            for point in points
        )

    return Series(series.name, shift(series.history), shift(series.forecast))


def _rows(series: Sequence[Series], by: str) -> list[tuple[str, tuple[str, ...]]]:
    ends = [point.day for item in series for point in (item.history[0], item.history[-1])]
    day_of_row = linear_map(0, TABLE_ROWS - 1, min(ends), max(ends))
    days = sorted({round(day_of_row(row)) for row in range(TABLE_ROWS)})
    return [
        (
            date.fromordinal(day).isoformat() if by == "date" else f"{day:,} days",
            tuple(_count_at(item, day) for item in series),
        )
        for day in days
    ]


def _count_at(series: Series, day: int) -> str:
    """Return the last known count at a day; a dash outside of the history."""
    points = series.history
    if not points[0].day <= day <= points[-1].day:
        return "–"
    return format_count(points[bisect.bisect_right([point.day for point in points], day) - 1].stars)
