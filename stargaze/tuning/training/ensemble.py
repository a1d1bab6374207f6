"""The ensemble: non-negative weights of the best trials and of other families, fitted on out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import nnls

from stargaze.capacity import MANY_ROWS
from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.retransformation import star_rmse
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.training.star_weights import fit_star_weights

MIN_WEIGHT = 0.03
"""A model with a smaller weight is left out: it costs as much time as any other."""
COMPLEMENTS = ("lightgbm", "catboost", "randomized-boosting", "perceptron", "ridge", "extra-trees")
"""Families whose defaults may join the ensemble without trials, in this order: each has errors of its own."""
EQUAL_ROWS = 60.0
"""How many rows it takes until the errors count as much as that the weights of models are equal: of few rows, the fitted weights
follow chance, and equal ones predict better."""
CLEARLY = 3.0
"""The first candidate is used alone if an ensemble is worse by so many standard errors: it was chosen by the same errors, and its
own is optimistic."""
SECOND_TRIALS_ROWS = 1_000
"""The training rows below which the two best trials of each family come before the defaults of other families."""
LEAST_DIFFERENCE = 0.03
"""Candidates whose predictions differ less than this share of the smallest error count as one: their mean is no better."""
SUM_WEIGHT = 1e4
"""The weight of the sum-to-one constraint relative to a row; the sum is then exact to about 1e-6."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that may join the ensemble, and its seed."""

    family: Family
    parameters: dict[str, Any]
    seed: int

    def complete(self, rows: int) -> Candidate:
        """Return it with the defaults of its family for a number of rows, so that folds do not change them."""
        return replace(self, parameters={**self.family.at(rows).defaults, **self.parameters})

    def with_copies(self, rows: int) -> Candidate:
        """Return it with parameters for a number of rows and their masked copies."""
        return replace(self, parameters=self.family.with_copies(self.parameters, rows))


MEAN = Candidate(FAMILIES["dummy"], {"strategy": "mean"}, 0)
"""The mean of all rows, a model without features."""


@dataclass(frozen=True)
class EnsembleWeights:
    """The weight of each candidate, and the gain over the first candidate alone: mean and standard error over folds [nat]."""

    weights: np.ndarray
    gain: float
    error: float


def select_candidates(
    trials: Sequence[dict[str, Any]],
    max_candidates: int,
    seed: int,
    screened: Sequence[str] = (),
    metric: str = "rmsle",
    rows: int = MANY_ROWS,
) -> list[Candidate]:
    """Return the candidates, the best first: the best trial of each family, then other families, seeds and trials.

    These are the defaults of the :data:`COMPLEMENTS` that were screened and not tuned, another seed of the best trial, and the
    second best trial of its family. Of few training ``rows``, the second best trial of each family comes before other families:
    which one is the best is chance. The last of two or more candidates is the mean of all rows: with it, an ensemble of
    few rows shrinks to the mean as far as its models do not predict better.
    ``seed`` is the seed of the best trial by ``metric``. Trials that were stopped early are ignored; if there is no other,
    ValueError.
    """
    done = sorted((trial for trial in trials if trial["stopped"] == DONE), key=lambda trial: float(trial[metric]))
    if not done:
        raise ValueError("no trial has all folds")
    best = done[0]
    firsts = {str(trial["family"]): trial for trial in reversed(done)}
    others = [trial for trial in firsts.values() if trial is not best]
    tuned = [best, *sorted(others, key=lambda trial: float(trial[metric]))]
    chosen = [(trial, seed) for trial in tuned]
    if rows < SECOND_TRIALS_ROWS:
        chosen += [(second, seed) for trial in tuned for second in _others_of_family(trial, done)[:1]]
    chosen += [
        ({"family": name, "parameters": {}}, seed) for name in COMPLEMENTS if name in screened and name not in firsts
    ]
    chosen += [(best, seed + 1), *((trial, seed + 2) for trial in _others_of_family(best, done)[:1])]
    models = chosen[: max(max_candidates - 1, 1)]
    candidates = [Candidate(FAMILIES[trial["family"]], dict(trial["parameters"]), own) for trial, own in models]
    return [*candidates, MEAN][:max_candidates]


