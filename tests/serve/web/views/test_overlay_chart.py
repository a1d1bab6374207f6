"""Several star histories in one chart."""

from __future__ import annotations

import json
from typing import Any

from stargaze.serve.web.views.overlay_chart import overlay_chart
from tests.serve.web.views.example_prediction import example_history, example_prediction


def predictions() -> list[dict[str, Any]]:
    return [
        example_prediction(full_name="a/young", **example_history(weeks=20)),
        example_prediction(full_name="b/old", **example_history(weeks=60)),
        example_prediction(full_name="c/none", history_note="no star history: GitHub does not answer"),
    ]


def test_a_repository_without_a_history_is_named() -> None:
    overlay = overlay_chart(predictions())

    assert overlay
    assert (overlay.names, overlay.missing) == (("a/young", "b/old"), ("c/none",))
    assert overlay.notes == ("c/none: No star history: GitHub does not answer.",)
    assert [len(plot.lines) for plot in overlay.chart.plots] == [2, 2]
    assert overlay_chart(predictions()[2:]) is None


def test_ages_begin_with_the_first_day_of_each_history() -> None:
    late = example_history()
    late["history"]["dates"] = [day.replace("2025", "2015").replace("2026", "2016") for day in late["history"]["dates"]]
    rows = [example_prediction(full_name="a/a", **late), *predictions()[:1]]

    overlay = overlay_chart(rows, by="age")

    assert overlay
    assert [points[0][0] for _, points in json.loads(overlay.chart.points)] == [0.0, 0.0]
    assert overlay.chart.ticks[0].label == "0"
    assert overlay.rows[0] == ("0 days", ("8", "8"))


def test_the_table_has_a_dash_outside_of_a_history() -> None:
    overlay = overlay_chart(predictions())

    assert overlay
    assert overlay.rows[0] == ("2025-03-01", ("8", "8"))
    assert overlay.rows[-1][1][0] == "–"


def test_the_last_year_of_all_histories_shows_their_forecasts() -> None:
    rows = [
        example_prediction(full_name="a/long", **example_history(weeks=500)),
        example_prediction(full_name="b/ended", **example_history(weeks=20)),
    ]

    whole, recent = (overlay_chart(rows, is_recent=is_recent) for is_recent in (False, True))

    assert whole
    assert recent
    assert (whole.is_recent, recent.is_recent) == (False, True)
    assert (recent.names, recent.missing) == (("a/long",), ("b/ended",))
    assert recent.chart.last == whole.chart.last
    assert float(recent.chart.today.removesuffix("%")) < 60
    for without in (overlay_chart(predictions(), is_recent=True), overlay_chart(rows, by="age", is_recent=True)):
        assert without
        assert without.is_recent is None
