"""Predict the stars of repositories, with interval, percentile and attributions of the features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.star_bundle import Bundle, Estimate
from stargaze.features.own_columns import OwnColumn, read_values
from stargaze.features.schema import FIELD_BY_NAME
from stargaze.serve.prediction.explanation import MAX_FACTORS, Explanation, explain
from stargaze.serve.prediction.labels import UNNAMED, field_label
from stargaze.serve.prediction.linked_fields import RELEASE_DATES
from stargaze.serve.prediction.what_if import WHAT_IF_FIELDS

RECORD_FIELDS = tuple(dict.fromkeys(("full_name", "stars", "fetched_at", *WHAT_IF_FIELDS)))
"""The fields of a repository that an answer may repeat."""
NUMBERS = tuple(name for name in RECORD_FIELDS if FIELD_BY_NAME[name].kind in ("count", "flag"))
OTHERS = tuple(name for name in RECORD_FIELDS if name not in NUMBERS)
LISTS = frozenset(name for name in OTHERS if FIELD_BY_NAME[name].kind == "list")
Record = Mapping[str, Any]
NO_POPULARITY = "activity"
"""The policy of a second estimate, which does not use what follows from popularity."""
MAX_INTERVAL_RATIO = 100
"""An interval whose ends differ by more than this factor says that the data are not enough for a useful estimate."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one repository; counts are in stars."""

    full_name: str
    fetched_at: str | None
    in_training_data: bool
    """Whether the model was fitted on this repository, which makes its error look smaller."""
    set: str | None
    """The repository's set when the model was fitted: training, validation or test; None if it was not among the data."""
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
    """Measured coverage for the decade of ``expected_stars``, rounded: ``decade``, ``n``, ``coverage``."""
    explanation: Explanation | None = None
    without_popularity: dict[str, Any] | None = None
    """Estimate and explanation of the policy NO_POPULARITY, if a wider one answered."""

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


def predict(bundle: Bundle, repositories: pd.DataFrame, *, max_factors: int = MAX_FACTORS) -> list[Prediction]:
    """Predict the stars of each repository; factors beyond ``max_factors`` are multiplied into ``other_factors``."""
    features, records = bundle.features(repositories), records_of(repositories, bundle.catalog.own_columns)
    estimate = bundle.estimate_from_features(features)
    explanations = explain(bundle, features, records, estimate.policy, estimate.predicted, max_factors=max_factors)
    return to_predictions(bundle, features, records, estimate, explanations)


def estimate_without_popularity(
    bundle: Bundle, features: np.ndarray, records: Sequence[Record]
) -> list[dict[str, Any] | None]:
    """Return a second estimate of each repository that uses no popularity; None if the bundle has no such policy."""
    narrower = next((item for item in bundle.answer_policies if item.policy == NO_POPULARITY), None)
    if narrower is None or not records:
        return [None] * len(records)
    predicted, low, high = bundle.predict_with_interval(features, narrower)
    explanations = explain(bundle, features, records, [NO_POPULARITY] * len(records), predicted)
    return [
        {
            "policy": NO_POPULARITY,
            "expected_stars": float(np.expm1(predicted[row])),
            "interval_low": float(low[row]),
            "interval_high": float(high[row]),
            "explanation": explanation.to_json(),
        }
        for row, explanation in enumerate(explanations)
    ]


