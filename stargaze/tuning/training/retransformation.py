"""From the typical count to the mean: the offset of log1p(stars) with which the error in stars is smallest, and its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from stargaze.tuning.metrics import star_rmse

MAX_OFFSET = 3.0
"""Largest offset [nat], a factor of 20: a larger one would follow from a few repositories."""


def find_offset(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the offset [nat] that turns a typical count into the mean: the smaller of two estimates of its factor.

    ``predicted`` are out-of-fold, ``target`` is log1p(stars) [nat]; shapes (n,). A model of the logarithm predicts about the
    median of the stars; their mean minimizes the squared error in stars. Each estimate is too large on some tables:
    :func:`smear` if errors are larger where counts are small, :func:`fit_factor` if a few repositories have most stars.

    Examples
    --------
    >>> target = np.log([1.0, 3.0])
    >>> round(float(np.exp(find_offset(np.zeros(2), target))), 6)
    2.0
    """
    return float(np.clip(min(smear(predicted, target), fit_factor(predicted, target)), -MAX_OFFSET, MAX_OFFSET))


def smear(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the logarithm of the mean of exp(target - predicted) [nat].

    References
    ----------
    Duan, Smearing estimate: a nonparametric retransformation method, 1983.
    """
    return float(np.log(np.mean(np.exp(target - np.maximum(predicted, 0.0)))))


def fit_factor(predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the logarithm of the factor of stars + 1 with the least squared error in stars [nat]."""
    expected = np.exp(np.maximum(predicted, 0.0))
    return float(np.log(np.sum(np.exp(target) * expected) / np.sum(expected**2)))


def fit_star_weights(
    predictions: np.ndarray, target: np.ndarray, start: np.ndarray, row_weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the non-negative weights that sum to one and minimize the error in stars, near the weights ``start``.

    ``predictions`` have shape (n, n_candidates) [nat]; the error is that of the best constant factor.
    """
    if predictions.shape[1] == 1:
        return start
    scale = star_rmse(target, predictions @ start, row_weights) or 1.0

    def error(weights: np.ndarray) -> float:
        return star_rmse(target, predictions @ weights, row_weights) / scale

    bounds: Any = [(0.0, 1.0)] * len(start)
    found: Any = minimize(
        error,
        start,
        method="SLSQP",
        bounds=bounds,
        constraints=LinearConstraint(np.ones((1, len(start))), 1.0, 1.0),
        options={"maxiter": 60},
    )
    weights = np.clip(found.x, 0.0, 1.0)
    better = found.success and found.fun < 1.0 and weights.sum() > 0
    return weights / weights.sum() if better else start
