"""Star histories: few enough points for a chart, with both ends, and a forecast if one can be made."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.forecast import forecast_growth
from stargaze.serve.lookup import star_history
from stargaze.serve.lookup.star_history import (
    MAX_POINTS,
    NO_HISTORY,
    HistoryTable,
    StarHistories,
    leave_out_passed,
    spread_indices,
)
from stargaze.store import Store
from tests.growth_bundles import constant_bundle
from tests.histories import one_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(0, 5_000), st.integers(2, 200))
def test_spread_indices_keep_both_ends_the_order_and_the_limit(count: int, most: int) -> None:
    indices = spread_indices(count, most)

    assert len(indices) == min(count, most)
    assert indices == sorted(set(indices))
    assert not indices or (indices[0], indices[-1]) == (0, count - 1)


@given(st.integers(121, 5_000))
def test_spread_indices_are_even(count: int) -> None:
    indices = spread_indices(count)
    gaps = {after - before for before, after in itertools.pairwise(indices)}

    assert max(gaps) - min(gaps) <= 1


def test_names_are_not_case_sensitive(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("Own/Name", list(range(10, 210))), one_history("own/other", [1, 2]))

    result = StarHistories(Store(tmp_path), str(path)).find("oWn/nAME", NOW, None)

    assert len(result["history"]["dates"]) == len(result["history"]["stars"]) == MAX_POINTS
    assert (result["history"]["dates"][0], result["history"]["stars"][0]) == ("2022-01-03", 10)
    assert result["history"]["stars"][-1] == 209
    assert result["forecast"] is None


def test_weekly_counts_of_fetch_are_added_up(tmp_path: Path) -> None:
    weeks = pd.date_range("2024-01-01", periods=3, freq="7D", tz="UTC")
    pd.DataFrame({"full_name": "a/b", "week": weeks, "stars": [5, 2, 1], "days": [[0] * 7] * 3}).to_parquet(
        Store(tmp_path).star_history
    )

    result = StarHistories(Store(tmp_path)).find("a/b", NOW, None)

    days = ["2024-01-08", "2024-01-15", "2024-01-22"]
    assert result["history"] == {"source": "store", "as_of": days[-1], "dates": days, "stars": [5, 7, 8]}


def test_missing_files_and_unknown_names_have_no_history(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("a/b", [1, 2]))

    assert StarHistories(Store(tmp_path)).find("a/b", NOW, None) == NO_HISTORY
    assert StarHistories(Store(tmp_path), str(path)).find("a/c", NOW, None) == {
        **NO_HISTORY,
        "history_note": "No star history: none is stored for this repository",
    }


def test_a_table_that_cannot_be_read_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "history.csv").write_text("nothing,of,use\n1,2,3\n")
    star_histories = StarHistories(Store(tmp_path), str(tmp_path / "history.csv"))

    with caplog.at_level(logging.WARNING):
        assert [star_histories.find("a/b", NOW, None) for _ in range(3)] == [NO_HISTORY] * 3

    assert caplog.text.count("no star histories") == 1


def test_rows_that_are_left_out_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "counts.csv"
    table.write_text(
        "full_name,date,stars\nkim/a,2024-01-01,4\nkim/a,2024-01-08,\nkim/a,2024-01-15,6\n", encoding="utf-8"
    )

    with caplog.at_level(logging.WARNING):
        found = StarHistories(Store(tmp_path), str(table)).find("kim/a", NOW, None)

    assert found != NO_HISTORY
    assert "star histories: 1 row is left out: row 2: stars is missing" in caplog.text


def test_a_prepared_table_is_not_read_for_a_visitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path, one_history("own/name", list(range(10, 60))))
    histories = StarHistories(Store(tmp_path), str(path))

    histories.prepare()
    monkeypatch.setattr(star_history, "_read_table", lambda *_: pytest.fail("a visitor waits for the table"))

    assert histories.find("own/name", NOW, None)["history"]["stars"][-1] == 59


@pytest.mark.thorough  # it makes a table of 300,000 rows
def test_a_large_table_is_indexed() -> None:
    n_names, n_weeks = 3_000, 100
    names = np.repeat([f"own{number % 99}/Name{number}" for number in range(n_names)], n_weeks)
    dates = np.tile(pd.date_range("2022-01-03", periods=n_weeks, freq="7D", tz="UTC"), n_names)
    stars = np.tile(np.arange(n_weeks, dtype=float), n_names)
    order = np.random.default_rng(1).permutation(len(names))
    frame = pd.DataFrame({"full_name": names, "date": dates, "stars": stars}).iloc[order]
    frame["full_name"] = frame["full_name"].astype("str")

    table = HistoryTable.from_frame(frame)

    history = table.history("OWN7/name7")
    assert history is not None
    assert history["stars"].tolist() == list(range(n_weeks))


def test_a_replaced_table_is_loaded_again(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("a/b", [1, 2]))
    star_histories = StarHistories(Store(tmp_path), str(path))
    before = star_histories.find("a/b", NOW, None)

    _write(tmp_path, one_history("a/b", [1, 2, 3]))

    assert (before["history"]["stars"], star_histories.find("a/b", NOW, None)["history"]["stars"]) == (
        [1, 2],
        [1, 2, 3],
    )


def test_the_growth_bundle_continues_the_history(tmp_path: Path) -> None:
    own = one_history("a/b", list(range(4900, 4990)))
    star_histories = StarHistories(Store(tmp_path), str(_write(tmp_path, own)))
    growth = constant_bundle()

    result = star_histories.find("a/b", NOW, growth)

    expected = forecast_growth(growth, own)
    assert [(item["days"], item["stars"], item["low"], item["high"]) for item in result["forecast"]] == [
        (point.days, point.stars, point.low, point.high) for point in expected.points
    ]
    assert result["forecast"][0]["date"] == (own["date"].iloc[-1] + pd.Timedelta(days=30)).date().isoformat()
    assert {item["coverage"] for item in result["forecast"]} == {growth.coverage}
    assert expected.milestone
    assert result["milestone"] == expected.milestone.to_json()
    assert result["history_note"] == ""


@pytest.mark.parametrize(
    ("today", "stars", "days", "has_milestone"),
    [
        ("2023-09-18", 4989.0, [30, 90, 365], True),
        ("2023-09-18", None, [30, 90, 365], True),
        ("2023-09-18", 5000.0, [30, 90, 365], False),
        ("2023-10-17", 4989.0, [30, 90, 365], True),
        ("2023-10-18", 4989.0, [90, 365], True),
        ("2023-12-05", 4989.0, [90, 365], True),
        ("2024-02-10", 4989.0, [365], False),
        ("2024-09-17", 4989.0, [], False),
    ],
)
def test_nothing_is_forecast_for_days_that_have_passed(
    tmp_path: Path, today: str, stars: float | None, days: list[int], has_milestone: bool
) -> None:
    path = _write(tmp_path, one_history("a/b", list(range(4900, 4990))))
    now = datetime.fromisoformat(f"{today}T12:00:00+00:00")
    found = StarHistories(Store(tmp_path), str(path)).find("a/b", NOW, constant_bundle())

    result = leave_out_passed(found, now, stars)

    assert [point["days"] for point in result["forecast"] or ()] == days
    assert bool(result["milestone"]) == has_milestone
    assert not has_milestone or today <= result["milestone"]["earliest"] <= result["milestone"]["date"]
    assert result["history_note"] == ("" if days else "No forecast: it would end on 2024-09-17")


def test_a_forecast_is_that_of_the_given_growth_bundle_not_a_cached_one(tmp_path: Path) -> None:
    star_histories = StarHistories(Store(tmp_path), str(_write(tmp_path, one_history("a/b", list(range(900, 990))))))
    other = dataclasses.replace(constant_bundle([60]), digest="1" * 64)
    other.__dict__["horizon_models"] = constant_bundle([60]).horizon_models

    days = [
        growth and [item["days"] for item in star_histories.find("a/b", NOW, growth)["forecast"]]
        for growth in (constant_bundle(), other, None, constant_bundle())
    ]

    assert days == [[30, 90, 365], [60], None, [30, 90, 365]]
    assert star_histories.find("a/b", NOW, None)["forecast"] is None


def test_a_short_history_has_a_note_instead_of_a_forecast(tmp_path: Path) -> None:
    star_histories = StarHistories(Store(tmp_path), str(_write(tmp_path, one_history("new/short", [1, 2, 3]))))

    result = star_histories.find("new/short", NOW, constant_bundle())

    assert result["history"]["stars"] == [1, 2, 3]
    assert (result["forecast"], result["milestone"]) == (None, None)
    assert result["history_note"] == ("No forecast: the history covers 2 weeks without a break, a forecast needs 26")


def _write(folder: Path, *parts: pd.DataFrame) -> Path:
    path = folder / "history.parquet"
    pd.concat(parts, ignore_index=True).to_parquet(path)
    return path
