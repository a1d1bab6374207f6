"""Refit the final predictor of each policy: ensemble, calibration, and scores on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.serialization import Ensemble, serialize_model
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.tuning.cross_validation import Arrays, fit, policy_arrays
from stargaze.tuning.metrics import scores
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.training.calibrate import CalibratedIntervals, calibrate_on, coverage_by_decade
from stargaze.tuning.training.ensemble import Candidate, EnsembleWeights, fit_weights, out_of_fold

MAX_BYTES = 20_000_000
"""Largest ensemble of one policy [byte]: a forest on 14,000 repositories has 40 MB and gains 0.001 nat."""
VALIDATION_FOLD = -1
"""The fold number of validation rows, which no fold's model was fitted on."""


@dataclass(frozen=True)
class PolicyPredictor:
    """The predictor of one policy, its candidates, its calibrated intervals and its scores on the test rows."""

    model: Ensemble
    members: tuple[Candidate, ...]
    calibrated: CalibratedIntervals
    scores: dict[str, Any]


@dataclass(frozen=True)
class PolicyRows:
    """The arrays of one policy for the training rows and for all rows, and the row numbers of each set."""

    training_arrays: Arrays
    arrays: Arrays
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, table: Dataset, feature_set: FeatureSet, policy: str) -> PolicyRows:
        """Return the arrays of a data set."""
        arrays = policy_arrays(table, feature_set, policy, np.arange(len(table.target)))
        training_arrays = policy_arrays(table, feature_set, policy)
        return cls(training_arrays, arrays, table.training, table.validation, table.test)


def refit(
    table: Dataset, feature_set: FeatureSet, policies: Sequence[str], candidates: Sequence[Candidate], coverage: float
) -> dict[str, PolicyPredictor]:
    """Fit an ensemble per policy on training rows, calibrate out-of-fold and on validation rows, score on test rows.

    ``candidates`` are the possible members, ``coverage`` is that of the prediction intervals [fraction]. The scores are those
    on the test rows, the coverage overall and by decade of true stars, mean and median width of the intervals [nat], the
    cross-validated score, and the gain of the ensemble with its standard error [nat].
    """
    policy_rows = [PolicyRows.of(table, feature_set, policy) for policy in policies]
    predictions = parallel_map(
        out_of_fold, [(candidate, rows.training_arrays) for rows in policy_rows for candidate in candidates]
    )
    starts = range(0, len(predictions), len(candidates))
    by_policy = [predictions[start : start + len(candidates)] for start in starts]
    refitted = parallel_map(
        _refit_policy,
        [(rows, candidates, predicted, coverage) for rows, predicted in zip(policy_rows, by_policy, strict=True)],
    )
    return dict(zip(policies, refitted, strict=True))


def _refit_policy(
    rows: PolicyRows, candidates: Sequence[Candidate], predictions: Sequence[np.ndarray], coverage: float
) -> PolicyPredictor:
    candidates, ordered = _best_first(candidates, np.column_stack(predictions), rows.training_arrays.target)
    fitted, models = _fit_ensemble(candidates, ordered, rows)
    chosen = np.flatnonzero(fitted.weights).tolist()
    model = Ensemble(tuple(fitted.weights[chosen].tolist()), tuple(models[index] for index in chosen))
    predicted = np.maximum(ordered @ fitted.weights, 0.0)
    calibrated = _calibrate(model, predicted, rows, coverage, candidates[0].seed)
    scores = _test_scores(model, calibrated, rows) | _fold_scores(predicted, rows.training_arrays)
    scores |= {
        "members": len(chosen),
        "ensemble_gain": round(fitted.gain, 5),
        "ensemble_error": round(fitted.error, 5),
    }
    return PolicyPredictor(model, tuple(candidates[index] for index in chosen), calibrated, scores)


def _best_first(
    candidates: Sequence[Candidate], predictions: np.ndarray, target: np.ndarray
) -> tuple[list[Candidate], np.ndarray]:
    """Sort candidates and predictions by out-of-fold error: early stopping makes the scores of trials optimistic."""
    errors = np.mean((np.maximum(predictions, 0.0) - target[:, None]) ** 2, axis=0)
    order = np.argsort(errors, kind="stable")
    return [candidates[index] for index in order], predictions[:, order]


def _fit_ensemble(
    candidates: Sequence[Candidate], predictions: np.ndarray, rows: PolicyRows
) -> tuple[EnsembleWeights, dict[int, Any]]:
    """Fit weights and models; while the ensemble is too large, remove the largest model except the best and fit again."""
    models: dict[int, Any] = {}
    sizes: dict[int, int] = {}
    allowed = list(range(len(candidates)))
    while True:
        fitted = fit_weights(predictions[:, allowed], rows.training_arrays.target, rows.training_arrays.folds)
        weights = np.zeros(len(candidates))
        weights[allowed] = fitted.weights
        chosen = np.flatnonzero(weights).tolist()
        for index in set(chosen) - set(models):
            candidate = candidates[index]
            models[index] = fit(candidate.family, candidate.parameters, rows.arrays, rows.training, candidate.seed)
            sizes[index] = len(serialize_model(models[index])[1])
        if len(chosen) == 1 or sum(sizes[index] for index in chosen) <= MAX_BYTES:
            return replace(fitted, weights=weights), models
        allowed.remove(max((index for index in chosen if index), key=lambda index: sizes[index]))


def _calibrate(
    model: Ensemble, predicted: np.ndarray, rows: PolicyRows, coverage: float, seed: int
) -> CalibratedIntervals:
    """Calibrate on out-of-fold predictions of the training rows and on the validation rows."""
    training, arrays, validation = rows.training_arrays, rows.arrays, rows.validation
    return calibrate_on(
        np.vstack([training.inputs, arrays.inputs[validation]]),
        np.concatenate([predicted, np.maximum(model.predict(arrays.inputs[validation]), 0.0)]),
        np.concatenate([training.target, arrays.target[validation]]),
        np.concatenate([training.folds, np.full(len(validation), VALIDATION_FOLD)]),
        training.categories,
        coverage,
        seed,
    )


def _test_scores(model: Ensemble, calibrated: CalibratedIntervals, rows: PolicyRows) -> dict[str, Any]:
    arrays, test = rows.arrays, rows.test
    predicted = np.maximum(model.predict(arrays.inputs[test]), 0.0)
    stars = np.round(np.expm1(arrays.target[test]))
    low, high = calibrated.bounds(arrays.inputs[test], predicted)
    width = np.log1p(high) - np.log1p(low)
    test_scores = scores(np.expm1(arrays.target[test]), np.expm1(predicted)) | {
        "coverage": float(np.mean((low <= stars) & (stars <= high))),
        "width": float(width.mean()),
        "median_width": float(np.median(width)),
    }
    return {name: round(value, 5) for name, value in test_scores.items()} | {
        "coverage_by_decade": coverage_by_decade(low, high, stars)
    }


def _fold_scores(predicted: np.ndarray, training: Arrays) -> dict[str, float]:
    squared = (predicted - training.target) ** 2
    folds = [float(np.sqrt(squared[training.folds == fold].mean())) for fold in np.unique(training.folds)]
    return {"cv_rmsle": round(float(np.mean(folds)), 5), "cv_spread": round(float(np.std(folds, ddof=1)), 5)}
