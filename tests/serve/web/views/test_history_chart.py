"""The chart of history and forecast of one repository."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.serve.web.views.history_chart import history_chart
from tests.serve.web.views.example_prediction import example_history, example_prediction


def chart(**changed: Any) -> Any:
    return history_chart(example_prediction(**example_history(), **changed))


def test_the_table_has_both_ends_and_few_rows() -> None:
    result = history_chart(example_prediction(**example_history(weeks=120)))

    assert result
    assert result.rows[0] == ("2025-03-01", "8")
    assert result.rows[-1][0] == "2027-06-12"
    assert len(result.rows) <= 24


def test_a_long_history_has_a_closer_view_of_the_last_year_and_the_forecast() -> None:
    result = history_chart(example_prediction(**example_history(weeks=500)))
    assert result
    assert result.recent

    for drawn, share in ((result.chart, 0.1), (result.recent, 0.5)):
        assert float(drawn.today.removesuffix("%")) == pytest.approx(100 * (1 - share), abs=2)
    assert result.recent.last == result.chart.last
    without = history_chart(example_prediction(history=example_history(weeks=500)["history"]))
    assert without
    assert without.recent is None
    assert chart().recent is None


def test_a_history_with_one_day_in_the_last_year_has_no_closer_view() -> None:
    rows = example_history(weeks=500)
    dates, stars = rows["history"]["dates"], rows["history"]["stars"]
    rows["history"] |= {"dates": [*dates[:10], dates[-1]], "stars": [*stars[:10], stars[-1]]}

    result = history_chart(example_prediction(**rows))

    assert result
    assert result.recent is None


def test_forecast_and_milestone_are_texts() -> None:
    result = chart()

    assert [row.days for row in result.forecast] == [30, 90, 365]
    assert (result.forecast[0].stars, result.forecast[0].range) == ("930", "890–990")
    assert result.coverage == "90%"
    assert "1,000 stars around June 2026" in result.milestone
    assert any(line.is_milestone for line in result.chart.plots[0].gridlines)


def test_the_source_of_the_history_is_named() -> None:
    assert chart().source == "From GitHub, 2026-02-21."


def test_a_single_day_has_no_chart() -> None:
    assert history_chart(example_prediction(history=example_history(weeks=1)["history"])) is None
    assert history_chart(example_prediction()) is None


def test_a_history_without_stars_has_a_labeled_axis() -> None:
    history = {**example_history(weeks=3)["history"], "stars": [0, 0, 0]}

    result = history_chart(example_prediction(history=history, forecast=None, milestone=None))

    assert result
    assert [[line.label for line in plot.gridlines] for plot in result.chart.plots] == [["0"], ["0"]]


def test_a_forecast_without_an_interval_is_one_number() -> None:
    point = {"days": 30, "date": "2026-03-23", "stars": 4.0, "low": 4.0, "high": 4.2, "coverage": 0.9}

    result = history_chart(example_prediction(**{**example_history(), "forecast": [point]}))

    assert result
    assert [row.range for row in result.forecast] == ["4"]
