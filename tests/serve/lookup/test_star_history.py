"""Star histories: few enough points for a chart, with both ends, and a forecast if one can be made."""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.forecast import forecast_growth
from stargaze.config import GrowthSection, TuningSection
from stargaze.serve.lookup.star_history import (
    MAX_POINTS,
    NO_HISTORY,
    StarHistories,
    load_newest_growth_bundle,
    spread_indices,
)
from stargaze.store import Store
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.histories import histories, one_history

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

    result = StarHistories(Store(tmp_path), str(path)).find("oWn/nAME", NOW)

    assert len(result["history"]["dates"]) == len(result["history"]["stars"]) == MAX_POINTS
    assert (result["history"]["dates"][0], result["history"]["stars"][0]) == ("2022-01-03", 10)
    assert result["history"]["stars"][-1] == 209
    assert result["forecast"] is None


def test_weekly_counts_of_fetch_are_added_up(tmp_path: Path) -> None:
    weeks = pd.date_range("2024-01-01", periods=3, freq="7D", tz="UTC")
    pd.DataFrame({"full_name": "a/b", "week": weeks, "stars": [5, 2, 1], "days": [[0] * 7] * 3}).to_parquet(
        Store(tmp_path).star_history
    )

    result = StarHistories(Store(tmp_path)).find("a/b", NOW)

    days = ["2024-01-08", "2024-01-15", "2024-01-22"]
    assert result["history"] == {"source": "store", "as_of": days[-1], "dates": days, "stars": [5, 7, 8]}


def test_missing_files_and_unknown_names_have_no_history(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("a/b", [1, 2]))

    assert StarHistories(Store(tmp_path)).find("a/b", NOW) == NO_HISTORY
    assert StarHistories(Store(tmp_path), str(path)).find("a/c", NOW) == NO_HISTORY


def test_a_table_that_cannot_be_read_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "history.csv").write_text("nothing,of,use\n1,2,3\n")
    star_histories = StarHistories(Store(tmp_path), str(tmp_path / "history.csv"))

    with caplog.at_level(logging.WARNING):
        assert [star_histories.find("a/b", NOW) for _ in range(3)] == [NO_HISTORY] * 3

    assert caplog.text.count("no star histories") == 1


def test_a_replaced_table_is_loaded_again(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("a/b", [1, 2]))
    star_histories = StarHistories(Store(tmp_path), str(path))
    before = star_histories.find("a/b", NOW)

    _write(tmp_path, one_history("a/b", [1, 2, 3]))

    assert (before["history"]["stars"], star_histories.find("a/b", NOW)["history"]["stars"]) == ([1, 2], [1, 2, 3])


def test_a_damaged_growth_bundle_gives_no_forecast(tmp_path: Path) -> None:
    path = _write(tmp_path, one_history("a/b", [1, 2]))
    store = Store(tmp_path)
    store.bundles.mkdir()
    store.latest_growth.write_text("0" * 64)

    result = StarHistories(store, str(path)).find("a/b", NOW)

    assert (result["history"]["stars"], result["forecast"]) == ([1, 2], None)


@pytest.mark.thorough
def test_the_newest_growth_bundle_continues_the_history(tmp_path: Path) -> None:
    table = histories(120)
    short = one_history("new/short", [1, 2, 3])
    path = _write(tmp_path, table, short)
    store = Store(tmp_path / "store")
    tune_growth(GrowthSection(str(path), horizons=[30, 90], train_until="2024-02-01"), TuningSection(), store, now=NOW)
    name = str(table["full_name"].iloc[0])
    own = table[table["full_name"] == name]

    star_histories = StarHistories(store, str(path))
    result = star_histories.find(name, NOW)

    points = forecast_growth(load_newest_growth_bundle(store), own).points
    assert [(item["days"], item["stars"], item["low"], item["high"]) for item in result["forecast"]] == [
        (point.days, point.stars, point.low, point.high) for point in points
    ]
    last = own["date"].iloc[-1]
    assert result["forecast"][0]["date"] == (last + pd.Timedelta(days=30)).date().isoformat()
    assert star_histories.find("new/short", NOW)["forecast"] is None
    assert star_histories.find("new/short", NOW)["history"]["stars"] == [1, 2, 3]


def _write(folder: Path, *parts: pd.DataFrame) -> Path:
    path = folder / "history.parquet"
    pd.concat(parts, ignore_index=True).to_parquet(path)
    return path
