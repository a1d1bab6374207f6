"""The best trials become a bundle that predicts."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.ensemble_families import family_weights, format_families
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES, TuningSection
from stargaze.features import schema
from stargaze.features.dataset import read_dataset_and_features
from stargaze.features.matrix import CATALOG
from stargaze.report.search import list_models
from stargaze.serve.prediction.predict import predict
from stargaze.serve.web.views.bundle_view import BundleView
from stargaze.serve.web.views.model_card import model_card
from stargaze.store import Store
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.training.ensemble import CLEARLY, Candidate
from stargaze.tuning.training.refit import refit
from stargaze.tuning.training.save import save_best
from stargaze.tuning.tune import TuningResult
from tests.tuning.conftest import SELECTED, fill, limit_policies

pytestmark = pytest.mark.thorough


def trial(family: str, rmsle: float, stopped: str = "done", **parameters: Any) -> dict[str, Any]:
    """Return a trial as the search stores it."""
    return {
        "family": family,
        "parameters": parameters,
        "rmsle": rmsle,
        "folds": [rmsle - 0.1, rmsle, rmsle + 0.1],
        "seconds": 1.0,
        "stopped": stopped,
    }


TRIALS = [trial("ridge", 0.7, alpha=9.0), trial("ridge", 0.6, alpha=5.0), trial("ridge", 0.5, "race", alpha=1.0)]
MIXED = [
    trial("lightgbm", 0.4, n_estimators=60, learning_rate=0.1),
    trial("ridge", 0.5),
    trial("nearest-neighbors", 0.6),
    trial("extra-trees", 0.7, n_estimators=15),
]
Saved = tuple[Store, Path, dict[str, dict[str, float]]]


def save(store: Store, **changed: Any) -> tuple[Path, dict[str, dict[str, float]]]:
    """Save the best trial of a store."""
    return save_best(TuningSection(**changed), store, *read_dataset_and_features(store), TRIALS)


@pytest.fixture(scope="module")
def saved_bundle(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> Saved:
    """A store whose best trial was saved."""
    store = Store(tmp_path_factory.mktemp("saved"))
    fill(store, small_sample)
    return (store, *save(store))


def test_the_bundle_predicts_and_is_the_newest(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle

    bundle = Bundle.load(folder)

    bundle.check_prototype()
    assert folder == store.bundles / bundle.digest
    assert store.latest.read_text() == bundle.digest + "\n"
    assert len(bundle.predict_repositories(bundle.known)) == len(bundle.known)


def test_the_bundle_has_a_model_of_every_policy_up_to_that_of_the_estimate(saved_bundle: Saved) -> None:
    _, folder, scores = saved_bundle

    meta = Bundle.load(folder).meta

    assert tuple(scores) == POLICIES
    assert meta["scores"] == scores
    assert set(meta["models"]) == set(meta["features"]) == {"static", "activity", "all"}
    assert all(
        {"rmsle", "r2", "mdape", "rho", "coverage", "cv_rmsle", "cv_spread"} <= set(row) for row in scores.values()
    )


def test_the_description_records_data_trial_and_versions(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle
    table, feature_set = read_dataset_and_features(store)

    meta = Bundle.load(folder).meta

    assert "created_at" not in meta
    assert meta["trials"] == 3
    assert [(item["family"], item["parameters"]) for item in meta["ensemble"]["all"]] == [("ridge", {"alpha": 5.0})]
    assert meta["data"]["fingerprint"] == table.fingerprint
    assert meta["data"]["feature_set"] == feature_set.digest
    assert meta["data"]["training_rows"] == len(table.training)
    assert set(meta["versions"]) >= {"python", "lightgbm", "scikit-learn", "skops"}


def test_with_the_metric_rmse_the_estimate_is_the_mean(saved_bundle: Saved) -> None:
    """The estimate, its explanation and its interval have the same offset."""
    store, folder, _ = saved_bundle
    typical = Bundle.load(folder)
    trials = [{**each, "rmse": 100.0 * each["rmsle"]} for each in TRIALS]
    mean_folder, scores = save_best(TuningSection(metric="rmse"), store, *read_dataset_and_features(store), trials)
    store.latest.write_text(typical.digest + "\n")
    mean = Bundle.load(mean_folder)

    offset = mean.meta["offsets"]["all"]
    known = mean.known.head(40)
    inputs = mean.inputs(known, "all").to_numpy()
    ensemble = mean.models["all"]
    pairs = zip(ensemble.weights, ensemble.models, strict=True)
    members = sum(weight * model.predict(inputs) for weight, model in pairs)
    predictions = predict(mean, known)

    assert typical.meta["offsets"]["all"] == 0.0
    assert 0.0 < offset < 1.0
    assert np.log1p([item.expected_stars for item in predictions]) == pytest.approx(np.clip(members + offset, 0, 20))
    for item in predictions:
        explanation = item.explanation
        assert explanation is not None
        product = (explanation.baseline_stars + 1) * explanation.other_factors
        product *= math.prod(factor.factor for factor in explanation.factors)
        assert product == pytest.approx(item.expected_stars + 1)
        assert item.interval_low <= item.expected_stars <= item.interval_high
    assert scores["all"]["coverage"] > 0.8
    assert mean.meta["metric"] == "rmse"


def test_quantiles_and_background_use_training_rows_only(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle
    table, feature_set = read_dataset_and_features(store)

    meta = Bundle.load(folder).meta

    stars = table.repositories["stars"].iloc[table.training]
    assert (meta["star_quantiles"][0], meta["star_quantiles"][-1]) == (stars.min(), stars.max())
    typical = dict(zip(SELECTED["all"], meta["background"]["all"], strict=True))
    inputs = table.model_inputs(feature_set, "all").iloc[table.training]
    assert typical["forks"] == inputs["forks"].median()
    assert typical["language"] == inputs["language"].mode()[0]


def test_the_same_data_and_seed_give_the_same_bundle(saved_bundle: Saved, tmp_path: Path) -> None:
    """The description, the known repositories and the predictions are equal."""
    store, folder, _ = saved_bundle
    copy = Store(Path(shutil.copytree(store.root, tmp_path / "copy")))
    first = Bundle.load(folder)

    again = Bundle.load(save(copy)[0])

    assert again.meta == first.meta
    assert again.content["known.parquet"] == first.content["known.parquet"]
    assert again.predict_repositories(first.known).tolist() == first.predict_repositories(first.known).tolist()


@pytest.mark.parametrize(("known", "expected"), [(0, 0), (10, 10)])
def test_the_config_sets_the_number_of_known_repositories_most_stars_first(
    saved_bundle: Saved, tmp_path: Path, known: int, expected: int
) -> None:
    copy = Store(Path(shutil.copytree(saved_bundle[0].root, tmp_path / "copy")))
    table, _ = read_dataset_and_features(copy)

    bundle = Bundle.load(save(copy, bundled_repositories=known)[0])

    assert len(bundle.known) == expected
    least = table.repositories["stars"].nlargest(known).min() if known else 0
    assert (bundle.known["stars"] >= least).all()


def test_the_narrowest_policy_has_no_model_of_another(saved_bundle: Saved, tmp_path: Path) -> None:
    copy = Store(Path(shutil.copytree(saved_bundle[0].root, tmp_path / "copy")))

    folder, _ = save(copy, estimate_policy="static")

    models = [path.name for path in folder.iterdir() if path.name.startswith("model")]
    assert models
    assert all(name.startswith("model-static-") for name in models)
    Bundle.load(folder).check_prototype()


def test_the_description_contains_no_path_of_this_machine(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle

    assert str(store.root) not in (folder / "bundle.json").read_text()
    assert json.loads((folder / "bundle.json").read_text())["prototype"]["record"]["full_name"]


def test_the_widest_policy_with_a_known_feature_answers(saved_bundle: Saved) -> None:
    """A single known figure is enough; other missing values do not change the policy."""
    bundle = Bundle.load(saved_bundle[1])
    whole = bundle.known.head(3)
    kept = {name: whole[name] for name in ("full_name", "fetched_at", "created_at", "license")}
    activity, popular = [name for name in SELECTED["activity"] if CATALOG[name].policy == "activity"], ["forks"]

    def answered_by(*names: str) -> set[str]:
        fields = {field for name in names for field in CATALOG[name].source}
        return set(bundle.estimate(schema.conform(whole[[*kept, *(fields - {*kept})]])).policy)

    assert answered_by() == {"static"}
    assert answered_by(activity[0]) == {"activity"}
    assert answered_by(*popular) == {"all"}
    assert answered_by(*activity, *popular) == {"all"}


def test_a_repository_without_any_value_gets_the_narrowest_policy(saved_bundle: Saved) -> None:
    bundle = Bundle.load(saved_bundle[1])
    unknown = schema.conform(pd.DataFrame({"full_name": ["a/b"]}))

    answer = bundle.estimate(unknown)

    assert answer.policy.tolist() == ["static"]
    assert 0 <= answer.low[0] <= answer.high[0]


@pytest.fixture(scope="module")
def mixed_bundle(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> Bundle:
    """A bundle with ensembles of several weak model families."""
    store = Store(tmp_path_factory.mktemp("mixed"))
    fill(store, small_sample)
    return Bundle.load(save_best(TuningSection(), store, *read_dataset_and_features(store), MIXED)[0])


def test_the_bundle_contains_and_describes_the_ensembles(mixed_bundle: Bundle) -> None:
    """The description has the members of each policy, and their gain: a loss that is not clear is ignored."""
    mixed_bundle.check_prototype()

    assert max(len(ensemble.models) for ensemble in mixed_bundle.models.values()) > 1
    for policy, ensemble in mixed_bundle.models.items():
        members, scores = mixed_bundle.meta["ensemble"][policy], mixed_bundle.meta["scores"][policy]
        assert [part["weight"] for part in members] == pytest.approx(ensemble.weights, abs=1e-5)
        assert (len(members) > 1) == (scores["ensemble_gain"] > -CLEARLY * scores["ensemble_error"])


def test_page_report_and_terminal_name_the_same_families(mixed_bundle: Bundle) -> None:
    meta = mixed_bundle.meta
    view = BundleView(mixed_bundle.digest, meta, (), ())
    result = TuningResult(MIXED[0], 3, 0, Path(mixed_bundle.digest), meta["scores"])

    shown = {policy: format_families(weights) for policy, weights in family_weights(meta).items()}

    assert any("%" in text for text in shown.values())
    assert {policy: format_families(scores["families"]) for policy, scores in meta["scores"].items()} == shown
    assert view.families == dict(model_card(view)["facts"])["Models"] == shown["all"]
    assert sorted(row["models"] for row in model_card(view)["policies"]) == sorted(shown.values())
    assert all(f": {text}" in result.as_text() for text in shown.values())
    for policy, rows in list_models(meta).groupby("policy"):
        assert rows.groupby("family")["weight"].sum().round(2).to_dict() == pytest.approx(
            family_weights(meta)[str(policy)], abs=0.01
        )


def test_the_factors_of_an_ensemble_multiply_to_its_prediction(mixed_bundle: Bundle) -> None:
    """(expected + 1) = (baseline + 1) × all factors × rest."""
    for answer in predict(mixed_bundle, mixed_bundle.known.iloc[::40], max_factors=3):
        explanation = answer.explanation
        assert explanation is not None
        factors = math.prod(factor.factor for factor in explanation.factors) * explanation.other_factors
        assert (explanation.baseline_stars + 1) * factors == pytest.approx(answer.expected_stars + 1, rel=1e-6)
        assert answer.interval_low <= answer.expected_stars <= answer.interval_high


def test_an_ensemble_that_is_too_large_loses_its_largest_members(
    mixed_bundle: Bundle, selected_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best one stays, whatever its size."""
    monkeypatch.setattr("stargaze.tuning.training.refit.MAX_BYTES", 1)

    bundle = Bundle.load(
        save_best(TuningSection(), selected_store, *read_dataset_and_features(selected_store), MIXED)[0]
    )

    assert [len(ensemble.models) for ensemble in bundle.models.values()] == [1, 1, 1]
    assert max(len(ensemble.models) for ensemble in mixed_bundle.models.values()) > 1


