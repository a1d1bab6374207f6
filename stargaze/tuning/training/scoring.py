"""Scores of a refitted policy on rows that no model was fitted on: test rows, patterns of missing values, fields, outliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.serialization import Ensemble
from stargaze.tuning.metrics import scores
from stargaze.tuning.training.calibrate import coverage_by_decade
from stargaze.tuning.training.calibrate_policy import CalibratedIntervals, FieldRemoval
from stargaze.tuning.training.policy_rows import PolicyRows

MAX_OUTLIERS, MAX_BY_OWNER = 10, 2
"""Listed repositories of each direction, and how many of one owner."""
MIN_OUTLIER = 10
"""The least count of an outlier [stars]: true if it has more than its interval, estimated if it has fewer."""


def score_test_rows(model: Ensemble, calibrated: CalibratedIntervals, rows: PolicyRows) -> dict[str, Any]:
    """Return scores, coverage and widths on the complete test rows, and the same of each measured pattern."""
    test = rows.complete.take(rows.test)
    stars = np.round(np.expm1(test.target))
    predicted, low, high = _predict(model, calibrated, test.inputs)
    width = np.log1p(high) - np.log1p(low)
    complete = _score(stars, predicted, low, high) | {"median_width": round(float(np.median(width)), 5)}
    return complete | {
        "coverage_by_decade": coverage_by_decade(low, high, stars),
        "coverage_by_predicted_decade": coverage_by_decade(low, high, stars, np.round(np.expm1(predicted))),  # as shown
        "patterns": [
            {"pattern": name, "n": int(answered.sum())}
            | _score(stars[answered], *_predict(model, calibrated, inputs[answered]))
            for name, (inputs, answered) in rows.measured.items()
            if answered.any()
        ],
    }


def score_folds(predicted: np.ndarray, rows: PolicyRows) -> dict[str, float]:
    """Return the cross-validated scores of the complete rows, which come first in ``predicted``."""
    folds, target = rows.complete.folds[rows.training], rows.complete.target[rows.training]
    squared = (predicted[: len(target)] - target) ** 2
    errors = [float(np.sqrt(squared[folds == fold].mean())) for fold in np.unique(folds)]
    stars = (np.expm1(predicted[: len(target)]) - np.expm1(target)) ** 2
    star_errors = [float(np.sqrt(stars[folds == fold].mean())) for fold in np.unique(folds)]
    return {
        "cv_rmsle": round(float(np.mean(errors)), 5),
        "cv_spread": round(float(np.std(errors, ddof=1)), 5),
        "cv_rmse": round(float(np.mean(star_errors)), 2),
    }


def field_importance(removals: Sequence[FieldRemoval], target: np.ndarray) -> dict[str, float]:
    """Return the share of each record field in the growth of the squared error when it is missing, largest first.

    ``target`` is that of the complete rows [nat], of which ``removals`` remove one field each; others are ignored.
    """
    growth = {
        removal.field: max(_squared_error(removal.after[1], target) - _squared_error(removal.before[1], target), 0.0)
        for removal in removals
        if removal.is_first
    }
    total = sum(growth.values())
    ranked = sorted(growth.items(), key=lambda item: (-item[1], item[0]))
    return {name: round(value / total, 5) if total > 0 else 0.0 for name, value in ranked}


def hold_out_predictions(
    model: Ensemble, calibrated: CalibratedIntervals, out_of_fold: np.ndarray, rows: PolicyRows
) -> np.ndarray:
    """Return estimate and bounds [stars] of every complete row by a model that was not fitted on it; shape (3, n)."""
    inputs = rows.complete.inputs
    predicted = np.maximum(model.predict(inputs), 0.0)
    predicted[rows.training] = out_of_fold[: len(rows.training)]
    return np.stack([np.expm1(predicted), *calibrated.bounds(inputs, predicted)])


def find_outliers(repositories: pd.DataFrame, held_out: np.ndarray) -> dict[str, list[dict[str, Any]]]:
    """Return the repositories with ``more`` and with ``fewer`` stars than their intervals, those farthest outside first.

    ``held_out`` are estimate and bounds of :func:`hold_out_predictions`. An owner is listed twice at most.
    """
    expected, low, high = held_out
    stars, names = repositories["stars"].to_numpy(dtype="float64"), repositories["full_name"].tolist()
    ratios = {
        "more": np.where(stars >= MIN_OUTLIER, (stars + 1) / (high + 1), 0.0),
        "fewer": np.where(expected >= MIN_OUTLIER, (low + 1) / (stars + 1), 0.0),
    }
    result = {}
    for direction, ratio in ratios.items():
        owners, chosen = Counter[str](), list[int]()
        for row in np.argsort(-ratio, kind="stable").tolist():
            owner = names[row].partition("/")[0].lower()
            if ratio[row] <= 1 or len(chosen) == MAX_OUTLIERS:
                break
            if owners[owner] < MAX_BY_OWNER:
                owners[owner] += 1
                chosen.append(row)
        result[direction] = [
            {
                "full_name": names[row],
                "expected_stars": float(expected[row]),
                "interval_low": float(low[row]),
                "interval_high": float(high[row]),
                "actual_stars": float(stars[row]),
            }
            for row in chosen
        ]
    return result


def _predict(
    model: Ensemble, calibrated: CalibratedIntervals, inputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    predicted = np.maximum(model.predict(inputs), 0.0)
    return (predicted, *calibrated.bounds(inputs, predicted))


def _score(stars: np.ndarray, predicted: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float]:
    found = scores(stars, np.expm1(predicted)) | {
        "coverage": float(np.mean((low <= stars) & (stars <= high))),
        "width": float(np.mean(np.log1p(high) - np.log1p(low))),
    }
    return {name: round(value, 5) for name, value in found.items()}


def _squared_error(predicted: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((predicted - target) ** 2))
