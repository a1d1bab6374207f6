"""Scores of predicted star counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata


def rmsle(stars: ArrayLike, predicted: ArrayLike) -> float:
    """Return the root mean squared logarithmic error [nat] of predicted counts [stars]; ln 2 = 0.69 is a factor of two.

    Raise ValueError if the shapes differ or a count is negative.

    Examples
    --------
    >>> round(rmsle([99.0, 0.0], [199.0, 0.0]), 2)
    0.49
    """
    return clipped_rmse(*map(np.log1p, _as_counts(stars, predicted)))


def clipped_rmse(target: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the root mean squared error of log1p(stars) [nat], with predictions clipped at 0 as in serving."""
    return float(np.sqrt(np.average((np.maximum(predicted, 0.0) - target) ** 2, weights=weights)))


def scores(stars: ArrayLike, predicted: ArrayLike) -> dict[str, float]:
    """Compute all scores of predicted counts [stars].

    Raise ValueError if the shapes differ or a count is negative.

    Returns
    -------
    dict
        ``rmsle`` [nat]; ``rmse`` [stars]; ``r2`` of log1p(stars); ``mdape``, the median of
        |predicted - true| / true over repositories with at least one star [share]; ``rho``, Spearman's rank correlation.

    Examples
    --------
    >>> scores([1.0, 10.0, 100.0], [2.0, 10.0, 100.0])["rho"]
    1.0
    """
    true, predicted_counts = _as_counts(stars, predicted)
    log_true, log_predicted = np.log1p(true), np.log1p(predicted_counts)
    spread = float(np.sum((log_true - log_true.mean()) ** 2))
    starred = true > 0
    # Predictions of similar repositories may differ in the last bit only: rounded, they share a rank.
    ranks = rankdata(true), rankdata(np.round(log_predicted, 9))
    varied = all(rank.std() > 0 for rank in ranks)
    return {
        "rmsle": clipped_rmse(log_true, log_predicted),
        "rmse": float(np.sqrt(np.mean((predicted_counts - true) ** 2))),
        "r2": 1.0 - float(np.sum((log_true - log_predicted) ** 2)) / spread if spread > 0 else 0.0,
        "mdape": float(np.median(np.abs(predicted_counts - true)[starred] / true[starred])) if starred.any() else 0.0,
        "rho": float(np.corrcoef(*ranks)[0, 1]) if varied else 0.0,
    }


def _as_counts(stars: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted_counts = np.asarray(stars, dtype="float64"), np.asarray(predicted, dtype="float64")
    if true.shape != predicted_counts.shape:
        raise ValueError(f"shapes differ: {true.shape} and {predicted_counts.shape}")
    if (true < 0).any() or (predicted_counts < 0).any():
        raise ValueError("a count of stars is negative")
    return true, predicted_counts