def test_the_config_limits_the_size_of_the_ensemble(selected_store: Store) -> None:
    trials = [trial("lightgbm", 0.4, n_estimators=15, learning_rate=0.1), trial("extra-trees", 0.5, n_estimators=5)]

    bundle = Bundle.load(
        save_best(TuningSection(ensemble_size=1), selected_store, *read_dataset_and_features(selected_store), trials)[0]
    )

    assert [len(ensemble.models) for ensemble in bundle.models.values()] == [1, 1, 1]


def test_coverage_is_stored_for_each_decade_of_true_stars(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle
    table, _ = read_dataset_and_features(store)

    rows = Bundle.load(folder).meta["scores"]["all"]["coverage_by_decade"]

    assert rows[0]["decade"] == "0"
    assert sum(row["n"] for row in rows) == len(table.test)
    assert all(set(row) == {"decade", "n", "coverage", "width"} for row in rows)


def test_the_coverage_of_each_decade_of_estimates_is_that_of_serving(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle
    table, _ = read_dataset_and_features(store)
    bundle, rows = Bundle.load(folder), table.repositories.iloc[table.test]

    stored = bundle.meta["scores"]["all"]["coverage_by_predicted_decade"]

    answer = bundle.estimate(rows)
    inside, expected = (
        (answer.low <= rows["stars"]) & (rows["stars"] <= answer.high),
        np.round(np.expm1(answer.predicted)),
    )
    assert sum(row["n"] for row in stored) == len(rows)
    for row in stored:
        low, _, high = row["decade"].partition("-")
        chosen = (expected >= float(low)) & (expected < float(high or low) + 1)
        assert chosen.sum() == row["n"]
        assert inside[chosen].mean() == pytest.approx(row["coverage"], abs=1e-4)


def test_each_policy_is_scored_with_the_missing_values_of_live_and_of_typed_requests(saved_bundle: Saved) -> None:
    rows = Bundle.load(saved_bundle[1]).meta["scores"]["all"]["patterns"]

    assert [row["pattern"] for row in rows] == [
        *("live with token", "live without token", "five typed metrics", "one typed metric"),
    ]
    assert all(row["n"] > 0 and 0.5 < row["coverage"] <= 1.0 for row in rows)


def test_the_importance_of_record_fields_is_a_share_and_the_largest_comes_first(saved_bundle: Saved) -> None:
    importance = Bundle.load(saved_bundle[1]).meta["importance"]

    assert set(importance) == {"static", "activity", "all"}
    assert sum(importance["all"].values()) == pytest.approx(1.0, abs=1e-3)
    assert list(importance["all"].values()) == sorted(importance["all"].values(), reverse=True)
    assert {"forks", "subscribers"} & set(list(importance["all"])[:2])
    assert "forks" not in importance["activity"]


def test_outliers_are_in_the_data_and_outside_their_interval(saved_bundle: Saved) -> None:
    store, folder, _ = saved_bundle
    stars = read_dataset_and_features(store)[0].repositories.set_index("full_name")["stars"]

    outliers = Bundle.load(folder).meta["outliers"]

    for item in (*outliers["more"], *outliers["fewer"]):
        assert item["actual_stars"] == stars[item["full_name"]]
        assert item["interval_low"] <= item["expected_stars"] <= item["interval_high"]
    assert all(item["actual_stars"] > item["interval_high"] for item in outliers["more"])
    assert all(item["actual_stars"] < item["interval_low"] for item in outliers["fewer"])


def test_serving_has_the_stored_coverage_on_the_test_set(saved_bundle: Saved) -> None:
    """Serving computes the same intervals as training."""
    store, folder, scores = saved_bundle
    table, _ = read_dataset_and_features(store)
    bundle, rows = Bundle.load(folder), table.repositories.iloc[table.test]

    answer = bundle.estimate(rows)

    inside = (answer.low <= rows["stars"]) & (rows["stars"] <= answer.high)
    assert set(answer.policy) == {"all"}
    assert inside.mean() == pytest.approx(scores["all"]["coverage"], abs=1e-4)


def test_a_bundle_of_one_policy_answers_every_repository(selected_store: Store) -> None:
    """Its models are fitted on all masked copies, also on those without a value of the policy's own."""
    limit_policies(selected_store, "all")

    folder, scores = save(selected_store)

    bundle = Bundle.load(folder)
    bundle.check_prototype()
    assert list(scores) == list(bundle.models) == ["all"]
    nothing = schema.conform(pd.DataFrame({"full_name": ["a/b"], "language": ["C"]}))
    answer = bundle.estimate(nothing)
    assert answer.policy.tolist() == ["all"]
    assert 0 <= answer.low[0] < np.expm1(answer.predicted[0]) < answer.high[0]
    held_out = pd.read_parquet(selected_store.held_out)
    assert set(held_out["policy"]) == {"all"}
    assert "predicted_static" not in held_out


def test_the_first_member_is_the_best_out_of_fold(selected_store: Store) -> None:
    """The scores of trials are optimistic because of early stopping, so they do not decide."""
    table, feature_set = read_dataset_and_features(selected_store)
    worse, better = Candidate(FAMILIES["dummy"], {}, 0), Candidate(FAMILIES["ridge"], {}, 0)

    refitted = refit(table, feature_set, ["all"], [worse, better], 0.9)["all"]

    assert refitted.members[0] == better.complete(len(table.training))
