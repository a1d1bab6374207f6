"""Calibrate intervals on repositories that no model was fitted on, and say how often they hold the true count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import Intervals, append_prediction, spread_scale
from stargaze.tuning.lightgbm_estimator import CategoricalLightGBM

ROWS_PER_CLASS, LEAST_ROWS = 200, 50
"""A decade with more rows than that is parted; a class with fewer than this goes with the one below."""
ROUNDS, SWEEPS, CLOSE = 8, 15, 1e-4
"""How often levels are corrected, reaches are fitted in turn, and when these stand still [nat]."""
MOST_BELOW, MOST_ABOVE, STEP = 0.2, 0.05, 0.7
"""How far a level may be corrected, below and above what is asked [share], and by what part of what is wrong at a time."""
LEAST_FACTOR, HALVINGS = 0.05, 14
"""By how much all reaches may be shortened in the end, and how finely that is searched."""
FINE = 1e5
"""Parts of a nat that a reach is rounded up to: none is a star, even among the most starred."""
SPREAD = {
    "n_estimators": 120,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 40,
    "colsample_bytree": 0.5,
    "subsample": 0.8,
    "reg_lambda": 5.0,
}
"""Small trees: what is left to explain of a residual's size is little, and mostly noise."""


@dataclass(frozen=True)
class CalibratedIntervals:
    """Intervals and the model that tells for which repositories they are wide."""

    intervals: Intervals
    spread: Any

    def bounds(self, inputs: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest count of stars of each repository; shapes (n,)."""
        return self.intervals.bounds(predicted, self.spread.predict(append_prediction(inputs, predicted)))


def calibrate_on(
    inputs: np.ndarray,
    predicted: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    categories: Sequence[int],
    coverage: float,
    seed: int,
) -> CalibratedIntervals:
    """Learn how far off predictions are, and calibrate intervals, from predictions that are out of fold.

    Parameters
    ----------
    inputs : array, shape (n, n_features)
        What the model was given for each row.
    predicted, target : array, shape (n,)
        Predicted and true log1p(stars) [nat]; no row's prediction is of a model that was fitted on it.
    folds : array of int, shape (n,)
        No row's spread is told by a model that was fitted on its fold.
    categories : sequence of int
        Places of the categories among the columns.
    coverage : float
        Share of true counts that shall lie inside.
    seed : int

    Returns
    -------
    CalibratedIntervals
    """
    told, off = append_prediction(inputs, predicted), np.abs(target - predicted)
    spread = np.zeros(len(target))
    for fold in np.unique(folds):
        out = folds == fold
        spread[out] = _fit_error_model(told[~out], off[~out], categories, seed).predict(told[out])
    return CalibratedIntervals(
        calibrate(predicted, spread, target, coverage), _fit_error_model(told, off, categories, seed)
    )


def calibrate(predicted: np.ndarray, spread: np.ndarray, target: np.ndarray, coverage: float) -> Intervals:
    """Find reaches so that the interval holds the true count as often as asked, whatever that count is and whatever is predicted.

    A width that follows from the prediction alone leaves out most repositories with many stars: the model predicts less for
    them than they have. A width that follows from the candidate count alone is honest to them but not to who reads a
    prediction. Here the reach is a sum of a part for the class of the count and a part for the class of the prediction, each
    fitted in turn as a quantile of what the other leaves, until both hold.

    Parameters
    ----------
    predicted, spread, target : array, shape (n,)
        Predicted log1p(stars), how far off it is thought to be, and the true log1p(stars) [nat] of rows that were not fitted.
    coverage : float
        Share of true counts that shall lie inside.

    Returns
    -------
    Intervals

    Raises
    ------
    ValueError
        If there are no rows.

    References
    ----------
    Vovk, Conditional validity of inductive conformal predictors, 2012; Gibbs, Cherian and Candès, Conformal prediction with
    conditional guarantees, 2023.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> target = random.uniform(5, 11, 4000)
    >>> found = calibrate(target + 0.5 * random.normal(size=4000), np.full(4000, 0.4), target, 0.9)
    >>> low, high = found.bounds(np.array([8.0]), np.array([0.4]))
    >>> bool(0.75 < np.log(high / low)[0] / 2 < 0.9)
    True
    """
    if not len(target):
        raise ValueError("no rows to calibrate on")
    stars, guess = np.round(np.expm1(target)), np.round(np.expm1(predicted))
    counts, heights = _classes(stars), _classes(guess)
    groups = [np.searchsorted(edges, of, side="right") - 1 for edges, of in ((counts, stars), (heights, guess))]
    sizes = [np.bincount(group) for group in groups]
    levels = [np.full(len(size), coverage) for size in sizes]
    score = np.abs(target - predicted) / spread_scale(spread)
    for _ in range(ROUNDS):
        reach = _fit_radius(score, groups, levels)
        found = Intervals(coverage, tuple(counts), tuple(heights), tuple(map(tuple, reach.tolist())))
        inside = _inside(found, predicted, spread, stars)
        # The smallest interval around several classes holds more than was asked: take that back where it happens.
        levels = [
            _correct_levels(level, coverage, size, np.bincount(group, inside))
            for level, group, size in zip(levels, groups, sizes, strict=True)
        ]
    return _shrink(found, predicted, spread, stars)


def coverage_by_decade(low: np.ndarray, high: np.ndarray, stars: np.ndarray) -> list[dict[str, Any]]:
    """Notify for each decade of true counts how often the interval holds them, and how wide it is.

    Parameters
    ----------
    low, high, stars : array, shape (n,)
        Ends of the intervals and true counts [stars].

    Returns
    -------
    list of dict
        ``decade`` (as "0", "1-9"), ``n``, ``coverage`` [share], ``width``, the mean of log1p(high) - log1p(low) [nat].

    Examples
    --------
    >>> coverage_by_decade(np.array([0.0, 2.0]), np.array([0.0, 9.0]), np.array([0.0, 20.0]))[1]["decade"]
    '10-99'
    """
    inside, width = (low <= stars) & (stars <= high), np.log1p(high) - np.log1p(low)
    decade = np.where(stars < 1, -1, np.floor(np.log10(np.maximum(stars, 1.0)) + 1e-12)).astype(int)
    return [
        {
            "decade": "0" if one < 0 else f"{10**one}-{10 ** (one + 1) - 1}",
            "n": int((decade == one).sum()),
            "coverage": round(float(inside[decade == one].mean()), 5),
            "width": round(float(width[decade == one].mean()), 5),
        }
        for one in np.unique(decade).tolist()
    ]


def _fit_error_model(told: np.ndarray, off: np.ndarray, categories: Sequence[int], seed: int) -> CategoricalLightGBM:
    return CategoricalLightGBM(dict(SPREAD), tuple(categories), seed).fit(told, off)


def _classes(stars: np.ndarray) -> list[float]:
    """Return the lowest count of each class: none, and the decades, parted where there are many rows, joined where few."""
    ascending = np.sort(stars)
    edges = [0.0, 1.0]
    while edges[-1] <= ascending[-1]:
        first = edges[-1]
        inside = ascending[(ascending >= first) & (ascending < 10 * first)]
        parts = max(len(inside) // ROWS_PER_CLASS, 1)
        edges += [edge for edge in np.unique(inside[np.arange(1, parts) * len(inside) // parts]) if edge > first]
        edges.append(10 * first)
    while len(edges) > 1:
        sizes = np.diff([*np.searchsorted(ascending, edges), len(ascending)])
        small = np.flatnonzero(sizes < LEAST_ROWS)
        if not len(small):
            break
        del edges[max(int(small[-1]), 1)]
    return [float(edge) for edge in edges]


def _fit_radius(score: np.ndarray, groups: list[np.ndarray], levels: list[np.ndarray]) -> np.ndarray:
    """Fit the two parts in turn until both hold; the part for the counts last, so that it holds to the row."""
    rows = [
        [np.flatnonzero(group == one) for one in range(len(level))] for group, level in zip(groups, levels, strict=True)
    ]
    parts = [np.zeros(len(level)) for level in levels]
    for _ in range(SWEEPS):
        before = [part.copy() for part in parts]
        for own, other in ((1, 0), (0, 1)):
            left = score - parts[other][groups[other]]
            parts[own] = np.array(
                [_order_statistic(left[some], level) for some, level in zip(rows[own], levels[own], strict=True)]
            )
        shift = parts[1].mean()  # only the sum counts: keep the two from drifting apart
        parts = [parts[0] + shift, parts[1] - shift]
        if max(np.abs(part - old).max() for part, old in zip(parts, before, strict=True)) < CLOSE:
            break
    return _round_up(parts[0][:, None] + parts[1])


def _correct_levels(level: np.ndarray, coverage: float, size: np.ndarray, inside: np.ndarray) -> np.ndarray:
    wrong = (np.ceil((size + 1) * coverage) - inside) / size
    corrected: np.ndarray = np.clip(level + STEP * wrong, coverage - MOST_BELOW, min(coverage + MOST_ABOVE, 1.0))
    return corrected


def _shrink(found: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray) -> Intervals:
    """Shorten all reaches evenly while the whole is still covered as often as asked: what no class could take back."""
    enough = math.ceil((len(stars) + 1) * found.coverage)
    low, high, best = LEAST_FACTOR, 1.0, found
    for _ in range(HALVINGS):
        factor = (low + high) / 2.0
        reach = _round_up(factor * np.asarray(found.radius))
        shorter = replace(found, radius=tuple(map(tuple, reach.tolist())))
        if _inside(shorter, predicted, spread, stars).sum() >= enough:
            high, best = factor, shorter
        else:
            low = factor
    return best


def _round_up(reach: np.ndarray) -> np.ndarray:
    return np.asarray(np.ceil(reach * FINE) / FINE)


def _inside(found: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray) -> np.ndarray:
    low, high = found.bounds(predicted, spread)
    return ((low <= stars) & (stars <= high)).astype(float)


def _order_statistic(values: np.ndarray, level: float) -> float:
    """Return the value that a new one exceeds with probability at most 1 - level, counting the new one itself."""
    place = min(math.ceil((len(values) + 1) * level), len(values)) - 1
    return float(np.partition(values, place)[place])
