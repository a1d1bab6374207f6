"""The weights of an ensemble with the smallest error in stars."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from stargaze.tuning.retransformation import star_rmse


def fit_star_weights(
    predictions: np.ndarray, target: np.ndarray, start: np.ndarray, row_weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the non-negative weights that sum to one and minimize the error in stars, near the weights ``start``.

    ``predictions`` have shape (n, n_candidates) [nat]; the error is that with the offset.
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
