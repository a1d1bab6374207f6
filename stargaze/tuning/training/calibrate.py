"""Calibrate conformal prediction intervals on out-of-fold predictions, and measure their coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import Intervals, append_prediction, spread_scale
from stargaze.tuning.lightgbm_estimator import CategoricalLightGBM

ROWS_PER_CLASS, LEAST_ROWS = 200, 50
"""Decades are divided into classes of this many rows; a class with fewer than the minimum joins the one below."""
ROUNDS, SWEEPS, CLOSE = 8, 15, 1e-4
"""Iterations of the level correction and of the alternating fit, and its convergence tolerance [nat]."""
MOST_BELOW, MOST_ABOVE, STEP = 0.2, 0.05, 0.7
"""Largest correction of a level below and above the nominal coverage [fraction], and the step size."""
LEAST_FACTOR, HALVINGS = 0.05, 14
"""The smallest factor of the final shrinkage, and the iterations of its bisection."""
LEAST_DECADE, TRUE_TOLERANCE, PREDICTED_TOLERANCE = 100, 0.01, 0.1
"""Rows of a decade whose coverage is kept, and how far it may fall below the nominal one by true and by predicted counts."""
MOST_WIDENING = 3.0
"""The largest factor of the radii of a decade of predictions."""
RADIUS_STEPS = 1e5
"""Resolution of a radius [1/nat]: finer than one star at any count."""
SPREAD = {
    "n_estimators": 120,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 40,
    "colsample_bytree": 0.5,
    "subsample": 0.8,
    "reg_lambda": 5.0,
}
"""Small trees, because the size of residuals is mostly noise."""


@dataclass(frozen=True)
class CalibratedIntervals:
    """Calibrated intervals and the model of the prediction error."""

    intervals: Intervals
    spread: Any

    def bounds(self, inputs: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of each prediction interval [stars]; shapes (n,)."""
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
    """Fit the error model and calibrate the intervals with a nominal coverage [fraction] on out-of-fold predictions.

    ``inputs`` (n, n_features) are those of the model, ``predicted`` and ``target`` (n,) are log1p(stars) [nat]. The error of
    each row is predicted by a model that was not fitted on its fold.
    """
    error_inputs, errors = append_prediction(inputs, predicted), np.abs(target - predicted)
    spread = np.zeros(len(target))
    for fold in np.unique(folds):
        out = folds == fold
        spread[out] = _fit_error_model(error_inputs[~out], errors[~out], categories, seed).predict(error_inputs[out])
    return CalibratedIntervals(
        calibrate(predicted, spread, target, coverage), _fit_error_model(error_inputs, errors, categories, seed)
    )


