"""Calibrate conformal prediction intervals on out-of-fold predictions, and measure their coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import Intervals, spread_scale
from stargaze.tuning.training.radii import adjust_radii, find_inside, number_of_decade, round_up

ROWS_PER_CLASS, LEAST_ROWS = 200, 50
"""Decades are divided into classes of this many rows; a class with fewer than the minimum joins the one below."""
ROUNDS, SWEEPS, CLOSE = 8, 15, 1e-4
"""Iterations of the level correction and of the alternating fit, and its convergence tolerance [nat]."""
MOST_BELOW, MOST_ABOVE, STEP = 0.2, 0.05, 0.7
"""Largest correction of a level below and above the nominal coverage [fraction], and the step size."""


def calibrate(
    predicted: np.ndarray, spread: np.ndarray, target: np.ndarray, coverage: float, tolerance: float = 0.0
) -> Intervals:
    """Calibrate the radii so that the coverage holds in every class of true and of predicted counts.

    A radius that depends on the prediction alone misses most repositories with many stars, because models underestimate
    them; one that depends on the true count alone misleads the reader of a prediction. Here the radius is the sum of a part
    for each; the parts are fitted alternately as quantiles of the residual of the other.

    ``predicted`` and ``target`` are log1p(stars), ``spread`` is the predicted error [nat] of rows outside the training data;
    shapes (n,). ``coverage`` is nominal [fraction]; that of a class of true counts may be lower by ``tolerance``, that of all
    rows not.

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
    shares = (coverage - tolerance, coverage)
    levels = [np.full(len(size), share) for size, share in zip(sizes, shares, strict=True)]
    score = np.abs(target - predicted) / spread_scale(spread)
    for _ in range(ROUNDS):
        radius = tuple(map(tuple, _fit_radius(score, groups, levels).tolist()))
        intervals = Intervals(coverage, tuple(count_classes), tuple(prediction_classes), radius)
        inside = find_inside(intervals, predicted, spread, stars)
        # An interval that spans several classes covers too much: lower the levels where that happens.
        levels = [
            _correct_levels(level, share, size, np.bincount(group, inside))
            for level, share, group, size in zip(levels, shares, groups, sizes, strict=True)
        ]
    return adjust_radii(intervals, predicted, spread, stars, tolerance)


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
    decades = number_of_decade(stars if counts is None else counts)
    return [
        {
            "decade": "0" if decade == 0 else f"{10 ** (decade - 1)}-{10**decade - 1}",
            "n": int((decades == decade).sum()),
            "coverage": round(float(inside[decades == decade].mean()), 5),
            "width": round(float(width[decades == decade].mean()), 5),
        }
        for decade in np.unique(decades).tolist()
    ]


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
    return round_up(parts[0][:, None] + parts[1])


def _correct_levels(level: np.ndarray, coverage: float, size: np.ndarray, inside: np.ndarray) -> np.ndarray:
    error = (np.ceil((size + 1) * coverage) - inside) / size
    corrected: np.ndarray = np.clip(level + STEP * error, coverage - MOST_BELOW, min(coverage + MOST_ABOVE, 1.0))
    return corrected


def _order_statistic(values: np.ndarray, level: float) -> float:
    """Return the conformal quantile: a new value exceeds it with probability at most 1 - level."""
    index = min(math.ceil((len(values) + 1) * level), len(values)) - 1
    return float(np.partition(values, index)[index])
