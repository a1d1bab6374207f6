"""Forecast rows: the newest growth bundle continues the star history of a repository."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.forecast import forecast_growth
from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.config import GrowthSection, TuningSection
from stargaze.errors import BadDataError, MissingInputError
from stargaze.features.history.read import read_history
from stargaze.features.ingest.user_input import UnknownRepositoryError
from stargaze.serve.lookup.star_history import coming_milestone
from stargaze.serve.prediction.local import forecast_rows, milestone_lines
from stargaze.store import Store
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.histories import histories

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIRST_DAY = datetime(2024, 11, 12, tzinfo=UTC)
"""The day after the last one of the histories."""


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> GrowthSection:
    """Generated histories, one of them short."""
    path = tmp_path_factory.mktemp("history") / "history.parquet"
    table = histories(120)
    short = table[table["full_name"] == table["full_name"].iloc[0]].tail(4).assign(full_name="new/short")
    pd.concat([table, short], ignore_index=True).to_parquet(path)
    return GrowthSection(str(path), horizons=[30, 90], train_until="2024-02-01")


@pytest.fixture(scope="module")
def store(section: GrowthSection, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a growth bundle."""
    store = Store(tmp_path_factory.mktemp("forecast"))
    tune_growth(section, TuningSection(), store, now=NOW)
    return store


def test_each_row_starts_from_the_last_count_of_the_history(section: GrowthSection, store: Store) -> None:
    history = read_history(Path(section.history_file), now=NOW).frame
    names = history.loc[history["full_name"] != "new/short", "full_name"].unique()[:2].tolist()
    own = history[history["full_name"] == names[0]]

    rows, errors = forecast_rows(section, store, [names[0], f"https://github.com/{names[1].upper()}"], now=FIRST_DAY)

    assert not errors
    assert [(row["repository"], row["days"]) for row in rows] == [(name, days) for name in names for days in (30, 90)]
    bundle = GrowthBundle.load(store.bundles / store.latest_growth.read_text().strip())
    growth = forecast_growth(bundle, own)
    assert [(row["forecast"], row["low"], row["high"]) for row in rows[:2]] == [
        (point.stars, point.low, point.high) for point in growth.points
    ]
    today = FIRST_DAY.date().isoformat()
    assert [row["milestone"] for row in rows[:2]] == [
        coming_milestone(growth.milestone and growth.milestone.to_json(), today)
    ] * 2
    assert rows[0]["stars"] == own["stars"].iloc[-1]
    assert rows[0]["last_day"] == own["date"].iloc[-1].date().isoformat()


def test_the_error_of_an_unknown_repository_suggests_a_name_or_a_command(section: GrowthSection, store: Store) -> None:
    known = read_history(Path(section.history_file), now=NOW).frame["full_name"].iloc[0]

    with pytest.raises(UnknownRepositoryError) as similar:
        forecast_rows(section, store, [known + "x"], now=NOW)
    with pytest.raises(UnknownRepositoryError) as other:
        forecast_rows(section, store, ["zzzzzz/qqqqqqqq"], now=NOW)

    assert similar.value.hint == f"Did you mean {known}?"
    with pytest.raises(UnknownRepositoryError) as different:
        forecast_rows(section, store, [f"no/{known.partition('/')[2][:3]}"], now=NOW)

    hint = f"add its counts to {section.history_file}, or unset growth.history_file"
    assert different.value.hint == other.value.hint == hint


def test_the_hint_of_a_repository_without_a_fetched_history_is_to_fetch_it(
    section: GrowthSection, store: Store
) -> None:
    Path(section.history_file).rename(store.star_history)
    try:
        with pytest.raises(UnknownRepositoryError) as caught:
            forecast_rows(GrowthSection(), store, ["zzzzzz/qqqqqqqq"], now=NOW)
    finally:
        store.star_history.rename(section.history_file)

    assert caught.value.hint == "stargaze fetch --name zzzzzz/qqqqqqqq --star-history zzzzzz/qqqqqqqq"


