"""History and forecast as drawings and as rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.web.history_chart import HEIGHT, WIDTH, plot_of

AHEAD = [{"days": 30, "date": "2026-02-10", "stars": 120.0, "low": 100.0, "high": 150.0}]


def history(stars: list[int]) -> dict[str, Any]:
    first = date(2026, 1, 1)
    return {"dates": [(first + timedelta(days=day)).isoformat() for day in range(len(stars))], "stars": stars}


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=200), st.booleans())
def test_no_point_leaves_either_drawing(stars: list[int], has_forecast: bool) -> None:
    plot = plot_of({"history": history(stars), "forecast": AHEAD if has_forecast else None})

    assert plot is not None
    assert [curve.name for curve in plot.curves] == ["linear", "logarithmic"]
    for curve in plot.curves:
        for text in (curve.counted, curve.ahead, curve.band):
            points = [tuple(map(float, point.split(","))) for point in text.split()]
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        assert len(curve.marks) <= 7
        assert all(0 <= float(mark.y.removesuffix("%")) <= 100 for mark in curve.marks)
        assert bool(curve.band) == has_forecast


def test_the_forecast_begins_where_the_history_ends() -> None:
    plot = plot_of({"history": history([10, 50, 90]), "forecast": AHEAD})

    assert plot is not None
    assert plot.curves[0].ahead.split()[0] == plot.curves[0].counted.split()[-1]
    assert (plot.ahead[0].stars, plot.ahead[0].range, plot.last) == ("120", "100 to 150", "2026-02-10")


def test_the_table_holds_both_ends_and_few_rows() -> None:
    plot = plot_of({"history": history(list(range(100)))})

    assert plot is not None
    assert (plot.rows[0][1], plot.rows[-1][1]) == ("0", "99")
    assert len(plot.rows) <= 13


def test_a_single_day_is_no_history() -> None:
    assert plot_of({"history": history([5])}) is None
    assert plot_of({"history": None}) is None