def calibrate(
    predicted: np.ndarray,
    spread: np.ndarray,
    target: np.ndarray,
    coverage: float,
    patterns: np.ndarray | None = None,
) -> Intervals:
    """Calibrate the radii so that the coverage holds in every class of true and of predicted counts.

    A radius that depends on the prediction alone misses most repositories with many stars, because models underestimate
    them; one that depends on the true count alone misleads the reader of a prediction. Here the radius is the sum of a part
    for each; the parts are fitted alternately as quantiles of the residual of the other.

    ``predicted`` and ``target`` are log1p(stars), ``spread`` is the predicted error [nat] of rows outside the training data;
    shapes (n,). ``coverage`` is nominal [fraction].

    Raise ValueError if there are no rows.

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
    stars, predicted_stars = np.round(np.expm1(target)), np.round(np.expm1(predicted))
    count_classes, prediction_classes = _classes(stars), _classes(predicted_stars)
    pairs = ((count_classes, stars), (prediction_classes, predicted_stars))
    groups = [np.searchsorted(edges, counts, side="right") - 1 for edges, counts in pairs]
    sizes = [np.bincount(group) for group in groups]
    levels = [np.full(len(size), coverage) for size in sizes]
    score = np.abs(target - predicted) / spread_scale(spread)
    for _ in range(ROUNDS):
        radius = tuple(map(tuple, _fit_radius(score, groups, levels).tolist()))
        intervals = Intervals(coverage, tuple(count_classes), tuple(prediction_classes), radius)
        inside = _inside(intervals, predicted, spread, stars)
        # An interval that spans several classes covers too much: lower the levels where that happens.
        levels = [
            _correct_levels(level, coverage, size, np.bincount(group, inside))
            for level, group, size in zip(levels, groups, sizes, strict=True)
        ]
    patterns = np.zeros(len(stars), dtype="int64") if patterns is None else patterns
    return _adjust(intervals, predicted, spread, stars, patterns)


def coverage_by_decade(
    low: np.ndarray, high: np.ndarray, stars: np.ndarray, counts: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return the coverage of the intervals for each decade of ``counts`` [stars], by default of the true counts.

    ``low``, ``high`` and ``stars``, the true counts, have shape (n,), as ``counts``, for instance the predictions.

    Returns
    -------
    list of dict
        ``decade`` (as "0", "1-9"), ``n``, ``coverage`` [fraction], ``width``, the mean of log1p(high) - log1p(low) [nat].

    Examples
    --------
    >>> coverage_by_decade(np.array([0.0, 2.0]), np.array([0.0, 9.0]), np.array([0.0, 20.0]))[1]["decade"]
    '10-99'
    """
    inside, width = (low <= stars) & (stars <= high), np.log1p(high) - np.log1p(low)
    decades = _number_of_decade(stars if counts is None else counts)
    return [
        {
            "decade": "0" if decade == 0 else f"{10 ** (decade - 1)}-{10**decade - 1}",
            "n": int((decades == decade).sum()),
            "coverage": round(float(inside[decades == decade].mean()), 5),
            "width": round(float(width[decades == decade].mean()), 5),
        }
        for decade in np.unique(decades).tolist()
    ]


def _fit_error_model(
    inputs: np.ndarray, errors: np.ndarray, categories: Sequence[int], seed: int
) -> CategoricalLightGBM:
    return CategoricalLightGBM(dict(SPREAD), tuple(categories), seed).fit(inputs, errors)


def _classes(stars: np.ndarray) -> list[float]:
    """Return the lowest count of each class: 0 and the decades, divided where there are many rows and joined where few."""
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
    """Fit the two parts alternately until they converge; the part of the count classes last, so that it is exact."""
    rows = [
        [np.flatnonzero(group == number) for number in range(len(level))]
        for group, level in zip(groups, levels, strict=True)
    ]
    parts = [np.zeros(len(level)) for level in levels]
    for _ in range(SWEEPS):
        before = [part.copy() for part in parts]
        for own, other in ((1, 0), (0, 1)):
            rest = score - parts[other][groups[other]]
            pairs = zip(rows[own], levels[own], strict=True)
            parts[own] = np.array([_order_statistic(rest[members], level) for members, level in pairs])
        shift = parts[1].mean()  # only the sum matters: keep the two parts centered
        parts = [parts[0] + shift, parts[1] - shift]
        if max(np.abs(part - old).max() for part, old in zip(parts, before, strict=True)) < CLOSE:
            break
    return _round_up(parts[0][:, None] + parts[1])


def _correct_levels(level: np.ndarray, coverage: float, size: np.ndarray, inside: np.ndarray) -> np.ndarray:
    error = (np.ceil((size + 1) * coverage) - inside) / size
    corrected: np.ndarray = np.clip(level + STEP * error, coverage - MOST_BELOW, min(coverage + MOST_ABOVE, 1.0))
    return corrected


