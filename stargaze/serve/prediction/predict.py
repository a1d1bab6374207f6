"""Predict the stars of repositories, with interval, percentile and attributions of the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.prediction_intervals import MAX_LOG_STARS
from stargaze.bundle.serialization import Model
from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.features.matrix import CATALOG
from stargaze.features.schema import FIELD_BY_NAME
from stargaze.serve.prediction.labels import UNKNOWN, UNNAMED, feature_label, field_label, format_value
from stargaze.serve.prediction.what_if import EDITABLE_FIELDS

CATEGORIES = tuple(name for name, item in CATALOG.items() if item.kind == "category")
RECORD_FIELDS = tuple(dict.fromkeys(("full_name", "stars", "fetched_at", *EDITABLE_FIELDS, *CATEGORIES)))
"""The fields of a repository that an answer repeats."""
Record = Mapping[str, Any]
MAX_CONTRIBUTION = 50.0
"""Largest contribution in an answer [nat]: a factor of 5e21, and never infinity, which JSON cannot contain."""
MAX_INTERVAL_RATIO = 100
"""An interval whose ends differ by more than this factor says that the data are not enough for a useful estimate."""
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
    """Why: ``(expected_stars + 1) = (baseline_stars + 1) × all factors × other_factors``, with unrounded numbers."""

    method: str
    """``exact`` for Shapley values that the model computes itself, ``sampled`` otherwise."""
    baseline_stars: float
    factors: tuple[Factor, ...]
    other_factors: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "factors": [dict(vars(factor)) for factor in self.factors]}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one repository; counts are in stars."""

    full_name: str
    fetched_at: str | None
    in_training_data: bool
    """Whether the model was fitted on this repository, which makes its error look smaller."""
    expected_stars: float
    interval_low: float
    interval_high: float
    coverage: float
    """The nominal coverage of the interval."""
    actual_stars: float | None
    percentile: float
    policy: str
    """The feature policy of the estimate."""
    missing_fields: tuple[dict[str, str], ...]
    """``field`` and ``label`` of unknown values that the widest policy uses."""
    decade_coverage: dict[str, Any] | None = None
    """Measured coverage for the decade of ``expected_stars``: ``decade``, ``n``, ``coverage``."""
    explanation: Explanation | None = None
    without_popularity: dict[str, Any] | None = None

    @property
    def ratio(self) -> float | None:
        """``(actual_stars + 1) / (expected_stars + 1)``."""
        return None if self.actual_stars is None else (self.actual_stars + 1) / (self.expected_stars + 1)

    @property
    def inside_interval(self) -> bool | None:
        """Whether the actual count is in the interval."""
        return None if self.actual_stars is None else self.interval_low <= self.actual_stars <= self.interval_high

    @property
    def enough_data(self) -> bool:
        """Whether the interval is narrow enough for a useful estimate."""
        return self.interval_high + 1 <= MAX_INTERVAL_RATIO * (self.interval_low + 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return vars(self) | {
            "missing_fields": [dict(field) for field in self.missing_fields],
            "explanation": None if self.explanation is None else self.explanation.to_json(),
            "ratio": self.ratio,
            "inside_interval": self.inside_interval,
            "enough_data": self.enough_data,
        }


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
    explanations: Sequence[Explanation | None],
) -> list[Prediction]:
    """Combine estimates, explanations and what is known of each repository."""
    quantiles = np.asarray(bundle.meta["star_quantiles"])
    stars = np.expm1(estimate.predicted)
    ranks = np.searchsorted(quantiles, stars, side="right")
    percentile = np.interp(ranks, [0, len(quantiles)], [0.0, 100.0])
    absent = bundle.missing_fields(features)
    return [
        Prediction(
            full_name=str(record["full_name"] or UNNAMED),
            fetched_at=None if record["fetched_at"] is None else record["fetched_at"].date().isoformat(),
            in_training_data=record["stars"] is not None and record["full_name"] in bundle.fitted_on,
            expected_stars=float(stars[row]),
            interval_low=float(estimate.low[row]),
            interval_high=float(estimate.high[row]),
            coverage=bundle.intervals.coverage,
            actual_stars=record["stars"],
            percentile=float(percentile[row]),
            policy=str(estimate.policy[row]),
            missing_fields=tuple({"field": name, "label": field_label(FIELD_BY_NAME[name])} for name in absent[row]),
            explanation=explanation,
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
    """Explain the prediction of each row under its policy."""
    explanations: dict[int, Explanation] = {}
    for policy in dict.fromkeys(policies):
        rows = [row for row, row_policy in enumerate(policies) if row_policy == policy]
        inputs = bundle.select_inputs(features[rows], policy)
        method, added = contributions(bundle, inputs, policy)
        names = bundle.meta["features"][policy]
        for row, of_row, values in zip(rows, added, inputs, strict=True):
            explanations[row] = _to_explanation(method, of_row, names, values, records[row], max_factors)
    return [explanations[row] for row in range(len(explanations))]


def _to_explanation(
    method: str, added: np.ndarray, names: Sequence[str], values: np.ndarray, record: Record, max_factors: int
) -> Explanation:
    """Return the strongest factors and the product of the others, which also limits a prediction to 0 to MAX_LOG_STARS."""
    order = np.argsort(-np.abs(added[:-1]), kind="stable")
    listed = np.clip(added[order[:max_factors]], -MAX_CONTRIBUTION, MAX_CONTRIBUTION)
    base = float(np.clip(added[-1], 0.0, MAX_LOG_STARS))
    total = float(np.clip(added.sum(), 0.0, MAX_LOG_STARS))
    return Explanation(
        method=method,
        baseline_stars=float(np.expm1(base)),
        factors=tuple(
            Factor(
                names[i],
                feature_label(names[i]),
                _format_feature(names[i], float(values[i]), record),
                float(np.exp(effect)),
            )
            for i, effect in zip(order[:max_factors].tolist(), listed, strict=True)
        ),
        other_factors=float(np.exp(total - base - listed.sum())),
    )


def _format_feature(name: str, number: float, record: Record) -> str:
    if CATALOG[name].kind == "category":
        return UNKNOWN if record[name] is None else str(record[name])
    return format_value(name, number)


def contributions(bundle: Bundle, inputs: np.ndarray, policy: str) -> tuple[str, np.ndarray]:
    """Return the method (``exact`` or ``sampled``) and what each feature adds to each prediction.

    ``inputs`` has the shape (n_rows, n_features). The result [nat] has one more column, the base value; its rows sum to the
    output of the model. LightGBM computes exact Shapley values. For other models they are sampled: along random orders the
    features of a typical repository are replaced by those of the row. An ensemble's are weighted as its predictions are.

    References
    ----------
    Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018; Štrumbelj and Kononenko,
    Explaining prediction models and individual predictions with feature contributions, 2014.
    """
    typical = np.array(bundle.meta["background"][policy], dtype="float32")  # None becomes NaN
    ensemble = bundle.models[policy]
    exact = [model.contributions(inputs) for model in ensemble.models]
    parts = [
        _sample_in_batches(model, inputs, typical) if added is None else added
        for model, added in zip(ensemble.models, exact, strict=True)
    ]
    method = "sampled" if any(added is None for added in exact) else "exact"
    return method, np.asarray(sum(weight * part for weight, part in zip(ensemble.weights, parts, strict=True)))


def _sample_in_batches(model: Model, inputs: np.ndarray, typical: np.ndarray) -> np.ndarray:
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
