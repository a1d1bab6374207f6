"""Predict the stars of repositories, with interval, percentile and attributions of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.serialization import Model
from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.features.matrix import CATALOG
from stargaze.serve.prediction.labels import UNKNOWN, feature_label, format_value
from stargaze.serve.prediction.neighbors import explanation_policy
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS

CATEGORIES = tuple(name for name, item in CATALOG.items() if item.kind == "category")
RECORD_FIELDS = tuple(dict.fromkeys(("full_name", "stars", "fetched_at", *EDITABLE_FIELDS, *CATEGORIES)))
"""The fields of a repository that an answer repeats."""
Record = Mapping[str, Any]
MAX_CONTRIBUTION = 50.0
"""Largest contribution in an answer [nat]: a factor of 5e21, and never infinity, which JSON cannot contain."""
N_PERMUTATIONS = 8
"""Pairs of orders for each row; the estimate is unbiased for any number and always adds up exactly."""
BATCH_SIZE = 16
"""Rows that are sampled at once: 20,000 inputs of 80 features are 7 MB."""
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Factor:
    """The effect of one feature: it multiplies the predicted stars by ``factor``."""

    feature: str
    label: str
    value: str
    factor: float


@dataclass(frozen=True)
class Explanation:
    """Why: ``(expected + 1) = (base + 1) × all factors × other_factors``; None if no explanation was requested."""

    expected: float | None = None
    base: float | None = None
    factors: tuple[Factor, ...] = ()
    other_factors: float | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction(Explanation):
    """The prediction for one repository; counts are in stars."""

    full_name: str
    stars: float
    low: float
    high: float
    coverage: float
    percentile: float
    actual: float | None
    fetched_at: str | None
    in_training_data: bool
    """Whether the model was fitted on this repository, which makes its error look smaller."""
    policy: str
    """The feature policy of the estimate."""
    missing: tuple[str, ...]
    """Unknown features that a wider policy would need."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "factors": [dict(vars(factor)) for factor in self.factors], "missing": list(self.missing)}


def predict(bundle: Bundle, repositories: pd.DataFrame, *, max_factors: int = 10) -> list[Prediction]:
    """Predict the stars of each repository; factors beyond ``max_factors`` are multiplied into ``other_factors``."""
    features, records = bundle.features(repositories), records_of(repositories)
    estimate = bundle.estimate_from_features(features)
    explanations = explain(bundle, features, records, estimate.policy, max_factors=max_factors)
    return to_predictions(bundle, features, records, estimate, explanations)


