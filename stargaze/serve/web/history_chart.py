"""The history of a repository's stars joined to its forecast, as points of two drawings, linear and logarithmic, and as rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

WIDTH, HEIGHT, MARGIN = 1000.0, 200.0, 8.0
"""Of the drawing, in its own units."""
ROWS = 12
"""Of the table beside the drawing."""


@dataclass(frozen=True)
class Mark:
    """A line across the drawing and the count that it stands for."""

    label: str
    y: str


@dataclass(frozen=True)
class Curve:
    """One drawing: points for SVG's polyline and polygon, and the lines behind them."""

    name: str
    counted: str
    ahead: str
    band: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Ahead:
    """One horizon of the forecast in words."""

    days: int
    date: str
    stars: str
    range: str


@dataclass(frozen=True)
class Plot:
    """Both drawings, what stands at their corners, and the rows of their text."""

    curves: tuple[Curve, ...]
    first: str
    last: str
    least: str
    most: str
    now: str
    """Where the counted part ends, across the drawing."""
    rows: tuple[tuple[str, str], ...]
    ahead: tuple[Ahead, ...]


def plot_of(prediction: Mapping[str, Any]) -> Plot | None:
    """Draw the history and the forecast of a prediction; None where there is no history."""
    history, forecast = prediction.get("history"), prediction.get("forecast") or ()
    if not history or len(history["dates"]) < 2:
        return None
    days = [date.fromisoformat(day) for day in history["dates"]]
    stars = [float(value) for value in history["stars"]]
    ahead = [(_day(item, days[-1]), item) for item in forecast]
    last = ahead[-1][0] if ahead else days[-1]
    values = [*stars, *(float(item[name]) for _, item in ahead for name in ("low", "high", "stars"))]
    across = _scale(days[0].toordinal(), last.toordinal(), 0.0, WIDTH)
    curves = []
    for name, there in (("linear", float), ("logarithmic", math.log1p)):
        up = _scale(there(min(values)), there(max(values)), HEIGHT - MARGIN, MARGIN)

        def point(day: date, value: float, there: Callable[[float], float] = there, up: Any = up) -> str:
            return f"{across(day.toordinal()):.1f},{up(there(value)):.1f}"

        counted = [point(day, value) for day, value in zip(days, stars, strict=True)]
        ends = [point(day, item["stars"]) for day, item in ahead]
        upper = [point(day, item["high"]) for day, item in ahead]
        lower = [point(day, item["low"]) for day, item in ahead]
        joined = [counted[-1], *ends] if ends else []
        band = [counted[-1], *upper, *reversed(lower)] if ends else []
        marks = tuple(
            Mark(f"{value:,}", _part(up(there(value)), HEIGHT)) for value in _marks(name, min(values), max(values))
        )
        curves.append(Curve(name, " ".join(counted), " ".join(joined), " ".join(band), marks))
    return Plot(
        tuple(curves),
        days[0].isoformat(),
        last.isoformat(),
        f"{round(min(values)):,}",
        f"{round(max(values)):,}",
        _part(across(days[-1].toordinal()), WIDTH),
        tuple((days[row].isoformat(), f"{round(stars[row]):,}") for row in _thinned(len(days))),
        tuple(_ahead(day, item) for day, item in ahead),
    )


def _marks(name: str, least: float, most: float) -> list[int]:
    """Return two to five round counts between the ends; powers of ten where the drawing is logarithmic.

    Examples
    --------
    >>> _marks("linear", 8, 1995), _marks("logarithmic", 8, 1995), _marks("linear", 3, 3)
    ([500, 1000, 1500], [10, 100, 1000], [])
    """
    if name == "logarithmic":
        return [10**power for power in range(8) if least <= 10**power <= most]
    rough = max((most - least) / 4, 1.0)
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= rough)
    first = math.floor(least / step) + 1
    return [step * times for times in range(first, math.floor(most / step) + 1) if most > least]


def _part(value: float, whole: float) -> str:
    return f"{100 * value / whole:.2f}%"


def _day(item: Mapping[str, Any], last: date) -> date:
    return date.fromisoformat(item["date"]) if item.get("date") else last + timedelta(days=int(item["days"]))


def _ahead(day: date, item: Mapping[str, Any]) -> Ahead:
    between = f"{round(item['low']):,} to {round(item['high']):,}"
    return Ahead(int(item["days"]), day.isoformat(), f"{round(item['stars']):,}", between)


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: begin + (end - begin) * (value - low) / span


def _thinned(number: int) -> Sequence[int]:
    step = max(1, (number - 1) / (ROWS - 1))
    return sorted({round(step * row) for row in range(ROWS) if round(step * row) < number} | {number - 1})
