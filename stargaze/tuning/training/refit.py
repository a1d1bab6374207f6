"""Refit the final predictor of each policy: ensemble, calibration, and scores on the test rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.ensemble_families import add_weights
from stargaze.bundle.serialization import Ensemble, serialize_model
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import choose_copies
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.retransformation import find_offset, star_rmse
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.training.calibrate_policy import CalibratedIntervals, FieldRemoval, calibrate_on
from stargaze.tuning.training.ensemble import Candidate, EnsembleWeights, fit_weights, out_of_fold
from stargaze.tuning.training.policy_rows import PolicyRows
from stargaze.tuning.training.scoring import field_importance, hold_out_predictions, score_folds, score_test_rows

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
    importance: dict[str, float]
    """The share of each record field."""
    held_out: np.ndarray
    """Estimate and bounds [stars] of every row by a model that was not fitted on it; shape (3, n)."""


def refit(
    table: Dataset,
    feature_set: FeatureSet,
    policies: Sequence[str],
    candidates: Sequence[Candidate],
    coverage: float,
    metric: str = "rmsle",
) -> dict[str, PolicyPredictor]:
    """Fit an ensemble per policy on training rows, calibrate out-of-fold and on validation rows, score on test rows.

    Each row has masked copies in the same fold, so that the models accept missing values and the intervals cover them.
    With the metric rmse, candidates and weights are those with the smallest error in stars, and the estimate is the mean.
    ``candidates`` are the possible members, ``coverage`` is that of the prediction intervals [fraction]. The scores are those
    on the complete test rows, the coverage overall and by decade of true stars, mean and median width of the intervals
    [nat], the cross-validated score, and the gain of the ensemble with its standard error [nat].
    """
    copies = choose_copies(table.repositories, table.folds)
    masked = table.masked(copies, feature_set.split.seed)
    policy_rows = [PolicyRows.of(table, masked, copies, feature_set, policy) for policy in policies]
    training = [rows.with_copies(rows.training) for rows in policy_rows]
    n_rows = len(table.training)
    candidates = [candidate.complete(n_rows).with_copies(n_rows) for candidate in candidates]
    predictions = parallel_map(out_of_fold, [(candidate, arrays) for arrays in training for candidate in candidates])
    starts = range(0, len(predictions), len(candidates))
    by_policy = [predictions[start : start + len(candidates)] for start in starts]
    refitted = parallel_map(
        _refit_policy,
        [
            (rows, candidates, predicted, coverage, metric)
            for rows, predicted in zip(policy_rows, by_policy, strict=True)
        ],
    )
    return dict(zip(policies, refitted, strict=True))


def _refit_policy(
    rows: PolicyRows,
    candidates: Sequence[Candidate],
    predictions: Sequence[np.ndarray],
    coverage: float,
    metric: str,
) -> PolicyPredictor:
    training, n_complete = rows.with_copies(rows.training), len(rows.training)
    # copies of repositories with most stars, of which little is known, would dominate an error in stars
    n_scored = len(training.target) if metric == "rmsle" else n_complete
    candidates, ordered = _best_first(candidates, np.column_stack(predictions), training, n_scored, metric)
    fitted, models = _fit_ensemble(candidates, ordered, training, n_scored, metric)
    chosen = np.flatnonzero(fitted.weights).tolist()
    typical = ordered @ fitted.weights
    offset = find_offset(typical[:n_complete], training.target[:n_complete]) if metric == "rmse" else 0.0
    model = Ensemble(tuple(fitted.weights[chosen].tolist()), tuple(models[index] for index in chosen), offset)
    predicted = np.maximum(typical + offset, 0.0)
    removals = _remove_fields(model, rows)
    importance = field_importance(removals, rows.complete.target[rows.checked])
    calibrated = _calibrate(model, predicted, rows, coverage, candidates[0].seed, importance, removals)
    scores = score_test_rows(model, calibrated, rows) | score_folds(predicted, rows)
    scores |= {
        "families": add_weights((candidates[index].family.name, float(fitted.weights[index])) for index in chosen)
    }
    scores |= {"members": len(chosen), "ensemble_gain": round(fitted.gain, 5), "ensemble_error": round(fitted.error, 5)}
    return PolicyPredictor(
        model,
        tuple(candidates[index] for index in chosen),
        calibrated,
        scores,
        importance,
        hold_out_predictions(model, calibrated, predicted, rows),
    )


def _best_first(
    candidates: Sequence[Candidate], predictions: np.ndarray, training: Arrays, n_scored: int, metric: str
) -> tuple[list[Candidate], np.ndarray]:
    """Sort candidates and predictions by out-of-fold error: early stopping makes the scores of trials optimistic."""
    error_of = star_rmse if metric == "rmse" else clipped_rmse
    target, weights = training.target[:n_scored], training.weights[:n_scored]
    errors = [error_of(target, column[:n_scored], weights) for column in predictions.T]
    order = np.argsort(errors, kind="stable")
    return [candidates[index] for index in order], predictions[:, order]


def _fit_ensemble(
    candidates: Sequence[Candidate], predictions: np.ndarray, training: Arrays, n_scored: int, metric: str
) -> tuple[EnsembleWeights, dict[int, Any]]:
    """Fit weights and models; while the ensemble is too large, remove the largest model except the best and fit again."""
    models: dict[int, Any] = {}
    sizes: dict[int, int] = {}
    allowed, every_row = list(range(len(candidates))), np.arange(len(training.target))
    scored = (training.target[:n_scored], training.folds[:n_scored], training.weights[:n_scored])
    while True:
        fitted = fit_weights(predictions[:n_scored, allowed], *scored, metric)
        weights = np.zeros(len(candidates))
        weights[allowed] = fitted.weights
        chosen = np.flatnonzero(weights).tolist()
        for index in set(chosen) - set(models):
            candidate = candidates[index]
            models[index] = fit(candidate.family, candidate.parameters, training, every_row, candidate.seed)
            sizes[index] = len(serialize_model(models[index])[1])
        if len(chosen) == 1 or sum(sizes[index] for index in chosen) <= MAX_BYTES:
            return replace(fitted, weights=weights), models
        allowed.remove(max((index for index in chosen if index), key=lambda index: sizes[index]))


def _calibrate(
    model: Ensemble,
    predicted: np.ndarray,
    rows: PolicyRows,
    coverage: float,
    seed: int,
    importance: Mapping[str, float],
    removals: Sequence[FieldRemoval],
) -> CalibratedIntervals:
    """Calibrate on out-of-fold predictions of the training rows and on the validation rows, and one copy of both."""
    training, validation = rows.with_copies(rows.training, once=True), rows.with_copies(rows.validation, once=True)
    return calibrate_on(
        np.vstack([training.inputs, validation.inputs]),
        np.concatenate([predicted[: len(training.target)], np.maximum(model.predict(validation.inputs), 0.0)]),
        np.concatenate([training.target, validation.target]),
        np.concatenate([training.folds, np.full(len(validation.target), VALIDATION_FOLD)]),
        training.categories,
        coverage,
        seed,
        rows.names,
        importance,
        removals,
        rows.own_columns,
    )


def _remove_fields(model: Ensemble, rows: PolicyRows) -> list[FieldRemoval]:
    """Return the removal of each field from complete rows, then those of all fields one after the other in random orders."""
    inputs = [rows.complete.inputs[rows.checked], *rows.without_field.values()]
    inputs += [block for order in rows.orders for block in (order.complete, *(step for _field, step in order.steps))]
    # At once, because a call of a model takes as long as hundreds of rows.
    ends = np.cumsum([len(each) for each in inputs])[:-1]
    predicted = zip(inputs, np.split(np.maximum(model.predict(np.vstack(inputs)), 0.0), ends), strict=True)
    complete = next(predicted)
    removals = [FieldRemoval(field, complete, next(predicted), is_first=True) for field in rows.without_field]
    for order in rows.orders:
        states = itertools.pairwise(itertools.islice(predicted, 1 + len(order.steps)))
        steps = zip(order.steps, states, strict=True)
        removals += [FieldRemoval(field, *state, is_first=False) for (field, _inputs), state in steps]
    return removals
