"""The factors of an explanation multiply to exactly the number shown, for every repository and family."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.serialization import Ensemble, deserialize_model, serialize_model
from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.features.matrix import CATALOG, category_positions
from stargaze.serve.prediction.explanation import MAX_FACTORS, Explanation, explain
from stargaze.serve.prediction.labels import UNKNOWN, feature_label, format_value
from stargaze.serve.prediction.predict import estimate_without_popularity, predict, records_of
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES

BOOSTED_AND_BAGGED = ("lightgbm", "randomized-boosting", "random-forest", "extra-trees")
EXACT = {"catboost", "dummy", "elastic-net", "lightgbm", "randomized-boosting", "ridge"}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "perceptron": {"max_iter": 5},
    "catboost": {"iterations": 20},
    "histogram-boosting": {"max_iter": 20},
    **{family: {"n_estimators": 10} for family in BOOSTED_AND_BAGGED},
}


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def product(explanation: Explanation) -> float:
    factors = math.prod(factor.factor for factor in explanation.factors)
    return (explanation.baseline_stars + 1) * factors * explanation.other_factors


@pytest.mark.thorough
def test_the_factors_of_every_known_repository_multiply_to_the_number_shown(bundle: Bundle) -> None:
    predictions = predict(bundle, bundle.known)

    assert len(predictions) == 2000
    for prediction in predictions:
        assert prediction.explanation is not None
        assert product(prediction.explanation) == pytest.approx(prediction.expected_stars + 1, rel=1e-9)


def test_the_factors_without_popularity_multiply_to_their_own_number(bundle: Bundle) -> None:
    meta = bundle.meta | {"spreads": bundle.meta["spreads"] | {"activity": bundle.meta["spreads"]["all"]}}
    intervals = dataclasses.asdict(bundle.answer_policies[0].intervals)
    answers = [{"policy": policy, "intervals": intervals} for policy in ("all", "activity")]
    assert (
        estimate_without_popularity(bundle, bundle.known_features[:2], records_of(bundle.known.head(2))) == [None] * 2
    )
    both = dataclasses.replace(bundle, meta=meta | {"answer_policies": answers})
    both.__dict__["spreads"] = {"all": bundle.spreads["all"], "activity": Zero()}

    assert estimate_without_popularity(both, both.known_features[:0], []) == []
    rows = estimate_without_popularity(both, both.known_features[:50], records_of(both.known.head(50)))

    for row in rows:
        assert row is not None
        assert row["policy"] == "activity"
        assert row["interval_low"] <= row["interval_high"]
        why = row["explanation"]
        assert not {item["feature"] for item in why["factors"]} & {"forks", "subscribers", "fork_rate"}
        factors = math.prod(item["factor"] for item in why["factors"])
        assert (why["baseline_stars"] + 1) * factors * why["other_factors"] == pytest.approx(row["expected_stars"] + 1)


class Zero:
    """A model of the prediction error that is always the same."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.ones(len(inputs))


@pytest.mark.thorough
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_factors_of_every_family_multiply_to_the_number_shown(family: str, bundle: Bundle) -> None:
    """Clipped predictions and extreme and missing values included."""
    rows, names = bundle.known.head(120), bundle.meta["features"]["all"]
    inputs = bundle.select_inputs(bundle.features(rows), "all")
    target = np.log1p(rows["stars"].to_numpy()) - 2.0  # some predictions are below 0 and clipped
    arrays = Arrays(inputs, target, np.zeros(len(rows), dtype=int), tuple(category_positions(names)))
    model = fit(FAMILIES[family], dict(SMALL.get(family, {})), arrays, np.arange(len(rows)), 0)
    other = dataclasses.replace(bundle)
    other.__dict__["models"] = {"all": Ensemble((1.0,), (deserialize_model(*serialize_model(model)),))}
    features = np.vstack(
        [
            bundle.features(rows.head(40)),
            np.full((1, len(bundle.columns)), np.nan),
            np.full((1, len(bundle.columns)), 1e6),
        ]
    ).astype("float32")
    predicted = other.predict(other.select_inputs(features, "all"), "all")

    explanations = explain(other, features, [{}] * len(features), ["all"] * len(features), predicted, max_factors=4)

    assert [product(item) for item in explanations] == pytest.approx(np.exp(predicted), rel=1e-6)
    assert {item.method for item in explanations} == {"exact" if family in EXACT else "sampled"}


def test_all_unknown_values_are_one_factor(bundle: Bundle) -> None:
    frame = schema.conform(pd.DataFrame([{"full_name": "a/b", "forks": 7.0, "license": "wtfpl"}]))

    explanation = predict(bundle, frame, max_factors=100)[0].explanation

    assert explanation is not None
    values = {factor.feature: factor.value for factor in explanation.factors}
    assert values["forks"] == "7"
    assert [name for name in values if name == UNKNOWN] == [UNKNOWN]
    assert "forks" not in values[UNKNOWN]
    assert " more" in values[UNKNOWN]
    assert "unknown" not in {value for name, value in values.items() if name != UNKNOWN}


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_every_feature_has_a_plain_label_and_values(name: str) -> None:
    label = feature_label(name)

    assert 2 <= len(label) <= 45
    assert not {"_", ";"} & set(label)
    if CATALOG[name].kind != "category":
        assert all(format_value(name, number) for number in (0.0, 1.0, 12.5, 1e9, -3.0))
        assert format_value(name, math.nan) == UNKNOWN


@pytest.mark.thorough
@pytest.mark.parametrize("missing", [(), ("forks",), ("forks", "subscribers", "contributors", "license", "created_at")])
def test_the_factors_of_a_tuned_bundle_multiply_for_every_known_repository(
    tuned_bundle: Bundle, missing: tuple[str, ...]
) -> None:
    frame = tuned_bundle.known.copy()
    for name in missing:
        frame[name] = schema.empty(len(frame))[name]

    for prediction in predict(tuned_bundle, frame):
        assert prediction.explanation is not None
        assert prediction.explanation.method == "exact"
        assert product(prediction.explanation) == pytest.approx(prediction.expected_stars + 1, rel=1e-6)
        assert prediction.interval_low <= prediction.expected_stars <= prediction.interval_high
        assert 0.98 < prediction.explanation.other_factors < 1.02 or len(prediction.explanation.factors) == MAX_FACTORS


@pytest.mark.thorough
def test_nothing_but_rounding_and_limits_is_left_to_the_other_factors(tuned_bundle: Bundle) -> None:
    """With all factors listed, each estimate within the limits is their product."""
    for prediction in predict(tuned_bundle, tuned_bundle.known, max_factors=100):
        assert prediction.explanation is not None
        if prediction.expected_stars > 0:
            assert prediction.explanation.other_factors == pytest.approx(1.0, abs=1e-4)
