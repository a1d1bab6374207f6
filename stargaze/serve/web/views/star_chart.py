"""Lines of star counts over time on a linear and a logarithmic scale, with axes; the points are those of SVG polylines."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from stargaze.formatting import format_count, format_percent, format_short

WIDTH, HEIGHT, MARGIN = 1000.0, 200.0, 10.0
"""Size of a plot, in its own units."""
LABEL_WIDTH, LABEL_HEIGHT = 40.0, 13.0
"""Labels of lines that end nearer to each other than this have this vertical distance."""
SCALES: Mapping[str, Callable[[float], float]] = {"linear": float, "logarithmic": math.log1p}
MIN_DAYS = 2
"""A line needs as many days of a history."""
MAX_TICKS = 4
"""As many labels as fit below a chart on a phone."""
RECENT_DAYS = 365
"""Length of the history in the closer view, which there is for histories of more than twice that [days]."""
DAYS_PER_MONTH, DAYS_PER_YEAR = 30.4375, 365.25
STEPS = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Tick:
    """A mark on a horizontal axis."""

    label: str
    at: str


@dataclass(frozen=True)
class Point:
    """A star count at a day; ``low`` and ``high`` are equal to it unless it is a forecast."""

    day: int
    label: str
    stars: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """History and forecast of one repository."""

    name: str
    history: tuple[Point, ...]
    forecast: tuple[Point, ...] = ()

    @property
    def points(self) -> tuple[Point, ...]:
        """History and forecast."""
        return self.history + self.forecast


@dataclass(frozen=True)
class Gridline:
    """A horizontal line and its star count."""

    label: str
    y: float
    is_milestone: bool = False


@dataclass(frozen=True)
class Line:
    """One repository in a plot: two polylines, the polygon of the forecast's interval, and the label where its history ends."""

    name: str
    end: float
    label_at: str
    label_y: float
    history: str
    forecast: str
    band: str


@dataclass(frozen=True)
class Plot:
    """The chart on one scale."""

    scale: str
    lines: tuple[Line, ...]
    gridlines: tuple[Gridline, ...]


@dataclass(frozen=True)
class Chart:
    """The chart on both scales with the ticks of its axis."""

    plots: tuple[Plot, ...]
    ticks: tuple[Tick, ...]
    has_forecast: bool
    first: str
    last: str
    points: str
    """JSON for the tooltips: name and points (position from 0 to 1, day, text) of each repository."""
    today: str
    """The horizontal position at which the history of a single repository ends; empty for several."""


def read_series(prediction: Mapping[str, Any]) -> Series | None:
    """Return history and forecast of a prediction; None without a history of MIN_DAYS days."""
    history = prediction.get("history")
    if not history or len(history["dates"]) < MIN_DAYS:
        return None
    known = [_point(day, stars, stars, stars) for day, stars in zip(history["dates"], history["stars"], strict=True)]
    expected = [_point(item["date"], item["stars"], item["low"], item["high"]) for item in prediction["forecast"] or ()]
    ahead = tuple(point for point in expected if point.day > known[-1].day)
    return Series(str(prediction["full_name"]), tuple(known), ahead)


def recent_series(series: Sequence[Series]) -> list[Series] | None:
    """Return the last year of histories with their forecasts, which are hardly visible beside more; None if they are visible."""
    last = max(item.history[-1].day for item in series)
    since = last - RECENT_DAYS
    is_long = any(item.history[0].day < since - RECENT_DAYS for item in series)
    if not is_long or not any(item.forecast for item in series):
        return None
    recent = [tuple(point for point in item.history if point.day >= since) for item in series]
    shown = [
        Series(item.name, points, item.forecast)
        for item, points in zip(series, recent, strict=True)
        if len(points) >= MIN_DAYS
    ]
    return shown or None


def draw_chart(series: Sequence[Series], ticks: Sequence[tuple[float, str]], milestone: float | None = None) -> Chart:
    """Return the chart of several series; ``ticks`` are days and labels.

    A milestone above the counts is not shown, one among them replaces lines whose labels would overlap with its own.
    """
    points = [point for item in series for point in item.points]
    days = [point.day for point in points]
    first, last = min(points, key=lambda point: point.day), max(points, key=lambda point: point.day)
    x = linear_map(min(days), max(days), 0.0, WIDTH)
    least, most = min(point.low for point in points), max(point.high for point in points)
    plots = []
    for scale, transform in SCALES.items():
        y = _star_axis(transform, least, most)
        values = star_gridlines(scale, least, most)
        gridlines = [Gridline(format_count(value), round(y(value), 1)) for value in values]
        if milestone is not None and least <= milestone <= most:
            marked = Gridline(format_count(milestone), round(y(milestone), 1), is_milestone=True)
            gridlines = [*(line for line in gridlines if abs(line.y - marked.y) >= LABEL_HEIGHT), marked]
        plots.append(Plot(scale, _separate_labels([_line(item, x, y) for item in series]), tuple(gridlines)))
    return Chart(
        tuple(plots),
        tuple(Tick(label, format_percent(x(day) / WIDTH, 2)) for day, label in ticks),
        any(item.forecast for item in series),
        first.label,
        last.label,
        json.dumps([[item.name, [_tooltip(point, x) for point in item.points]] for item in series]),
        plots[0].lines[0].label_at if len(series) == 1 else "",
    )


def _point(day: str, stars: float, low: float, high: float) -> Point:
    return Point(date.fromisoformat(day).toordinal(), day, float(stars), float(low), float(high))


def _star_axis(transform: Callable[[float], float], least: float, most: float) -> Callable[[float], float]:
    position = linear_map(transform(least), transform(most), HEIGHT - MARGIN, MARGIN)
    return lambda stars: position(transform(stars))


