"""Growth models are fitted on examples that end before train_until, scored on later ones, and beat the baselines."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.growth_bundle import drift, log_growth
from stargaze.cli import main
from stargaze.config import GrowthSection, TuningSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features.history.clean import clean_history
from stargaze.features.history.features import StarCounts
from stargaze.features.history.read import tidy_history
from stargaze.store import Store
from stargaze.tuning.growth.evaluate import BASELINES, OURS, evaluate_horizons, fitted_log_linear, growth_scores
from stargaze.tuning.growth.examples import MAX_COUNT_GAP, Examples, growth_examples
from stargaze.tuning.growth.fit import BLOCK, MIN_EXAMPLES, _forward_chaining_blocks
from stargaze.tuning.growth.tune_growth import fit_horizons, train_until_day, tune_growth
from tests.histories import histories, one_history

pytestmark = pytest.mark.thorough

SECTION = GrowthSection(horizons=[30, 90], train_until="2024-02-01")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return histories(120)


@pytest.fixture(scope="module")
def examples(history: pd.DataFrame) -> Examples:
    return growth_examples(StarCounts.from_frame(clean_history(history).frame), 26, [90], ["Go"])[90]


def test_targets_are_the_growth_after_the_horizon(examples: Examples, history: pd.DataFrame) -> None:
    origins = examples.origins
    frame = origins.counts.frame.iloc[origins.rows]
    later = frame.assign(date=frame["date"] + pd.Timedelta(days=91)).merge(
        history, on=["full_name", "date"], suffixes=("", "_later")
    )

    expected = log_growth(later["stars"].to_numpy(), later["stars_later"].to_numpy())

    assert len(later) == len(examples)
    np.testing.assert_allclose(examples.growth, expected, atol=0.05)


def test_training_targets_use_no_count_after_train_until(examples: Examples) -> None:
    train_until = train_until_day(SECTION)
    train, test = examples.before(train_until), examples.since(train_until)

    assert len(train)
    assert len(test)
    assert np.all(train.origins.day + 90 + MAX_COUNT_GAP <= train_until)
    assert np.all(test.origins.day >= train_until)


def test_training_examples_of_a_block_end_before_it(examples: Examples) -> None:
    train_until = train_until_day(SECTION)

    blocks = list(_forward_chaining_blocks(examples.before(train_until), train_until))

    assert blocks
    for before, block in blocks:
        assert np.all(before.origins.day + 90 + MAX_COUNT_GAP <= block.origins.day.min())
        assert np.ptp(block.origins.day) < BLOCK
        assert min(len(before), len(block)) >= MIN_EXAMPLES


def test_baselines_extrapolate_as_their_names_say() -> None:
    """Ten stars a week for a year, then twenty; the last origin is two weeks after the change."""
    stars = 1000 + np.concatenate([10.0 * np.arange(61), 600 + 20.0 * np.arange(1, 5)])
    counts = StarCounts.from_frame(clean_history(one_history("a/b", stars)).frame)
    origins = growth_examples(counts, 26, [1], [])[1].origins
    last = origins.take(origins.rows == origins.rows.max())

    week = {
        name: float((np.expm1(np.log1p(last.current_stars) + baseline(last, 7)) - last.current_stars)[0])
        for name, baseline in BASELINES.items()
    }

    assert week["no change"] == pytest.approx(0.0)
    assert week["last growth"] == pytest.approx((10 + 10 + 20 + 20) / 4)
    assert week["drift"] == pytest.approx((24 * 10 + 2 * 20) / 26)
    assert week["seasonal"] == pytest.approx(10.0)
    assert 10.0 < week["linear"] < 11.0
    assert 9.0 < week["log-linear"] < 13.0


def test_the_seasonal_baseline_uses_the_whole_last_year_for_longer_horizons() -> None:
    """The season ends at the origin, so its gain is over 365 days and not over the whole horizon."""
    counts = StarCounts.from_frame(clean_history(one_history("a/b", 1000 + 10.0 * np.arange(80))).frame)
    origins = growth_examples(counts, 26, [1], [])[1].origins
    last = origins.take(origins.rows == origins.rows.max())

    gained = np.expm1(np.log1p(last.current_stars) + BASELINES["seasonal"](last, 730)) - last.current_stars

    assert gained[0] == pytest.approx(730 / 7 * 10)


def test_the_fitted_log_linear_baseline_is_no_worse_than_the_plain_one_on_its_training_data(examples: Examples) -> None:
    plain = growth_scores(examples, BASELINES["log-linear"](examples.origins, 90))["r2"]

    assert growth_scores(examples, fitted_log_linear(examples, examples))["r2"] >= plain


def test_scores_are_of_log_growth_and_of_gained_stars(examples: Examples) -> None:
    perfect = growth_scores(examples, examples.growth)
    unchanged = growth_scores(examples, np.zeros(len(examples)))

    assert perfect == {"r2": 1.0, "median_error": pytest.approx(0.0, abs=1e-9), "median_nat": 0.0}
    assert unchanged["median_error"] == pytest.approx(1.0)
    assert unchanged["r2"] < 0.0


def test_the_model_beats_the_baselines_on_fading_growth(history: pd.DataFrame) -> None:
    fitted, examples, _ = fit_horizons(
        SECTION, TuningSection(), history, clean_history(history), lambda _what, _done: None
    )

    rows = pd.DataFrame(evaluate_horizons({days: horizon.model for days, horizon in fitted.items()}, examples))

    model = rows[rows["method"] == OURS].set_index("days")
    others = rows[rows["method"] != OURS].groupby("days").agg({"r2": "max", "median_error": "min"})
    assert model["r2"][90] > others["r2"][90]
    assert model["median_error"][90] < others["median_error"][90]
    assert model["coverage"].between(0.8, 0.97).all()


def test_counts_after_train_until_change_no_model(history: pd.DataFrame) -> None:
    """The bytes are equal although later counts differ, later repositories are added and one is copied."""
    section = dataclasses.replace(SECTION, horizons=[30])
    later = history.copy()
    after = later["date"] >= pd.Timestamp(section.train_until, tz="UTC")
    later.loc[after, "stars"] += 40.0
    new = one_history("owner50/new", 500 + 3.0 * np.arange(30), begin="2024-03-04")
    copy = later[after & (later["full_name"] == later["full_name"].iloc[0])].assign(full_name="owner51/twin")
    later = tidy_history(pd.concat([later, new, copy], ignore_index=True))

    fitted = [
        fit_horizons(section, TuningSection(), table, clean_history(table), lambda _what, _done: None)[0][30]
        for table in (history, later)
    ]

    assert fitted[0].growth_booster == fitted[1].growth_booster
    assert fitted[0].difficulty_booster == fitted[1].difficulty_booster
    assert fitted[0].model.offsets == fitted[1].model.offsets


def test_the_drift_is_the_mean_rate_of_the_window(examples: Examples) -> None:
    origins = examples.origins
    gained = (origins.current_stars - origins.stars[:, 0]) / 182 * 30

    np.testing.assert_allclose(
        drift(origins, 30), np.log1p(origins.current_stars + gained) - np.log1p(origins.current_stars)
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (GrowthSection(train_until="soon"), "growth.train_until should be a date"),
        (GrowthSection(horizons=[]), "growth.horizons should be from 1"),
        (GrowthSection(horizons=[30, -1]), "growth.horizons should be from 1"),
    ],
)
def test_an_invalid_date_or_horizon_is_rejected_before_any_file_is_read(
    tmp_path: Path, section: GrowthSection, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tune_growth(section, TuningSection(), Store(tmp_path), now=NOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_until": "2030-01-01"}, "no example begins after growth.train_until, 2030-01-01"),
        ({"train_until": "2022-03-01"}, "only 0 examples end before growth.train_until, 2022-03-01"),
        ({"horizons": [3650]}, "growth over 3650 days from 26 weeks"),
        ({"history_weeks": 200}, "growth over 30 days from 200 weeks"),
    ],
)
def test_a_history_that_is_too_short_is_rejected_in_one_line(
    tmp_path: Path, history: pd.DataFrame, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "history.parquet"
    history.to_parquet(path)
    section = dataclasses.replace(SECTION, history_file=str(path), **change)

    with pytest.raises(BadDataError) as caught:
        tune_growth(section, TuningSection(), Store(tmp_path / "store"), now=NOW)

    assert message in caught.value.message
    assert "from 2022-01-03 to 2024-11-11" in caught.value.message
    assert caught.value.hint


def test_the_hint_for_an_invalid_date_names_the_config_key() -> None:
    with pytest.raises(ConfigError, match=r"growth\.train_until") as raised:
        train_until_day(GrowthSection(train_until="yesterday"))

    assert raised.value.hint == 'train_until = "2024-07-01"'


def write_config(folder: Path, table: pd.DataFrame) -> Path:
    """Write a table as CSV, and a config that names it."""
    table.to_csv(folder / "table.csv", index=False)
    config = folder / "x.toml"
    lines = ['[tuning]\ntarget = "growth"\n[growth]', f'history_file = "{folder / "table.csv"}"', "horizons = [30, 90]"]
    config.write_text("\n".join([*lines, 'train_until = "2024-02-01"\n']), encoding="utf-8")
    return config


def test_the_command_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = histories(120)[["full_name", "date", "stars"]].astype({"stars": "object"})
    table.loc[4, "stars"] = "unknown"
    arguments = ["tune", "--config", str(write_config(tmp_path, table)), "--store", str(tmp_path / "store")]

    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])

    printed = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert printed["left_out"] == [
        {
            "kind": "row",
            "column": "stars",
            "reason": "not a whole number",
            "rows": 1,
            "example": "row 5: stars is 'unknown'",
        }
    ]


def test_the_error_of_a_short_history_counts_the_rows_that_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"Repository": "kim/a", "Date": pd.date_range("2022-01-01", periods=9, freq="7D"), "Stars": 4})
    table["Stars"] = table["Stars"].astype("object").mask(table.index == 8, "")

    with pytest.raises(SystemExit) as ended:
        main(["tune", "--config", str(write_config(tmp_path, table)), "--store", str(tmp_path / "store")])

    assert ended.value.code == 2
    assert "1 of 9 rows are left out: row 9: stars is missing" in capsys.readouterr().err


def test_two_runs_on_other_days_give_the_same_bundle(tmp_path: Path, history: pd.DataFrame) -> None:
    digests = set()
    for folder, now in (("one", NOW), ("another", NOW + timedelta(days=40))):
        path = tmp_path / folder / "history.parquet"
        path.parent.mkdir()
        history.to_parquet(path)
        section = dataclasses.replace(SECTION, history_file=str(path))
        digests.add(tune_growth(section, TuningSection(), Store(tmp_path / folder / "store"), now=now).bundle.name)

    assert len(digests) == 1