class RecordTable:
    """The fields of many repositories that an answer may repeat; their columns are converted once, which is most of the work."""

    def __init__(self, repositories: pd.DataFrame, own_columns: Sequence[OwnColumn] = ()) -> None:
        # one block: a column alone takes 60 µs
        self._numbers = repositories[list(NUMBERS)].to_numpy(dtype="float64")
        self._others = {name: _to_values(repositories[name]) for name in OTHERS}
        self._others |= {column.name: _to_values(read_values(repositories, column)) for column in own_columns}

    def take(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the fields of these repositories, None if unknown."""
        return [
            dict(zip(NUMBERS, (None if number != number else number for number in numbers), strict=True))  # noqa: PLR0124 - NaN
            | {name: values[row] for name, values in self._others.items()}
            for row, numbers in zip(rows, self._numbers[list(rows)].tolist(), strict=True)
        ]


def records_of(repositories: pd.DataFrame, own_columns: Sequence[OwnColumn] = ()) -> list[dict[str, Any]]:
    """Return the fields and own columns of each repository that an answer may repeat, None if unknown."""
    return RecordTable(repositories, own_columns).take(range(len(repositories)))


def _to_values(column: pd.Series) -> list[Any]:
    values = column.tolist()
    if column.name in LISTS:
        return [None if value is None else list(value) for value in values]
    # A missing value is None, NA, or differs from itself; isna of the column takes as long as all the rest.
    return [None if value is pd.NA or value != value else value for value in values]  # noqa: PLR0124


def to_predictions(
    bundle: Bundle,
    features: np.ndarray,
    records: Sequence[Record],
    estimate: Estimate,
    explanations: Sequence[Explanation | None],
) -> list[Prediction]:
    """Combine estimates, explanations and what is known of each repository."""
    stars = np.expm1(estimate.predicted)
    percentile = rank_stars(bundle, stars)
    absent = bundle.missing_fields(features)
    sets = find_sets(bundle, records)
    return [
        Prediction(
            full_name=str(record["full_name"] or UNNAMED),
            fetched_at=None if record["fetched_at"] is None else record["fetched_at"].date().isoformat(),
            in_training_data=sets[row] == "training",
            set=sets[row],
            expected_stars=float(stars[row]),
            interval_low=float(estimate.low[row]),
            interval_high=float(estimate.high[row]),
            coverage=bundle.intervals.coverage,
            actual_stars=record["stars"],
            percentile=float(percentile[row]),
            policy=str(estimate.policy[row]),
            missing_fields=_missing_fields(absent[row], record),
            decade_coverage=_decade_coverage(bundle, str(estimate.policy[row]), float(stars[row])),
            explanation=explanation,
        )
        for row, (record, explanation) in enumerate(zip(records, explanations, strict=True))
    ]


def find_sets(bundle: Bundle, records: Sequence[Record]) -> list[str | None]:
    """Return the set of each repository; None for entered figures, which have no stars, and for repositories of no set."""
    found = bundle.sets.find([str(record["full_name"] or "") for record in records])
    return [name or None if record["stars"] is not None else None for name, record in zip(found, records, strict=True)]


def rank_stars(bundle: Bundle, stars: np.ndarray) -> np.ndarray:
    """Return the share of training repositories that have at most so many stars [%]; shape (n,).

    It is exact from the fewest stars of a training repository in the bundle on; below, the stored quantiles are interpolated.
    """
    quantiles = np.asarray(bundle.meta["star_quantiles"], dtype="float64")
    quantiles, last = np.unique(quantiles[::-1], return_index=True)  # of equal quantiles the highest rank
    n_quantiles = len(bundle.meta["star_quantiles"])
    ranks = 100.0 * (n_quantiles - 1 - last) / (n_quantiles - 1)
    percentile: np.ndarray = np.interp(np.log1p(stars), np.log1p(quantiles), ranks, left=0.0, right=100.0)
    known, n_training = bundle.training_stars, bundle.meta["data"]["training_rows"]
    if not len(known) or len(known) > n_training:
        return percentile
    above = len(known) - np.searchsorted(known, stars, side="right")
    return np.asarray(np.where(stars >= known[0], 100.0 * (1.0 - above / n_training), percentile))


def _decade_coverage(bundle: Bundle, policy: str, stars: float) -> dict[str, Any] | None:
    """Return the measured coverage of the policy's intervals for the decade of the estimate in whole stars; None if unknown."""
    digits = len(str(round(stars)))
    decade = "0" if round(stars) == 0 else f"{10 ** (digits - 1)}-{10**digits - 1}"
    rows = bundle.meta["scores"].get(policy, {}).get("coverage_by_predicted_decade", ())
    found = next((row for row in rows if row["decade"] == decade and row.get("coverage") is not None), None)
    return None if found is None else {name: found[name] for name in ("decade", "n", "coverage")}


def _missing_fields(absent: Sequence[str], record: Record) -> tuple[dict[str, str], ...]:
    """Return the unknown fields that can be entered, in the same order."""
    no_release = RELEASE_DATES if record["releases"] == 0 else ()
    enterable = [name for name in absent if name in FIELD_BY_NAME and name not in no_release]
    names = [name for name in enterable if record.get(name, 0) is None]
    return tuple({"field": name, "label": field_label(FIELD_BY_NAME[name])} for name in names)