def _line(series: Series, x: Callable[[float], float], y: Callable[[float], float]) -> Line:
    def place(points: Sequence[Point], name: str = "stars") -> list[str]:
        return [f"{x(point.day):.1f},{y(getattr(point, name)):.1f}" for point in points]

    history, last = place(series.history), series.history[-1]
    at = x(last.day)
    end = at, format_percent(at / WIDTH, 2), round(y(last.stars), 1)
    if not series.forecast:
        return Line(series.name, *end, " ".join(history), "", "")
    band = [history[-1], *place(series.forecast, "high"), *reversed(place(series.forecast, "low"))]
    return Line(series.name, *end, " ".join(history), " ".join([history[-1], *place(series.forecast)]), " ".join(band))


def _separate_labels(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Return the lines with labels that do not overlap: downwards as far as needed, then upwards from the bottom of the plot."""
    at = [line.label_y for line in lines]
    ordered = sorted(range(len(lines)), key=lambda i: at[i])
    near = [[j for j in range(len(lines)) if abs(line.end - lines[j].end) < LABEL_WIDTH] for line in lines]
    for rank, i in enumerate(ordered):
        at[i] = max([at[i], *(at[j] + LABEL_HEIGHT for j in ordered[:rank] if j in near[i])])
    for rank, i in reversed(list(enumerate(ordered))):
        at[i] = min([at[i], HEIGHT, *(at[j] - LABEL_HEIGHT for j in ordered[rank + 1 :] if j in near[i])])
    return tuple(dataclasses.replace(line, label_y=round(y, 1)) for line, y in zip(lines, at, strict=True))


def _tooltip(point: Point, x: Callable[[float], float]) -> list[Any]:
    text = format_count(point.stars)
    if point.low < point.high:
        text += f" ({format_count(point.low)}–{format_count(point.high)})"
    return [round(x(point.day) / WIDTH, 4), point.label, text]


def star_gridlines(scale: str, least: float, most: float) -> list[int]:
    """Return round counts between the ends; powers of ten on the logarithmic scale, or their multiples if there is none.

    A count that never changes is the only one.

    >>> star_gridlines("linear", 8, 1995), star_gridlines("logarithmic", 8, 1995), star_gridlines("linear", 3, 3)
    ([500, 1000, 1500], [10, 100, 1000], [3])
    >>> star_gridlines("logarithmic", 1200, 2400)
    [1500, 2000]
    """
    if most <= least:
        return [round(least)]
    powers = [10**power for power in range(10) if least <= 10**power <= most]
    if scale == "logarithmic" and len(powers) > 1:
        return powers
    rough = max((most - least) / 4, 1.0)
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * digit for digit in (1, 2, 5, 10) if size * digit >= rough)
    first = math.floor(least / step) + 1
    return [step * i for i in range(first, math.floor(most / step) + 1)]


def date_ticks(first: int, last: int) -> list[tuple[float, str]]:
    """Return two to four round dates between two days (ordinals) with labels.

    >>> [label for _, label in date_ticks(date(2024, 3, 5).toordinal(), date(2026, 3, 1).toordinal())]
    ['Jul 2024', 'Jan 2025', 'Jul 2025', 'Jan 2026']
    """
    begin, end = date.fromordinal(first), date.fromordinal(last)
    for months in (1, 2, 3, 6, *(12 * years for years in STEPS)):
        days = [day for day in _month_starts(begin, end) if (12 * day.year + day.month - 1) % months == 0]
        if 2 <= len(days) <= MAX_TICKS:
            return [(day.toordinal(), f"{day:%Y}" if months % 12 == 0 else f"{day:%b %Y}") for day in days]
    step = max(1, math.ceil((last - first) / (MAX_TICKS - 1)))
    return [(day, f"{date.fromordinal(day):%d %b}") for day in range(first, last + 1, step)]


def _month_starts(begin: date, end: date) -> Iterator[date]:
    day = begin if begin.day == 1 else (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
    while day <= end:
        yield day
        day = (day + timedelta(days=32)).replace(day=1)


def age_ticks(days: int) -> list[tuple[float, str]]:
    """Return up to five round ages from 0 to a number of days with labels.

    >>> [label for _, label in age_ticks(1000)], [label for _, label in age_ticks(200)]
    (['0', '1 year', '2 years'], ['0', '2 months', '4 months', '6 months'])
    """
    unit, name = (DAYS_PER_YEAR, "year") if days >= 2 * DAYS_PER_YEAR else (DAYS_PER_MONTH, "month")
    step = next(step for step in STEPS if days / unit / step <= MAX_TICKS or step == STEPS[-1])
    counts = range(step, int(days / unit) + 1, step)
    return [(0.0, "0"), *((count * unit, f"{count} {name}{'s' if count > 1 else ''}") for count in counts)]


def linear_map(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """Return the linear function from the first interval to the second."""
    span = (high - low) or 1.0
    return lambda value: begin + (end - begin) * (value - low) / span


def log_ticks(end: float) -> tuple[Tick, ...]:
    """Return 0 and the powers of ten up to a count on the axis of :func:`log_position`."""
    powers = [0.0, *(10.0**power for power in range(int(math.log10(end)) + 1))]
    return tuple(
        Tick(format_short(value).replace(".0", ""), format_percent(log_position(value, end), 2)) for value in powers
    )


def log_position(value: float, end: float) -> float:
    """Return the position on a logarithmic axis from 0 stars to ``end``, from 0 to 1."""
    return math.log1p(value) / math.log1p(end)
