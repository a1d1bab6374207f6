"""Predictions are consistent: interval, percentile, factors."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.serve.prediction.predict import Prediction, predict, rank_stars, records_of, to_predictions


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    """The bundle that predicts."""
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def repositories(sample: pd.DataFrame) -> pd.DataFrame:
    """Repositories with many and few stars, in random order, and one of which only the name is known."""
    chosen = sample.iloc[::40].sample(frac=1, random_state=0)
    nameless = schema.conform(pd.DataFrame([{"full_name": "nobody/knows"}]))
    return pd.concat([chosen.head(30), nameless, chosen.tail(10)], ignore_index=True)


@pytest.fixture(scope="module")
def predictions(bundle: Bundle, repositories: pd.DataFrame) -> list[Prediction]:
    """Their predictions."""
    return predict(bundle, repositories)


def test_predictions_keep_the_order_of_the_rows(predictions: list[Prediction], repositories: pd.DataFrame) -> None:
    assert [prediction.full_name for prediction in predictions] == repositories["full_name"].tolist()


def test_single_rows_get_the_same_predictions_as_all_rows(
    bundle: Bundle, repositories: pd.DataFrame, predictions: list[Prediction]
) -> None:
    for row in (0, 7, 30):
        assert predict(bundle, repositories.iloc[[row]]) == [predictions[row]]


def test_all_values_are_plausible(predictions: list[Prediction]) -> None:
    for prediction in predictions:
        assert 0 <= prediction.interval_low <= prediction.interval_high
        assert prediction.expected_stars >= 0
        assert 0 <= prediction.percentile <= 100
        assert prediction.interval_low <= math.ceil(prediction.expected_stars)
        assert math.floor(prediction.expected_stars) <= prediction.interval_high


def test_the_percentile_increases_with_the_stars(predictions: list[Prediction]) -> None:
    ordered = sorted(predictions, key=lambda prediction: prediction.expected_stars)

    percentiles = [prediction.percentile for prediction in ordered]

    assert percentiles == sorted(percentiles)
    assert percentiles[0] < percentiles[-1]


@pytest.mark.parametrize("max_factors", [0, 1, 3, 10, 100])
def test_base_and_factors_multiply_to_the_expected_stars(
    bundle: Bundle, repositories: pd.DataFrame, max_factors: int
) -> None:
    for prediction in predict(bundle, repositories, max_factors=max_factors):
        why = prediction.explanation
        assert why is not None
        product = (why.baseline_stars + 1) * math.prod(factor.factor for factor in why.factors) * why.other_factors

        assert product == pytest.approx(prediction.expected_stars + 1, rel=1e-6)
        assert len(why.factors) <= max_factors


def test_the_strongest_factor_is_first(predictions: list[Prediction]) -> None:
    for prediction in predictions:
        strength = [abs(math.log(factor.factor)) for factor in prediction.explanation.factors]
        assert strength == sorted(strength, reverse=True) or max(np.diff(strength)) < 1e-3


def test_unknown_values_are_shown_as_unknown(predictions: list[Prediction]) -> None:
    nameless = next(prediction for prediction in predictions if prediction.full_name == "nobody/knows")

    assert nameless.explanation is not None
    (factor,) = nameless.explanation.factors
    assert factor.label == "unknown values"
    assert re.fullmatch(r"forks, watchers \(subscribers\), [a-z ]+ and \d more", factor.value)
    assert nameless.actual_stars is None
    assert nameless.fetched_at is None
    assert not nameless.in_training_data
    assert nameless.set is None


def interval_of(prediction: Prediction) -> tuple[float, float, float]:
    return prediction.interval_low, prediction.expected_stars, prediction.interval_high


def test_the_true_count_is_passed_on_but_not_used(bundle: Bundle, repositories: pd.DataFrame) -> None:
    original, changed = (
        predict(bundle, repositories.head(1))[0],
        predict(bundle, repositories.head(1).assign(stars=1e6))[0],
    )

    assert original.actual_stars == repositories["stars"].iloc[0]
    assert changed.actual_stars == 1e6
    assert interval_of(original) == interval_of(changed)
    assert original.fetched_at == repositories["fetched_at"].iloc[0].date().isoformat()


def test_the_value_of_a_factor_is_formatted(predictions: list[Prediction], repositories: pd.DataFrame) -> None:
    values = {factor.feature: factor.value for factor in predictions[0].explanation.factors}

    assert values["language"] == repositories["language"].iloc[0]
    assert values["size_kb"] == "2.3 MB"


def test_a_prediction_is_valid_json(predictions: list[Prediction]) -> None:
    for prediction in predictions:
        assert json.loads(json.dumps(prediction.to_json(), allow_nan=False))["full_name"] == prediction.full_name


def test_the_percentile_is_the_share_of_training_repositories_with_at_most_as_many_stars(bundle: Bundle) -> None:
    """It was at most 99.0: the place of the best of a hundred quantiles."""
    counts = np.sort(bundle.known["stars"][bundle.known_sets == "training"].to_numpy())
    meta = bundle.meta | {"data": bundle.meta["data"] | {"training_rows": len(counts)}}
    whole = dataclasses.replace(bundle, meta=meta)
    stars = np.array([0.0, 0.4, 1.0, 7.3, 150.0, counts[-2], counts[-1] - 0.5, counts[-1], 1e7])

    exact = [100.0 * float((counts <= count).mean()) for count in stars]

    assert rank_stars(whole, stars) == pytest.approx(exact)
    assert rank_stars(whole, stars)[-3] == pytest.approx(100 * (1 - 1 / len(counts)))


def test_with_few_known_repositories_the_percentile_follows_the_quantiles(bundle: Bundle) -> None:
    counts = np.sort(bundle.known["stars"].to_numpy())
    meta = bundle.meta | {
        "data": bundle.meta["data"] | {"training_rows": len(counts)},
        "star_quantiles": np.quantile(counts, np.linspace(0, 1, 1001)).tolist(),
    }
    none = dataclasses.replace(bundle, meta=meta)
    none.__dict__["training_stars"] = counts[:0]
    few = dataclasses.replace(none)
    few.__dict__["training_stars"] = counts[-40:]
    stars = np.linspace(0, counts[-1], 500)

    exact = 100.0 * np.searchsorted(counts, stars, side="right") / len(counts)

    assert np.abs(rank_stars(none, stars) - exact).max() <= 0.2
    assert rank_stars(few, stars)[stars >= counts[-40]] == pytest.approx(exact[stars >= counts[-40]])
    assert (np.diff(rank_stars(few, stars)) >= -1e-9).all()


@pytest.mark.parametrize(
    ("stars", "decade"),
    [(0.0, "0"), (0.49, "0"), (0.6, "1-9"), (9.4, "1-9"), (9.7, "10-99"), (1000.0, "1000-9999"), (99_999.5, None)],
)
def test_the_coverage_is_that_of_the_decade_of_the_estimate_in_whole_stars(
    bundle: Bundle, stars: float, decade: str | None
) -> None:
    decades = [{"decade": name, "n": 10, "coverage": 0.9, "width": 1.0} for name in ("0", "1-9", "10-99", "1000-9999")]
    scores = {"all": bundle.meta["scores"]["all"] | {"coverage_by_predicted_decade": decades}}
    measured = dataclasses.replace(bundle, meta=bundle.meta | {"scores": scores})
    measured.__dict__["models"] = {"all": Fixed(math.log1p(stars))}

    prediction = predict_unexplained(measured, measured.known.head(1))

    assert prediction.decade_coverage == (None if decade is None else {"decade": decade, "n": 10, "coverage": 0.9})


class Fixed:
    """A model that always predicts the same [nat]."""

    def __init__(self, output: float) -> None:
        self._output = output

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.full(len(inputs), self._output)


def predict_unexplained(bundle: Bundle, repositories: pd.DataFrame) -> Prediction:
    features = bundle.features(repositories)
    estimate = bundle.estimate_from_features(features)
    return to_predictions(bundle, features, records_of(repositories), estimate, [None] * len(repositories))[0]


def test_missing_fields_are_those_that_matter_and_the_most_important_is_first(bundle: Bundle) -> None:
    """Without importance are fields that complete repositories lack too."""
    importance = {
        "full_name": 0.9,
        "contributors": 0.1,
        "size_kb": 0.5,
        "license": 0.0,
        "forks": 0.3,
        "subscribers": 0.2,
    }
    fields = {name: {"importance": share, "widening": 0.0} for name, share in importance.items()}
    intervals = {"levels": [{"missing": 0.0, "intervals": bundle.meta["intervals"]}], "fields": fields}
    answers = [{"policy": "all", "intervals": intervals}]
    ranked = dataclasses.replace(bundle, meta=bundle.meta | {"answer_policies": answers})
    frame = schema.conform(pd.DataFrame([{"full_name": "a/b", "subscribers": 7.0, "releases": 0.0}]))

    missing = predict_unexplained(ranked, frame).missing_fields

    assert [field["field"] for field in missing] == ["size_kb", "forks", "contributors"]


def test_every_estimate_is_inside_its_interval_and_its_ratio_fits(bundle: Bundle) -> None:
    for prediction in predict(bundle, bundle.known, max_factors=1):
        assert prediction.interval_low <= prediction.expected_stars <= prediction.interval_high
        assert prediction.actual_stars is not None
        assert prediction.ratio == (prediction.actual_stars + 1) / (prediction.expected_stars + 1)
        inside = prediction.interval_low <= prediction.actual_stars <= prediction.interval_high
        assert prediction.inside_interval is inside
