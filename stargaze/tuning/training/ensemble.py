"""The ensemble: non-negative weights of the best trials, fitted on out-of-fold predictions where the gain exceeds its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES, Family
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.search.racing import DONE

MIN_WEIGHT = 0.02
"""A model with a smaller weight is left out: it costs as much time as any other."""
SUM_WEIGHT = 1e4
"""The weight of the sum-to-one constraint relative to a row; the sum is then exact to about 1e-6."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that may join the ensemble, and its seed."""

    family: Family
    parameters: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class EnsembleWeights:
    """The weight of each candidate, and the gain over the first candidate alone: mean and standard error over folds [nat]."""

    weights: np.ndarray
    gain: float
    error: float


def select_candidates(trials: Sequence[dict[str, Any]], max_candidates: int, seed: int) -> list[Candidate]:
    """Return the candidates, the best first: the best trial of each family, another seed of the best, and the second best.

    ``seed`` is the seed of the best trial. Trials that were stopped early are ignored; if there is no other, ValueError.
    """
    done = sorted((trial for trial in trials if trial["stopped"] == DONE), key=lambda trial: float(trial["rmsle"]))
    if not done:
        raise ValueError("no trial has all folds")
    best = done[0]
    firsts = {str(trial["family"]): trial for trial in reversed(done)}
    others = [trial for trial in firsts.values() if trial is not best]
    second = [t for t in done if t["family"] == best["family"] and t["parameters"] != best["parameters"]]
    chosen = [(best, seed), *((trial, seed) for trial in sorted(others, key=lambda trial: float(trial["rmsle"])))]
    chosen += [(best, seed + 1), *((trial, seed + 2) for trial in second[:1])]
    return [
        Candidate(FAMILIES[trial["family"]], dict(trial["parameters"]), own) for trial, own in chosen[:max_candidates]
    ]


def out_of_fold(candidate: Candidate, arrays: Arrays) -> np.ndarray:
    """Return out-of-fold predictions of log1p(stars) [nat], not clipped at 0: an ensemble is clipped after its weighted sum."""
    predicted = np.zeros(len(arrays.target))
    for fold in cross_validate(candidate.family, candidate.parameters, arrays, candidate.seed):
        predicted[fold.rows] = fold.raw
    return predicted


def fit_weights(
    predictions: np.ndarray, target: np.ndarray, folds: np.ndarray, row_weights: np.ndarray | None = None
) -> EnsembleWeights:
    """Fit the weights with the smallest error; the first candidate gets weight 1 if the gain does not exceed its standard error.

    ``predictions`` are out-of-fold and not clipped, shape (n, n_candidates) [nat]; the weighted sum is clipped at 0. The gain
    on each fold is measured with weights that were fitted on the other folds. ``row_weights`` (n,) are 1 by default.

    References
    ----------
    Breiman, Stacked regressions, 1996.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(900, 2))
    >>> target = np.linspace(0, 8, 900)
    >>> fit_weights(target[:, None] + noise, target, np.arange(900) % 3).weights.round(1).tolist()
    [0.5, 0.5]
    """
    row_weights = np.ones(len(target)) if row_weights is None else row_weights
    gains = []
    for fold in np.unique(folds):
        out = folds == fold
        weights = _fit_weights(predictions[~out], target[~out], row_weights[~out])
        alone, together = (
            clipped_rmse(target[out], values, row_weights[out])
            for values in (predictions[out, 0], predictions[out] @ weights)
        )
        gains.append(alone - together)
    gain, error = float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    return EnsembleWeights(
        _fit_weights(predictions, target, row_weights) if gain > error else np.eye(predictions.shape[1])[0], gain, error
    )


def _fit_weights(predictions: np.ndarray, target: np.ndarray, row_weights: np.ndarray) -> np.ndarray:
    """Return non-negative weights that sum to one and minimize the squared error; small weights become 0."""
    members = np.ones(predictions.shape[1], dtype=bool)
    while True:
        residuals = (predictions[:, members] - target[:, None]) * np.sqrt(row_weights / row_weights.sum())[:, None]
        weights = nnls(
            np.vstack([residuals, np.full(members.sum(), SUM_WEIGHT)]), np.append(np.zeros(len(residuals)), SUM_WEIGHT)
        )[0]
        if (weights >= MIN_WEIGHT).all() or not (weights >= MIN_WEIGHT).any():
            break
        members[members] = weights >= MIN_WEIGHT
    result = np.zeros(predictions.shape[1])
    result[members] = weights / weights.sum()
    return result
