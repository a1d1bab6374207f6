"""Which models answer together: the best trials, weighted by their predictions out of fold where that wins beyond its noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES, Family
from stargaze.tuning.search.racing import DONE

MIN_WEIGHT = 0.02
"""A model with a smaller share is left out: it costs as much time as any other."""
SUM_WEIGHT = 1e4
"""How much more than a row it weighs that the shares sum to one; sum and shares are then right to about 1e-6."""


@dataclass(frozen=True)
class Candidate:
    """One configuration that may take part, and the seed it is fitted with."""

    family: Family
    parameters: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class EnsembleWeights:
    """The share of each candidate, and what blending gains over the first alone: mean and standard error over folds [nat]."""

    shares: np.ndarray
    gain: float
    error: float


def candidates(trials: Sequence[dict[str, Any]], most: int, seed: int) -> list[Candidate]:
    """Return what may be blended, the best first: other seeds of the best trial, the best of each other family, the second best.

    Parameters
    ----------
    trials : sequence of dict
        ``family``, ``parameters``, ``rmsle``, ``stopped``; those that were stopped early have no say.
    most : int
        How many are returned at most.
    seed : int
        Of the first; the same configuration again has the next.

    Returns
    -------
    list of Candidate

    Raises
    ------
    ValueError
        If no trial ran to its end.
    """
    done = sorted((trial for trial in trials if trial["stopped"] == DONE), key=lambda trial: float(trial["rmsle"]))
    if not done:
        raise ValueError("no trial ran to its end")
    best = done[0]
    firsts = {str(trial["family"]): trial for trial in reversed(done)}
    others = [trial for trial in firsts.values() if trial is not best]
    second = [t for t in done if t["family"] == best["family"] and t["parameters"] != best["parameters"]]
    chosen = [(best, seed), *((trial, seed) for trial in sorted(others, key=lambda trial: float(trial["rmsle"])))]
    chosen += [(best, seed + 1), *((trial, seed + 2) for trial in second[:1])]
    return [Candidate(FAMILIES[trial["family"]], dict(trial["parameters"]), own) for trial, own in chosen[:most]]


def out_of_fold(candidate: Candidate, arrays: Arrays) -> np.ndarray:
    """Predict log1p(stars) [nat] of every row by a model that has not seen its fold; shape (n,).

    Below no star too: a blend adds up what its models say, and is clipped after that.
    """
    predicted = np.zeros(len(arrays.target))
    for fold in cross_validate(candidate.family, candidate.parameters, arrays, candidate.seed):
        predicted[fold.rows] = fold.raw
    return predicted


def fit_weights(told: np.ndarray, target: np.ndarray, folds: np.ndarray) -> EnsembleWeights:
    """Find the shares that predict best together; all to the first one, if the others do not help by more than their noise.

    Each fold is judged with the shares that the other folds want, so the gain is one on rows that had no say in it.

    Parameters
    ----------
    told : array, shape (n, n_candidates)
        Out-of-fold predictions of log1p(stars) [nat], not clipped; what they say together is judged as it is served, at least 0.
    target : array, shape (n,)
        True log1p(stars) [nat].
    folds : array of int, shape (n,)

    Returns
    -------
    EnsembleWeights

    References
    ----------
    Breiman, Stacked regressions, 1996.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(900, 2))
    >>> target = np.linspace(0, 8, 900)
    >>> fit_weights(target[:, None] + noise, target, np.arange(900) % 3).shares.round(1).tolist()
    [0.5, 0.5]
    """
    alone = np.eye(told.shape[1])[0]
    gains = []
    for fold in np.unique(folds):
        out = folds == fold
        shares = _fit_weights(told[~out], target[~out])
        gains.append(_error(told[out, 0], target[out]) - _error(told[out] @ shares, target[out]))
    gain, error = float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    return EnsembleWeights(_fit_weights(told, target) if gain > error else alone, gain, error)


def _fit_weights(told: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return non-negative shares that sum to one and leave the smallest squared error; small ones are none."""
    kept = np.ones(told.shape[1], dtype=bool)
    while True:
        off = (told[:, kept] - target[:, None]) / np.sqrt(len(target))
        shares = nnls(np.vstack([off, np.full(kept.sum(), SUM_WEIGHT)]), np.append(np.zeros(len(off)), SUM_WEIGHT))[0]
        if (shares >= MIN_WEIGHT).all() or not (shares >= MIN_WEIGHT).any():
            break
        kept[kept] = shares >= MIN_WEIGHT
    whole = np.zeros(told.shape[1])
    whole[kept] = shares / shares.sum()
    return whole


def _error(predicted: np.ndarray, target: np.ndarray) -> float:
    return float(np.sqrt(np.mean((np.maximum(predicted, 0.0) - target) ** 2)))