def _adjust(
    intervals: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray, patterns: np.ndarray
) -> Intervals:
    """Widen the intervals of decades of predictions that are covered too rarely, then shorten them by decades of true counts.

    An interval in whole stars that contains an estimate below one contains 0, so that repositories without stars are covered
    more often than stated. One factor for all would make up for it with radii that miss most others.
    """
    true_decades, predicted_decades = _decades(stars), _decades(np.expm1(predicted))
    shares = (intervals.coverage - TRUE_TOLERANCE, intervals.coverage - PREDICTED_TOLERANCE)
    labels = [patterns * 100 + decades for decades in (true_decades, predicted_decades)]
    wanted = [_least_inside(label, share) for label, share in zip(labels, shares, strict=True)]
    enough = np.array([math.ceil((len(stars) + 1) * intervals.coverage)])

    def inside(radius: np.ndarray) -> list[np.ndarray]:
        found = _inside(_with_radius(intervals, radius), predicted, spread, stars)
        return [np.array([found.sum()]), *(np.bincount(label, found) for label in labels)]

    radius = np.asarray(intervals.radius)
    columns = np.minimum(_number_of_decade(np.asarray(intervals.prediction_classes)), predicted_decades.max())
    for decade in range(predicted_decades.max() + 1):
        least = [np.zeros(1), np.zeros(len(wanted[0])), np.zeros(0)]
        least[2] = np.where(np.arange(len(wanted[1])) % 100 == decade, wanted[1], 0.0)
        radius = _scale(radius, np.where(columns == decade, 1.0, 0.0)[None, :], inside, least, (1.0, MOST_WIDENING))
    rows = np.minimum(_number_of_decade(np.asarray(intervals.count_classes)), true_decades.max())
    for decade in range(true_decades.max() + 1):
        least = [np.minimum(now, most) for now, most in zip(inside(radius), (enough, *wanted), strict=True)]
        radius = _scale(radius, np.where(rows == decade, 1.0, 0.0)[:, None], inside, least, (LEAST_FACTOR, 1.0))
    return _with_radius(intervals, radius)


def _scale(
    radius: np.ndarray,
    chosen: np.ndarray,
    inside: Callable[[np.ndarray], list[np.ndarray]],
    least: list[np.ndarray],
    factors: tuple[float, float],
) -> np.ndarray:
    """Multiply the chosen radii by the smallest factor with which enough rows are inside; else by the largest one."""

    def scaled(factor: float) -> np.ndarray:
        return _round_up(np.where(chosen, radius * factor, radius))

    def holds(factor: float) -> bool:
        return all(bool((found >= enough).all()) for found, enough in zip(inside(scaled(factor)), least, strict=True))

    low, high = factors
    if holds(low):
        return scaled(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if holds(middle) else (middle, high)
    return scaled(high)


def _with_radius(intervals: Intervals, radius: np.ndarray) -> Intervals:
    return replace(intervals, radius=tuple(map(tuple, radius.tolist())))


def _least_inside(labels: np.ndarray, share: float) -> np.ndarray:
    """Return how many rows of each group must be inside; none of a group with few rows."""
    sizes = np.bincount(labels)
    return np.where(sizes >= LEAST_DECADE, np.minimum(np.ceil((sizes + 1) * share), sizes), 0.0)


def _number_of_decade(stars: np.ndarray) -> np.ndarray:
    """Return 0 for no stars, 1 for 1 to 9, 2 for 10 to 99."""
    return np.where(stars < 1, 0, np.floor(np.log10(np.maximum(stars, 1.0)) + 1e-12) + 1).astype("int64")


def _decades(stars: np.ndarray) -> np.ndarray:
    """Return the number of each row's decade; a decade with few rows joins the one below."""
    decades = _number_of_decade(stars)
    while (top := decades.max(initial=0)) and (decades == top).sum() < LEAST_DECADE:
        decades[decades == top] = top - 1
    return decades


def _round_up(radius: np.ndarray) -> np.ndarray:
    return np.asarray(np.ceil(radius * RADIUS_STEPS) / RADIUS_STEPS)


def _inside(intervals: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray) -> np.ndarray:
    low, high = intervals.bounds(predicted, spread)
    return ((low <= stars) & (stars <= high)).astype(float)


def _order_statistic(values: np.ndarray, level: float) -> float:
    """Return the conformal quantile: a new value exceeds it with probability at most 1 - level."""
    index = min(math.ceil((len(values) + 1) * level), len(values)) - 1
    return float(np.partition(values, index)[index])
