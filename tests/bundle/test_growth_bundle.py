"""The growth bundle: it forecasts as it was tested, and an invalid one is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.forecast import Forecast, forecast_growth
from stargaze.bundle.growth_bundle import GrowthBundle, compress_growth, expand_growth
from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import GrowthSection, TuningSection
from stargaze.errors import BadDataError
from stargaze.pipeline.status import list_artifacts
from stargaze.store import Store
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.conftest import Ended
from tests.histories import histories, one_history

pytestmark = pytest.mark.thorough

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = '[tuning]\ntarget = "growth"\n[growth]\nhorizons = [30, 90]\ntrain_until = "2024-02-01"\nhistory_file = "history.csv"\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a growth bundle of synthetic histories."""
    folder = tmp_path_factory.mktemp("growth")
    histories(120).to_parquet(folder / "history.parquet")
    section = GrowthSection(str(folder / "history.parquet"), horizons=[30, 90], train_until="2024-02-01")
    tune_growth(section, TuningSection(), Store(folder / "store"), now=NOW)
    return Store(folder / "store")


@pytest.fixture
def folder(store: Store) -> Path:
    return store.bundles / store.latest_growth.read_text().strip()


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_growth_bundle_is_stored_under_its_digest(store: Store, folder: Path) -> None:
    assert GrowthBundle.load(folder).digest == folder.name
    assert not store.latest.exists()
    assert sorted(path.name for path in folder.iterdir()) == [
        "bundle.json",
        "difficulty-30.txt",
        "difficulty-90.txt",
        "growth-30.txt",
        "growth-90.txt",
        "manifest.json",
    ]


def test_the_description_contains_scores_and_baselines(folder: Path) -> None:
    meta = GrowthBundle.load(folder).meta

    methods = {row["method"] for row in meta["scores"]}
    assert {"stargaze", "no change", "last growth", "drift", "seasonal", "linear", "log-linear"} <= methods
    assert meta["kind"] == "growth"
    assert meta["train_until"] == "2024-02-01"


def test_a_forecast_starts_at_the_last_count(folder: Path) -> None:
    """Ten stars a week: about forty in a month."""
    forecasts = forecast_growth(GrowthBundle.load(folder), one_history("a/b", 1000 + 10.0 * np.arange(40))).points

    assert [item.days for item in forecasts] == [30, 90]
    assert all(isinstance(item, Forecast) and item.low <= item.stars <= item.high for item in forecasts)
    assert 1390 <= forecasts[0].low < forecasts[0].stars < forecasts[1].stars
    assert 1405 < forecasts[0].stars < 1460


def test_optional_columns_may_be_absent(folder: Path) -> None:
    """Names, dates and stars are enough."""
    required = one_history("a/b", 1000 + 10.0 * np.arange(40))[["full_name", "date", "stars"]]

    assert forecast_growth(GrowthBundle.load(folder), required).points[0].stars > 1390


def test_a_history_that_is_too_short_is_refused(folder: Path) -> None:
    with pytest.raises(BadDataError, match=r"a/b: the history covers 9 weeks .*, a forecast needs 26"):
        forecast_growth(GrowthBundle.load(folder), one_history("a/b", np.arange(500.0, 510.0)))


def test_only_counts_after_a_break_are_used(folder: Path) -> None:
    stars = np.concatenate([np.full(40, 5000.0), np.full(10, 900.0)])

    with pytest.raises(BadDataError, match=r"covers 9 weeks without a break"):
        forecast_growth(GrowthBundle.load(folder), one_history("a/b", stars))


def test_two_repositories_at_once_are_refused(folder: Path) -> None:
    with pytest.raises(BadDataError, match="has 2 repositories"):
        forecast_growth(GrowthBundle.load(folder), histories(2))


def test_each_kind_of_bundle_refuses_the_other_in_one_line(folder: Path, bundle_folder: Path) -> None:
    with pytest.raises(BadBundleError, match=r"is a bundle of kind 'growth', but one of kind 'stars' is needed"):
        Bundle.load(folder)
    with pytest.raises(BadBundleError, match=r"is a bundle of kind 'stars', but one of kind 'growth' is needed"):
        GrowthBundle.load(bundle_folder)


@pytest.mark.parametrize("name", ["growth-30.txt", "difficulty-90.txt", "bundle.json"])
def test_a_changed_file_is_refused_before_it_is_parsed(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes() + b" ")

    with pytest.raises(BadBundleError, match=name):
        GrowthBundle.load(copy)


def _other_forecast(meta: dict[str, Any]) -> None:
    meta["prototype"]["growth"][0][0] += 0.01


def _nan(meta: dict[str, Any]) -> None:
    meta["prototype"]["growth"][0][0] = "nan"


