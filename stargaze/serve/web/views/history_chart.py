"""The chart of star history and forecast of one repository, with its tables and its next milestone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.formatting import format_count, format_percent
from stargaze.serve.prediction.milestone_text import milestone_text
from stargaze.serve.prediction.sentence import format_range
from stargaze.serve.web.views.star_chart import Chart, Series, date_ticks, draw_chart, read_series, recent_series

MAX_ROWS = 24
"""Maximum number of rows of the table."""


@dataclass(frozen=True)
class ForecastRow:
    """One horizon of the forecast as texts."""

    days: int
    date: str
    stars: str
    range: str


@dataclass(frozen=True)
class HistoryChart:
    """The chart, the rows of its tables, and the sentence on the next milestone."""

    chart: Chart
    recent: Chart | None
    """The last year and the forecast, if the history is long."""
    source: str
    rows: tuple[tuple[str, str], ...]
    forecast: tuple[ForecastRow, ...]
    coverage: str
    """The nominal coverage of the forecast's intervals; empty without a forecast."""
    milestone: str


def history_chart(prediction: Mapping[str, Any]) -> HistoryChart | None:
    """Return the chart of a prediction's history and forecast; None without a history."""
    series = read_series(prediction)
    if series is None:
        return None
    milestone = prediction.get("milestone")
    history = prediction["history"]
    recent = recent_series([series])
    return HistoryChart(
        _draw(series, milestone),
        _draw(recent[0], milestone) if recent else None,
        f"{'From GitHub' if history.get('source') == 'github' else 'Stored history'}, {history['as_of']}.",
        tuple((point.label, format_count(point.stars)) for point in _spread(series.history)),
        tuple(map(_forecast_row, prediction["forecast"] or ())),
        format_percent(prediction["forecast"][0]["coverage"]) if prediction["forecast"] else "",
        milestone_text(milestone) if milestone else "",
    )


def _draw(series: Series, milestone: Mapping[str, Any] | None) -> Chart:
    ticks = date_ticks(series.points[0].day, series.points[-1].day)
    return draw_chart([series], ticks, milestone["stars"] if milestone else None)


def _forecast_row(point: Mapping[str, Any]) -> ForecastRow:
    return ForecastRow(
        int(point["days"]), point["date"], format_count(point["stars"]), format_range(point["low"], point["high"])
    )


def _spread(points: Sequence[Any]) -> list[Any]:
    """Return at most MAX_ROWS of the points, with the first and the last."""
    step = max(1.0, (len(points) - 1) / (MAX_ROWS - 1))
    return [points[i] for i in sorted({min(round(step * row), len(points) - 1) for row in range(MAX_ROWS)})]
