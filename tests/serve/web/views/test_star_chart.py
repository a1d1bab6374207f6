"""Lines and axes of a chart over time."""

from __future__ import annotations

import itertools
import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stargaze.serve.web.views.star_chart import (
    HEIGHT,
    LABEL_HEIGHT,
    LABEL_WIDTH,
    WIDTH,
    Chart,
    age_ticks,
    date_ticks,
    draw_chart,
    log_position,
    log_ticks,
    read_series,
)

FORECAST = [{"days": 30, "date": "2026-02-10", "stars": 120.0, "low": 100.0, "high": 150.0}]


def history(stars: list[int]) -> dict[str, Any]:
    first = date(2026, 1, 1)
    return {"dates": [(first + timedelta(days=day)).isoformat() for day in range(len(stars))], "stars": stars}


def draw(stars: list[int], forecast: list[dict[str, Any]] | None = None, milestone: float | None = None) -> Chart:
    series = read_series({"full_name": "a/b", "history": history(stars), "forecast": forecast})
    assert series
    return draw_chart([series], date_ticks(series.points[0].day, series.points[-1].day), milestone)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=200), st.booleans())
@example(stars=[0] * 60, has_forecast=True)  # the forecast ends before the history
def test_all_points_are_inside_the_chart(stars: list[int], has_forecast: bool) -> None:
    chart = draw(stars, FORECAST if has_forecast else None)

    assert [plot.scale for plot in chart.plots] == ["linear", "logarithmic"]
    for plot in chart.plots:
        line = plot.lines[0]
        for text in (line.history, line.forecast, line.band):
            points = [tuple(map(float, point.split(","))) for point in text.split()]
            assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
        assert len(plot.gridlines) <= 7
        assert all(0 <= gridline.y <= HEIGHT for gridline in plot.gridlines)
    assert all(0 <= float(tick.at.removesuffix("%")) <= 100 for tick in chart.ticks)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=5), st.lists(st.integers(2, 60), min_size=5, max_size=5))
@example(counts=[3, 3, 3, 3, 3], days=[9, 9, 9, 9, 9])
def test_labels_of_lines_that_end_near_each_other_do_not_overlap(counts: list[int], days: list[int]) -> None:
    rows = [
        {"full_name": f"a/{i}", "history": history([count] * n), "forecast": None}
        for i, (count, n) in enumerate(zip(counts, days, strict=False))
    ]

    chart = draw_chart([item for item in map(read_series, rows) if item], [])

    for plot in chart.plots:
        assert all(0 <= line.label_y <= HEIGHT for line in plot.lines)
        for one, other in itertools.combinations(plot.lines, 2):
            apart = abs(one.end - other.end) >= LABEL_WIDTH, abs(one.label_y - other.label_y) > LABEL_HEIGHT - 0.2
            assert any(apart)


def test_the_label_of_a_milestone_does_not_overlap_with_others() -> None:
    forecast = [FORECAST[0] | {"stars": 190_000.0, "low": 170_000.0, "high": 230_000.0}]

    chart = draw([0, 150_000], forecast, milestone=200_000)

    for plot in chart.plots:
        heights = sorted(line.y for line in plot.gridlines)
        assert all(after - before >= LABEL_HEIGHT for before, after in itertools.pairwise(heights))
        assert [line.label for line in plot.gridlines if line.is_milestone] == ["200,000"]


def test_the_forecast_begins_where_the_history_ends() -> None:
    line = draw([10, 50, 90], FORECAST).plots[0].lines[0]

    assert line.forecast.split()[0] == line.history.split()[-1]


def test_a_line_is_labeled_where_its_history_ends() -> None:
    line = draw([10, 50, 90], FORECAST).plots[0].lines[0]

    x, y = map(float, line.history.split()[-1].split(","))
    assert (line.end, line.label_y) == pytest.approx((x, y), abs=0.1)


def test_tooltips_have_the_interval_of_a_forecast() -> None:
    [[name, points]] = json.loads(draw([10, 50, 90], FORECAST).points)

    assert name == "a/b"
    assert points[0] == [0.0, "2026-01-01", "10"]
    assert points[-1] == [1.0, "2026-02-10", "120 (100–150)"]


@pytest.mark.parametrize("milestone", [100, 1_000])
def test_a_milestone_above_the_chart_is_not_drawn(milestone: int) -> None:
    lines = draw([10, 50, 90], FORECAST, milestone).plots[0].gridlines

    assert [line.label for line in lines if line.is_milestone] == (["100"] if milestone == 100 else [])


@given(st.integers(730_000, 740_000), st.integers(1, 9_000))
def test_dates_have_one_to_four_ticks(first: int, days: int) -> None:
    ticks = date_ticks(first, first + days)

    assert 1 <= len(ticks) <= 4
    assert all(first <= day <= first + days for day, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


@given(st.integers(1, 9_000))
def test_ages_have_at_most_five_ticks(days: int) -> None:
    ticks = age_ticks(days)

    assert 1 <= len(ticks) <= 5
    assert all(0 <= day <= days for day, _ in ticks)


def test_the_logarithmic_axis_starts_with_zero_stars() -> None:
    assert [tick.label for tick in log_ticks(2_000.0)] == ["0", "1", "10", "100", "1k"]
    assert (log_position(0.0, 100.0), log_position(100.0, 100.0)) == (0.0, 1.0)
