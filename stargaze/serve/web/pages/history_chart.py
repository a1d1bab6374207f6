"""The chart of star history and forecast: SVG points on a linear and a logarithmic scale, and table rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from stargaze.formatting import format_percent

WIDTH, HEIGHT, MARGIN = 1000.0, 200.0, 8.0
"""Size of the chart, in its own units."""
MAX_ROWS = 12
"""Maximum number of rows of the table."""


@dataclass(frozen=True)
class Gridline:
    """A horizontal line and its star count."""

    label: str
    y: str


@dataclass(frozen=True)
class Curve:
    """The chart on one scale: points of SVG polylines and of the band's polygon, and the gridlines."""

    scale: str
    history: str
    forecast: str
    band: str
    gridlines: tuple[Gridline, ...]


@dataclass(frozen=True)
class ForecastRow:
    """One horizon of the forecast as texts."""

    days: int
    date: str
    stars: str
    range: str


@dataclass(frozen=True)
class HistoryChart:
    """The chart on both scales, the texts at its corners, and the rows of its tables."""

    curves: tuple[Curve, ...]
    first_day: str
    last_day: str
    min_stars: str
    today: str
    """The horizontal position at which the history ends."""
    rows: tuple[tuple[str, str], ...]
    forecast: tuple[ForecastRow, ...]


def history_chart(prediction: Mapping[str, Any]) -> HistoryChart | None:
    """Return the chart of a prediction's history and forecast; None without a history."""
    history, forecast = prediction.get("history"), prediction.get("forecast") or ()
    if not history or len(history["dates"]) < 2:
        return None
    days = [date.fromisoformat(day) for day in history["dates"]]
    stars = [float(value) for value in history["stars"]]
    points = [(date.fromisoformat(point["date"]), point) for point in forecast]
    last = max(days[-1], *(day for day, _ in points)) if points else days[-1]
    values = [*stars, *(float(point[name]) for _, point in points for name in ("low", "high", "stars"))]
    x = _linear_map(days[0].toordinal(), last.toordinal(), 0.0, WIDTH)
    curves = []
    for scale, transform in (("linear", float), ("logarithmic", math.log1p)):
        y = _linear_map(transform(min(values)), transform(max(values)), HEIGHT - MARGIN, MARGIN)

        def place(day: date, value: float, y: Any = y, transform: Callable[[float], float] = transform) -> str:
            return f"{x(day.toordinal()):.1f},{y(transform(value)):.1f}"

        counted = [place(day, value) for day, value in zip(days, stars, strict=True)]
        center, upper, lower = ([place(day, point[name]) for day, point in points] for name in ("stars", "high", "low"))
        gridlines = tuple(
            Gridline(f"{value:,}", format_percent(y(transform(value)) / HEIGHT, 2))
            for value in _gridline_values(scale, min(values), max(values))
        )
        line = [counted[-1], *center] if points else []
        band = [counted[-1], *upper, *reversed(lower)] if points else []
        curves.append(Curve(scale, " ".join(counted), " ".join(line), " ".join(band), gridlines))
    return HistoryChart(
        tuple(curves),
        days[0].isoformat(),
        last.isoformat(),
        f"{round(min(values)):,}",
        format_percent(x(days[-1].toordinal()) / WIDTH, 2),
        tuple((days[row].isoformat(), f"{round(stars[row]):,}") for row in _spread_rows(len(days))),
        tuple(_forecast_row(day, point) for day, point in points),
    )


def _gridline_values(scale: str, least: float, most: float) -> list[int]:
    """Return two to five round counts between the ends; powers of ten on the logarithmic scale.

    >>> _gridline_values("linear", 8, 1995), _gridline_values("logarithmic", 8, 1995), _gridline_values("linear", 3, 3)
    ([500, 1000, 1500], [10, 100, 1000], [])
    """
    if scale == "logarithmic":
        return [10**power for power in range(8) if least <= 10**power <= most]
    rough = max((most - least) / 4, 1.0)
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * digit for digit in (1, 2, 5, 10) if size * digit >= rough)
    first = math.floor(least / step) + 1
    return [step * i for i in range(first, math.floor(most / step) + 1) if most > least]


def _forecast_row(day: date, point: Mapping[str, Any]) -> ForecastRow:
    interval = f"{round(point['low']):,} to {round(point['high']):,}"
    return ForecastRow(int(point["days"]), day.isoformat(), f"{round(point['stars']):,}", interval)


def _linear_map(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: begin + (end - begin) * (value - low) / span


def _spread_rows(count: int) -> Sequence[int]:
    step = max(1, (count - 1) / (MAX_ROWS - 1))
    return sorted({round(step * i) for i in range(MAX_ROWS) if round(step * i) < count} | {count - 1})