@pytest.mark.parametrize(
    "change",
    [
        _other_forecast,
        _nan,
        lambda meta: meta.update(format=1),
        lambda meta: meta.update(horizons=[]),
        lambda meta: meta.update(history_weeks="many"),
        lambda meta: meta.update(history_weeks=10**12),
        lambda meta: meta["features"].append("unheard-of"),
        lambda meta: meta["horizons"][0].update(model="nowhere.txt"),
        lambda meta: meta["horizons"][0].update(milestone_offsets=[1.0, -1.0]),
        lambda meta: meta.pop("milestone_coverage"),
        lambda meta: meta["prototype"].update(history=meta["prototype"]["history"][-3:]),
        lambda meta: meta.pop("prototype"),
    ],
)
def test_an_inconsistent_description_is_refused(copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Even if the manifest matches."""
    meta = json.loads((copy / "bundle.json").read_text())
    change(meta)
    (copy / "bundle.json").write_text(json.dumps(meta))
    write_manifest(copy)

    with pytest.raises(BadBundleError):
        GrowthBundle.load(copy)


def test_a_bundle_that_was_fitted_on_other_features_names_the_command_to_run_again(copy: Path) -> None:
    """Growth bundles from before the renames have other feature names; their keys are those of this version."""
    meta = json.loads((copy / "bundle.json").read_text())
    meta["features"] = ["age_of_" + meta["features"][0], *meta["features"][1:]]
    meta["cut"] = meta.pop("train_until")
    (copy / "bundle.json").write_text(json.dumps(meta))
    write_manifest(copy)

    with pytest.raises(BadBundleError, match="the growth bundle was fitted on other features") as raised:
        GrowthBundle.load(copy)

    assert raised.value.hint == 'stargaze tune with tuning.target = "growth" writes one for this version'


def test_a_file_without_mention_in_the_description_is_refused(copy: Path) -> None:
    (copy / "model.pkl").write_bytes(b"\x80\x04.")
    write_manifest(copy)

    with pytest.raises(BadBundleError, match=r"and the manifest differ in model\.pkl"):
        GrowthBundle.load(copy)


def test_expand_growth_inverts_compress_growth() -> None:
    growth = np.array([-0.5, -0.001, 0.0, 0.003, 0.7])

    np.testing.assert_allclose(expand_growth(compress_growth(growth)), growth, atol=1e-12)


# ---- command line -------------------------------------------------------------------------------------------------


def test_tune_writes_a_growth_bundle_and_prints_the_baselines(run: Callable[..., Ended]) -> None:
    histories(120).to_csv("history.csv", index=False)
    Path("stargaze.toml").write_text(CONFIG)

    ended = run("tune")

    name = Path("store/bundles/latest-growth").read_text().strip()
    assert ended.code == 0
    assert f"growth bundle {name[:12]} of 120 repositories" in ended.out
    assert "log-linear, fitted" in ended.out
    assert GrowthBundle.load(Path("store/bundles") / name).weeks == 26
    forecast = run("forecast", "owner0/name0")
    assert forecast.code == 0
    assert "owner0/name0: the star history ends on 2024-11-" in forecast.out
    assert not Path("store/bundles/latest").exists()


def test_status_shows_the_growth_bundle(store: Store) -> None:
    contents = {row["artifact"]: row["contents"] for row in list_artifacts(store)}

    assert contents["growth bundle"] == store.latest_growth.read_text()[:12]


def test_tuning_twice_writes_the_same_bundle(run: Callable[..., Ended]) -> None:
    histories(120).to_csv("history.csv", index=False)
    Path("stargaze.toml").write_text(CONFIG)

    tuned = [json.loads(run("tune", "--json").out) for _ in range(2)]

    assert tuned[0]["bundle"] == tuned[1]["bundle"]
    assert tuned[0]["scores"] == tuned[1]["scores"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (one_history("a/b", np.arange(500.0, 510.0)), "growth over 30 days from 26 weeks"),
        (
            one_history("a/b", [5.0, 6.0]).assign(date="2051-01-01"),
            "history.csv: 2 of 2 rows are refused; row 1: date is '2051-01-01': in the future",
        ),
        (
            one_history("a/b", [5.0, -6.0, -7.0]),
            "history.csv: 2 of 3 rows are refused; row 2: stars is '-6.0': negative",
        ),
        (one_history("a/b", [5.0]).rename(columns={"date": "moment"}), "history.csv: no column for date"),
    ],
)
def test_invalid_input_is_one_line_with_its_position(
    run: Callable[..., Ended], table: pd.DataFrame, message: str
) -> None:
    table.to_csv("history.csv", index=False)
    Path("stargaze.toml").write_text(CONFIG)

    ended = run("tune")

    assert ended.code == 2
    assert ended.error.startswith(message)
    assert not Path("store/bundles").exists()


def test_a_missing_history_names_the_command_that_fetches_it(run: Callable[..., Ended]) -> None:
    Path("stargaze.toml").write_text('[tuning]\ntarget = "growth"\n')

    ended = run("tune")

    assert (ended.code, ended.error) == (3, "store/star_history.parquet: no such history")
    assert ended.hint.startswith("stargaze fetch --name")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("tune", "--resume"), '--resume has no effect when tuning.target is "growth"'),
        (("tune", "--trials", "9"), '--trials has no effect when tuning.target is "growth"'),
        (("tune", "--no-racing"), '--racing has no effect when tuning.target is "growth"'),
        (("run",), "stargaze run needs tuning.target"),
    ],
)
def test_options_without_effect_on_growth_are_refused(
    run: Callable[..., Ended], argv: tuple[str, ...], message: str
) -> None:
    Path("stargaze.toml").write_text('[tuning]\ntarget = "growth"\n')

    ended = run(*argv)

    assert ended.code == 2
    assert ended.error.startswith(message)