def _others_of_family(trial: Mapping[str, Any], trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the trials of the same family with other parameters, in the given order."""
    return [item for item in trials if item["family"] == trial["family"] and item["parameters"] != trial["parameters"]]


def default_candidates() -> list[Candidate]:
    """Return the candidates of an ensemble without trials: the defaults of the installed families, and the mean.

    Examples
    --------
    >>> [candidate.family.name for candidate in default_candidates()][-2:]
    ['ridge', 'dummy']
    """
    names = [name for name in COMPLEMENTS[:-1] if FAMILIES[name].installed]
    return [*(Candidate(FAMILIES[name], {}, 0) for name in names), MEAN]


def out_of_fold(candidate: Candidate, arrays: Arrays) -> np.ndarray:
    """Return out-of-fold predictions of log1p(stars) [nat], not clipped at 0: an ensemble is clipped after its weighted sum."""
    predicted = np.zeros(len(arrays.target))
    for fold in cross_validate(candidate.family, candidate.parameters, arrays, candidate.seed):
        predicted[fold.rows] = fold.raw
    return predicted


def fit_weights(
    predictions: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    row_weights: np.ndarray | None = None,
    metric: str = "rmsle",
) -> EnsembleWeights:
    """Fit the weights with the smallest error, which are the more equal the fewer rows there are.

    The first candidate gets weight 1 if it is clearly better.

    ``predictions`` are out-of-fold and not clipped, shape (n, n_candidates) [nat]; the weighted sum is clipped at 0. The gain
    on each fold is measured with weights that were fitted on the other folds. ``row_weights`` (n,) are 1 by default. The weight
    of a candidate without features is not made equal to others.
    The error is that of ``metric``: rmsle [nat], or rmse [stars].

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
    is_model = np.array([len(np.unique(column)) > len(np.unique(folds)) for column in predictions.T])
    error_of, gains = star_rmse if metric == "rmse" else clipped_rmse, []

    def fit_best(rows: np.ndarray) -> np.ndarray:
        weights = _fit_weights(predictions[rows], target[rows], row_weights[rows], is_model)
        return (
            weights
            if metric == "rmsle"
            else fit_star_weights(predictions[rows], target[rows], weights, row_weights[rows])
        )

    for fold in np.unique(folds):
        out = folds == fold
        weights = fit_best(~out)
        alone, together = (
            error_of(target[out], values, row_weights[out])
            for values in (predictions[out, 0], predictions[out] @ weights)
        )
        gains.append(alone - together)
    gain, error = float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    weights = fit_best(np.ones(len(target), dtype=bool))
    return EnsembleWeights(weights if gain > -CLEARLY * error else np.eye(len(weights))[0], gain, error)


def _fit_weights(
    predictions: np.ndarray, target: np.ndarray, row_weights: np.ndarray, is_model: np.ndarray
) -> np.ndarray:
    """Return non-negative weights that sum to one; members with small weights, or that do not lower the error, are left out.

    Least squares fits the sum before it is clipped at 0. Where that is negative, the mean of all rows looks better than it is:
    a member stays only if the error of the clipped sum is larger without it.
    """
    best = min(clipped_rmse(target, column, row_weights) for column in predictions.T)
    members = _find_different(predictions, LEAST_DIFFERENCE * best)
    equal = best * np.sqrt(EQUAL_ROWS / row_weights.sum()) * _deviations(is_model & members)

    def fit_members(members: np.ndarray) -> tuple[np.ndarray, float]:
        weights = _least_squares(predictions, target, row_weights, members, equal)
        return weights, clipped_rmse(target, predictions @ weights, row_weights) ** 2 + ((equal @ weights) ** 2).sum()

    weights, error = fit_members(members)
    while members.sum() > 1:
        smallest = int(np.argmin(np.where(members, weights, np.inf)))
        fewer = members & (np.arange(len(members)) != smallest)
        refitted, larger = fit_members(fewer)
        if weights[smallest] >= MIN_WEIGHT and error < larger:
            break
        members, weights, error = fewer, refitted, larger
    return weights


def _least_squares(
    predictions: np.ndarray, target: np.ndarray, row_weights: np.ndarray, members: np.ndarray, equal: np.ndarray
) -> np.ndarray:
    """Return the weights of the members with the smallest sum of squared error and ``(equal @ weights) ** 2``, 0 for others."""
    residuals = (predictions[:, members] - target[:, None]) * np.sqrt(row_weights / row_weights.sum())[:, None]
    rows = np.vstack([residuals, equal[:, members], np.full(members.sum(), SUM_WEIGHT)])
    weights = nnls(rows, np.append(np.zeros(len(rows) - 1), SUM_WEIGHT))[0]
    result = np.zeros(len(members))
    result[members] = weights / weights.sum()
    return result


def _find_different(predictions: np.ndarray, least: float) -> np.ndarray:
    """Return which columns differ from all before them by more than ``least`` (root mean square); shape (n_candidates,).

    >>> _find_different(np.array([[1.0, 1.01, 2.0], [3.0, 3.0, 3.0]]), 0.1).tolist()
    [True, False, True]
    """
    found = np.zeros(predictions.shape[1], dtype=bool)
    for place, column in enumerate(predictions.T):
        found[place] = bool((((predictions[:, found].T - column) ** 2).mean(axis=1) > least**2).all())
    return found


def _deviations(models: np.ndarray) -> np.ndarray:
    """Return the matrix that maps weights to the deviations of the models' weights from their mean; others do not count.

    >>> _deviations(np.array([True, False, True])).tolist()
    [[0.5, 0.0, -0.5], [0.0, 0.0, 0.0], [-0.5, 0.0, 0.5]]
    """
    return np.asarray(np.diag(models.astype("float64")) - np.outer(models, models) / max(models.sum(), 1))
