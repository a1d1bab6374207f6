"""The chart of history and forecast."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stargaze.serve.web.pages.history_chart import HEIGHT, WIDTH, history_chart

FORECAST = [{"days": 30, "date": "2026-02-10", "stars": 120.0, "low": 100.0, "high": 150.0}]


def history(stars: list[int]) -> dict[str, Any]:
    first = date(2026, 1, 1)
    return {"dates": [(first + timedelta(days=day)).isoformat() for day in range(len(stars))], "stars": stars}


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=200), st.booleans())
@example(stars=[0] * 60, has_forecast=True)  # the forecast ends before the history
def test_all_points_are_inside_the_chart(stars: list[int], has_forecast: bool) -> None:
    chart = history_chart({"history": history(stars), "forecast": FORECAST if has_forecast else None})

    assert chart is not None
    assert [curve.scale for curve in chart.curves] == ["linear", "logarithmic"]
    for curve in chart.curves:
        for text in (curve.history, curve.forecast, curve.band):
            points = [tuple(map(float, point.split(","))) for point in text.split()]
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        assert len(curve.gridlines) <= 7
        assert all(0 <= float(line.y.removesuffix("%")) <= 100 for line in curve.gridlines)
        assert bool(curve.band) == has_forecast


def test_the_forecast_begins_where_the_history_ends() -> None:
    chart = history_chart({"history": history([10, 50, 90]), "forecast": FORECAST})

    assert chart is not None
    assert chart.curves[0].forecast.split()[0] == chart.curves[0].history.split()[-1]
    assert (chart.forecast[0].stars, chart.forecast[0].range, chart.last_day) == ("120", "100 to 150", "2026-02-10")


def test_the_table_has_both_ends_and_few_rows() -> None:
    chart = history_chart({"history": history(list(range(100)))})

    assert chart is not None
    assert (chart.rows[0][1], chart.rows[-1][1]) == ("0", "99")
    assert len(chart.rows) <= 13


def test_a_single_day_has_no_chart() -> None:
    assert history_chart({"history": history([5])}) is None
    assert history_chart({"history": None}) is None