def records_of(repositories: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the fields of each repository that an answer repeats, None if unknown."""
    columns = [
        [None if missing else value for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for column in (repositories[name] for name in RECORD_FIELDS)
    ]
    return [dict(zip(RECORD_FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]


def to_predictions(
    bundle: Bundle,
    features: np.ndarray,
    records: Sequence[Record],
    estimate: Estimate,
    explanations: Sequence[Explanation],
) -> list[Prediction]:
    """Combine estimates, explanations and what is known of each repository."""
    quantiles = np.asarray(bundle.meta["star_quantiles"])
    stars = np.expm1(estimate.predicted)
    ranks = np.searchsorted(quantiles, stars, side="right")
    percentile = np.interp(ranks, [0, len(quantiles)], [0.0, 100.0])
    absent = bundle.missing_features(features, bundle.answer_policies[0])
    return [
        Prediction(
            **vars(explanation),
            full_name=str(record["full_name"]),
            stars=round(float(stars[row]), 2),
            low=float(estimate.low[row]),
            high=float(estimate.high[row]),
            coverage=bundle.intervals.coverage,
            percentile=round(float(percentile[row]), 1),
            actual=record["stars"],
            fetched_at=None if record["fetched_at"] is None else record["fetched_at"].date().isoformat(),
            in_training_data=record["stars"] is not None and record["full_name"] in bundle.fitted_on,
            policy=str(estimate.policy[row]),
            missing=tuple(map(feature_label, absent[row])),
        )
        for row, (record, explanation) in enumerate(zip(records, explanations, strict=True))
    ]


def explain(
    bundle: Bundle,
    features: np.ndarray,
    records: Sequence[Record],
    policies: Sequence[str] | np.ndarray,
    *,
    max_factors: int = 10,
) -> list[Explanation]:
    """Explain each row under the policy of explanations, or the policy of its prediction if that is narrower."""
    explained = [explanation_policy(bundle, policy) for policy in policies]
    explanations = [Explanation()] * len(explained)
    for policy in dict.fromkeys(explained):
        rows = [row for row, row_policy in enumerate(explained) if row_policy == policy]
        inputs = bundle.select_inputs(features[rows], policy)
        added = contributions(bundle, inputs, policy)
        names = bundle.meta["features"][policy]
        for row, of_row, values in zip(rows, added, inputs, strict=True):
            explanations[row] = _to_explanation(of_row, names, values, records[row], max_factors)
    return explanations


def _to_explanation(
    added: np.ndarray, names: Sequence[str], values: np.ndarray, record: Record, max_factors: int
) -> Explanation:
    """Return the strongest factors and the product of the others, which also lifts a prediction below 0 stars to 0."""
    added = np.clip(added, -MAX_CONTRIBUTION, MAX_CONTRIBUTION)
    order = np.argsort(-np.abs(added[:-1]), kind="stable")
    total = min(float(added.sum()), MAX_CONTRIBUTION)
    others = added[order[max_factors:]].sum() + max(-total, 0.0)
    return Explanation(
        expected=round(float(np.expm1(max(total, 0.0))), 2),
        base=round(float(np.expm1(added[-1])), 4),
        factors=tuple(
            Factor(
                names[i],
                CATALOG[names[i]].meaning,
                _format_feature(names[i], float(values[i]), record),
                round(float(np.exp(added[i])), 4),
            )
            for i in order[:max_factors].tolist()
        ),
        other_factors=round(float(np.exp(np.clip(others, -MAX_CONTRIBUTION, MAX_CONTRIBUTION))), 4),
    )


def _format_feature(name: str, number: float, record: Record) -> str:
    if CATALOG[name].kind == "category":
        return UNKNOWN if record[name] is None else str(record[name])
    return format_value(name, number)


def contributions(bundle: Bundle, inputs: np.ndarray, policy: str) -> np.ndarray:
    """Return what each feature adds to each prediction.

    ``inputs`` has the shape (n_rows, n_features). The result [nat] has one more column, the base value; its rows sum to the
    output of the model. LightGBM computes exact Shapley values. For other models they are sampled: along random orders the
    features of a typical repository are replaced by those of the row. An ensemble's are weighted as its predictions are.

    References
    ----------
    Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018; Štrumbelj and Kononenko,
    Explaining prediction models and individual predictions with feature contributions, 2014.
    """
    typical = np.array(bundle.meta["background"][policy], dtype="float32")  # None becomes NaN
    blend = zip(bundle.models[policy].weights, bundle.models[policy].models, strict=True)
    return np.asarray(sum(weight * _model_contributions(model, inputs, typical) for weight, model in blend))


def _model_contributions(model: Model, inputs: np.ndarray, typical: np.ndarray) -> np.ndarray:
    exact = model.contributions(inputs)
    if exact is not None:
        return exact
    begins = range(0, len(inputs), BATCH_SIZE)
    parts = [_sample_contributions(model.predict, inputs[begin : begin + BATCH_SIZE], typical) for begin in begins]
    return np.vstack(parts)


def _sample_contributions(predict: Predict, rows: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Replace the typical row's features by each row's along antithetic random orders, and average the differences."""
    (n_rows, n_features), random = rows.shape, np.random.default_rng(0)
    permutations = [random.permutation(n_features) for _ in range(N_PERMUTATIONS)]
    orders = np.array([order for permutation in permutations for order in (permutation, permutation[::-1])])
    replaced = np.argsort(orders, axis=1)[:, None, :] < np.arange(n_features + 1)[:, None]
    inputs = np.where(replaced, rows[:, None, None, :], typical)
    outputs = np.asarray(predict(inputs.reshape(-1, n_features))).reshape(n_rows, len(orders), n_features + 1)
    added = np.zeros((n_rows, n_features + 1))
    for i, order in enumerate(orders):
        added[:, order] += np.diff(outputs[:, i])
    added /= len(orders)
    added[:, -1] = outputs[:, 0, 0]
    return added
