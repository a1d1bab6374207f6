"""The past of a repository: few enough points to draw, its ends among them, and a forecast where one can be made."""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.growth_bundle import forecast
from stargaze.config import GrowthSection, TuningSection
from stargaze.serve.lookup.star_history import NOTHING, POINTS, StarHistories, thinned
from stargaze.serve.prediction.forecast import newest
from stargaze.store import Store
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.histories import histories, one_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(0, 5_000), st.integers(2, 200))
def test_thinning_keeps_both_ends_the_order_and_no_more_than_asked(number: int, most: int) -> None:
    places = thinned(number, most)

    assert len(places) == min(number, most)
    assert places == sorted(set(places))
    assert not places or (places[0], places[-1]) == (0, number - 1)


@given(st.integers(121, 5_000))
def test_thinning_is_even(number: int) -> None:
    places = thinned(number)
    gaps = {after - before for before, after in itertools.pairwise(places)}

    assert max(gaps) - min(gaps) <= 1


def test_a_history_is_found_whatever_the_case(tmp_path: Path) -> None:
    path = _written(tmp_path, one_history("Own/Name", list(range(10, 210))), one_history("own/other", [1, 2]))

    found = StarHistories(Store(tmp_path), str(path)).of("oWn/nAME", NOW)

    assert len(found["history"]["dates"]) == len(found["history"]["stars"]) == POINTS
    assert (found["history"]["dates"][0], found["history"]["stars"][0]) == ("2022-01-03", 10)
    assert found["history"]["stars"][-1] == 209
    assert found["forecast"] is None


def test_what_fetch_gathers_week_by_week_is_added_up(tmp_path: Path) -> None:
    weeks = pd.date_range("2024-01-01", periods=3, freq="7D", tz="UTC")
    pd.DataFrame({"full_name": "a/b", "week": weeks, "stars": [5, 2, 1], "days": [[0] * 7] * 3}).to_parquet(
        Store(tmp_path).star_history
    )

    found = StarHistories(Store(tmp_path)).of("a/b", NOW)

    assert found["history"] == {"dates": ["2024-01-08", "2024-01-15", "2024-01-22"], "stars": [5, 7, 8]}


def test_missing_files_and_unknown_names_have_no_past(tmp_path: Path) -> None:
    path = _written(tmp_path, one_history("a/b", [1, 2]))

    assert StarHistories(Store(tmp_path)).of("a/b", NOW) == NOTHING
    assert StarHistories(Store(tmp_path), str(path)).of("a/c", NOW) == NOTHING


def test_a_table_that_cannot_be_read_is_told_once_and_is_no_past(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "history.csv").write_text("nothing,of,use\n1,2,3\n")
    past = StarHistories(Store(tmp_path), str(tmp_path / "history.csv"))

    with caplog.at_level(logging.WARNING):
        assert [past.of("a/b", NOW) for _ in range(3)] == [NOTHING] * 3

    assert caplog.text.count("no histories are shown") == 1


def test_a_table_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = _written(tmp_path, one_history("a/b", [1, 2]))
    past = StarHistories(Store(tmp_path), str(path))
    before = past.of("a/b", NOW)

    _written(tmp_path, one_history("a/b", [1, 2, 3]))

    assert (before["history"]["stars"], past.of("a/b", NOW)["history"]["stars"]) == ([1, 2], [1, 2, 3])


def test_a_growth_bundle_that_is_not_sound_foresees_nothing(tmp_path: Path) -> None:
    path = _written(tmp_path, one_history("a/b", [1, 2]))
    store = Store(tmp_path)
    store.bundles.mkdir()
    store.latest_growth.write_text("0" * 64)

    found = StarHistories(store, str(path)).of("a/b", NOW)

    assert (found["history"]["stars"], found["forecast"]) == ([1, 2], None)


@pytest.mark.thorough
def test_the_newest_growth_bundle_goes_on_from_the_end_of_the_history(tmp_path: Path) -> None:
    table = histories(120)
    short = one_history("new/short", [1, 2, 3])
    path = _written(tmp_path, table, short)
    store = Store(tmp_path / "store")
    tune_growth(GrowthSection(str(path), horizons=[30, 90], cut="2024-02-01"), TuningSection(), store, now=NOW)
    name = str(table["full_name"].iloc[0])
    own = table[table["full_name"] == name]

    past = StarHistories(store, str(path))
    found = past.of(name, NOW)

    ahead = forecast(newest(store), own)
    assert [(one["days"], one["stars"], one["low"], one["high"]) for one in found["forecast"]] == [
        (one.days, one.stars, one.low, one.high) for one in ahead
    ]
    last = own["date"].iloc[-1]
    assert found["forecast"][0]["date"] == (last + pd.Timedelta(days=30)).date().isoformat()
    assert past.of("new/short", NOW)["forecast"] is None
    assert past.of("new/short", NOW)["history"]["stars"] == [1, 2, 3]


def _written(folder: Path, *parts: pd.DataFrame) -> Path:
    path = folder / "history.parquet"
    pd.concat(parts, ignore_index=True).to_parquet(path)
    return path
