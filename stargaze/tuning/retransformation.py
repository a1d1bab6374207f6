"""From the typical count to the mean: the offset of log1p(stars) with which the error in stars is small, and that error."""

from __future__ import annotations

import numpy as np

MAX_OFFSET = 3.0
"""Largest offset [nat], a factor of 20: a larger one would follow from a few repositories."""


def find_offset(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
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
    smaller = min(smear(predicted, target, weights), fit_factor(predicted, target, weights))
    return float(np.clip(smaller, -MAX_OFFSET, MAX_OFFSET))


def smear(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the logarithm of the mean of exp(target - predicted) [nat].

    References
    ----------
    Duan, Smearing estimate: a nonparametric retransformation method, 1983.
    """
    return float(np.log(np.average(np.exp(target - np.maximum(predicted, 0.0)), weights=weights)))


def fit_factor(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the logarithm of the factor of stars + 1 with the least squared error in stars [nat]."""
    expected = np.exp(np.maximum(predicted, 0.0))
    products, squares = (np.average(expected * other, weights=weights) for other in (np.exp(target), expected))
    return float(np.log(products / squares))


def star_rmse(target: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the root mean squared error [stars] of predicted log1p(stars) with the offset of these rows.

    The offset is fitted after the models, so models are compared with theirs.

    Examples
    --------
    >>> round(star_rmse(np.log1p([1.0, 3.0]), np.log1p([3.0, 7.0])), 6)  # twice as many stars, and one more
    0.0
    """
    shifted = np.maximum(predicted, 0.0) + find_offset(predicted, target, weights)
    return float(np.sqrt(np.average((np.expm1(np.maximum(shifted, 0.0)) - np.expm1(target)) ** 2, weights=weights)))