def test_rows_that_are_left_out_are_named(section: GrowthSection, store: Store, tmp_path: Path) -> None:
    table = read_history(Path(section.history_file), now=NOW).frame[["full_name", "date", "stars"]]
    table["stars"] = table["stars"].map("{:.0f}".format)
    table.loc[3, "stars"] = "a few"
    table.to_csv(tmp_path / "table.csv", index=False)
    changed = dataclasses.replace(section, history_file=str(tmp_path / "table.csv"))
    lines: list[str] = []

    rows, _ = forecast_rows(changed, store, [table["full_name"].iloc[-1]], now=FIRST_DAY, notify=lines.append)

    assert len(rows) == 2
    assert lines == [f"{tmp_path / 'table.csv'}: 1 row is left out: row 4: stars is 'a few': not a whole number"]


def test_a_history_that_is_too_short_is_an_error(section: GrowthSection, store: Store) -> None:
    with pytest.raises(BadDataError, match="new/short: the history covers 3 weeks"):
        forecast_rows(section, store, ["new/short"], now=NOW)


def test_without_a_growth_bundle_the_hint_names_the_command_that_creates_one(
    section: GrowthSection, tmp_path: Path
) -> None:
    with pytest.raises(MissingInputError) as raised:
        forecast_rows(section, Store(tmp_path), ["a/b"], now=NOW)

    assert raised.value.hint == 'stargaze tune with tuning.target = "growth" writes one'


def test_an_invalid_name_is_rejected_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadDataError):
        forecast_rows(GrowthSection(), Store(tmp_path), ["https://example.org/a/b"], now=NOW)


def test_a_name_without_a_forecast_and_an_excluded_one_do_not_break_the_others(
    section: GrowthSection, store: Store
) -> None:
    all_names = read_history(Path(section.history_file), now=NOW).frame["full_name"].unique().tolist()
    known, other = [name for name in all_names if name != "new/short"][:2]
    names = [known, known.upper(), "new/short", "zzzzzz/qqqqqqqq", other]

    rows, errors = forecast_rows(section, store, names, now=NOW, exclude=[other])

    assert [(row["repository"], row["days"]) for row in rows] == [(known, 30), (known, 90)]
    assert [error.code for error in errors] == ["bad_data", "unknown_repository", "excluded_repository"]


def test_no_milestone_is_in_the_past(section: GrowthSection, store: Store) -> None:
    names = read_history(Path(section.history_file), now=NOW).frame["full_name"].unique()[-9:].tolist()
    now = datetime(2030, 1, 1, tzinfo=UTC)

    rows, _ = forecast_rows(section, store, names, now=now)

    assert all(row["milestone"] is None for row in rows)
    assert all("forecast have passed" in line for line in milestone_lines(rows, now.date()))


def test_each_repository_has_a_line_about_its_next_milestone() -> None:
    milestone = {"stars": 500, "date": "2027-05-09", "earliest": "2027-03-20", "latest": None, "coverage": 0.8}
    row = {"last_day": "2026-12-01", "forecast": 700, "days": 90}
    rows = [
        {**row, "repository": "a/b", "stars": 480, "days": 30, "milestone": milestone},
        {**row, "repository": "a/b", "stars": 480, "milestone": milestone},
        {**row, "repository": "c/d", "stars": 600, "milestone": None},
        {**row, "repository": "e/f", "stars": 480, "milestone": None},
        {**row, "repository": "g/h", "stars": 480, "days": 9, "milestone": None},
    ]

    assert milestone_lines(rows, date(2026, 12, 20)) == [
        "a/b: 500 stars around May 2027 (80%: March 2027 or later)",
        "c/d: 1,000 stars are not expected within 90 days of 2026-12-01",
        "e/f: 500 stars were expected before today",
        "g/h: the star history ends on 2026-12-01, and the days of its forecast have passed",
    ]
