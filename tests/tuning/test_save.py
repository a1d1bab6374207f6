"""From the best trial to a bundle that answers."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.artifacts import Store
from stargaze.bundle import Bundle
from stargaze.config import POLICIES, TuningSection
from stargaze.features import schema
from stargaze.features.table import read_both
from stargaze.tuning.save import save_best
from tests.tuning.conftest import KEPT, fill

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BEST = {
    "family": "ridge",
    "parameters": {"alpha": 5.0},
    "rmsle": 0.6,
    "folds": [0.5, 0.6, 0.7],
    "seconds": 1.0,
    "stopped": "done",
}
Saved = tuple[Store, Path, dict[str, dict[str, float]]]


def save(store: Store, **changed: Any) -> tuple[Path, dict[str, dict[str, float]]]:
    """Save the best trial of a store."""
    return save_best(TuningSection(**changed), store, *read_both(store), BEST, 7, NOW)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, few: pd.DataFrame) -> Saved:
    """A store whose best trial was saved."""
    store = Store(tmp_path_factory.mktemp("saved"))
    fill(store, few)
    return (store, *save(store))


def test_the_bundle_answers_and_is_the_newest(saved: Saved) -> None:
    store, folder, _ = saved

    bundle = Bundle.load(folder)

    bundle.check_prototype()
    assert folder == store.bundles / bundle.digest
    assert store.latest.read_text() == bundle.digest + "\n"
    assert len(bundle.estimate(bundle.known)) == len(bundle.known)


def test_every_policy_up_to_the_estimate_travels(saved: Saved) -> None:
    _, folder, scores = saved

    meta = Bundle.load(folder).meta

    assert tuple(scores) == POLICIES
    assert meta["scores"] == scores
    assert set(meta["models"]) == set(meta["features"]) == {"static", "activity", "all"}
    assert all(
        {"rmsle", "r2", "mdape", "rho", "coverage", "cv_rmsle", "cv_spread"} <= set(of) for of in scores.values()
    )


def test_it_says_from_what_it_was_made(saved: Saved) -> None:
    store, folder, _ = saved
    table, feature_set = read_both(store)

    meta = Bundle.load(folder).meta

    assert meta["made_at"] == "2026-03-01T12:00:00+00:00"
    assert (meta["family"], meta["parameters"], meta["trials"]) == ("ridge", {"alpha": 5.0}, 7)
    assert meta["data"]["fingerprint"] == table.fingerprint
    assert meta["data"]["feature_set"] == feature_set.digest
    assert meta["data"]["training_rows"] == len(table.training)
    assert set(meta["versions"]) >= {"python", "lightgbm", "scikit-learn", "skops"}


def test_quantiles_and_background_are_of_training_rows_only(saved: Saved) -> None:
    store, folder, _ = saved
    table, feature_set = read_both(store)

    meta = Bundle.load(folder).meta

    stars = table.repositories["stars"].iloc[table.training]
    assert (meta["star_quantiles"][0], meta["star_quantiles"][-1]) == (stars.min(), stars.max())
    typical = dict(zip(KEPT["all"], meta["background"]["all"], strict=True))
    inputs = table.inputs(feature_set, "all").iloc[table.training]
    assert typical["forks"] == inputs["forks"].median()
    assert typical["language"] == inputs["language"].mode()[0]


def test_the_same_data_and_seed_make_the_same_predictor(saved: Saved, tmp_path: Path) -> None:
    """Byte by byte but for skops' files, which hold the time and the addresses of objects."""
    store, folder, _ = saved
    copy = Store(Path(shutil.copytree(store.root, tmp_path / "copy")))
    first = Bundle.load(folder)

    again = Bundle.load(save(copy)[0])

    assert again.meta == first.meta
    assert again.content["known.parquet"] == first.content["known.parquet"]
    assert again.estimate(first.known).tolist() == first.estimate(first.known).tolist()


@pytest.mark.parametrize(("known", "expected"), [(0, 0), (10, 10)])
def test_as_many_repositories_travel_as_the_config_says_most_starred_first(
    saved: Saved, tmp_path: Path, known: int, expected: int
) -> None:
    copy = Store(Path(shutil.copytree(saved[0].root, tmp_path / "copy")))
    table, _ = read_both(copy)

    bundle = Bundle.load(save(copy, known=known)[0])

    assert len(bundle.known) == expected
    least = table.repositories["stars"].nlargest(known).min() if known else 0
    assert (bundle.known["stars"] >= least).all()


def test_a_policy_that_estimates_and_explains_is_one_model(saved: Saved, tmp_path: Path) -> None:
    copy = Store(Path(shutil.copytree(saved[0].root, tmp_path / "copy")))

    folder, _ = save(copy, estimate="static", explain="static")

    assert sorted(path.name for path in folder.iterdir() if path.name.startswith("model")) == ["model-static.skops"]
    Bundle.load(folder).check_prototype()


def test_no_sentence_and_no_path_travels(saved: Saved) -> None:
    store, folder, _ = saved

    assert str(store.root) not in (folder / "bundle.json").read_text()
    assert json.loads((folder / "bundle.json").read_text())["prototype"]["record"]["full_name"]


def test_what_is_not_told_is_answered_under_a_narrower_policy(saved: Saved) -> None:
    """A model takes a missing count for none at all: that would be a small number with a small interval."""
    bundle = Bundle.load(saved[1])
    widest = bundle.steps[0]
    whole = bundle.known.head(3)
    partly = whole.assign(**dict.fromkeys(set(widest.needs) & set(whole.columns), float("nan")))

    assert widest.needs
    assert bundle.answer(whole).policy.tolist() == ["all"] * 3
    assert set(bundle.answer(partly).policy) <= {"activity", "static"}
    assert all(bundle.missing(partly, widest) != "")


def test_nothing_told_is_answered_under_the_narrowest_policy(saved: Saved) -> None:
    bundle = Bundle.load(saved[1])
    unknown = schema.conform(pd.DataFrame({"full_name": ["a/b"]}))

    answer = bundle.answer(unknown)

    assert answer.policy.tolist() == ["static"]
    assert 0 <= answer.low[0] <= answer.high[0]
