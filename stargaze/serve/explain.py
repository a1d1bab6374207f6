"""Why a prediction is what it is: contributions that add up to it in log1p(stars), so that their factors multiply to it."""

from __future__ import annotations

import numpy as np

from stargaze.bundle import Bundle
from stargaze.formats import Model

N_PERMUTATIONS = 8
"""Pairs of orders a row; the estimate is unbiased for any number and always adds up exactly."""


def contributions(bundle: Bundle, inputs: np.ndarray, policy: str) -> np.ndarray:
    """Return what each feature adds to each prediction.

    LightGBM gives its own exact Shapley values; any other model is asked along random orders in which the features of a
    typical repository are replaced, one after the other, by those of the row. What a blend's models say is added up by their
    weights, as their predictions are.

    Parameters
    ----------
    bundle : Bundle
    inputs : array, shape (n_rows, n_features)
        What the policy's model is given.
    policy : str

    Returns
    -------
    array, shape (n_rows, n_features + 1)
        Contributions [nat]; the last column is where they start from. Rows sum to the model's output.

    References
    ----------
    Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018; Štrumbelj and Kononenko,
    Explaining prediction models and individual predictions with feature contributions, 2014.
    """
    typical = np.array(
        [np.nan if value is None else value for value in bundle.meta["background"][policy]], dtype="float32"
    )
    blend = bundle.models[policy]
    parts = [
        weight * _of_one(model, inputs, typical) for weight, model in zip(blend.weights, blend.models, strict=True)
    ]
    return np.asarray(sum(parts))


def _of_one(model: Model, inputs: np.ndarray, typical: np.ndarray) -> np.ndarray:
    exact = model.contributions(inputs)
    return exact if exact is not None else np.vstack([_sampled(model.predict, row, typical) for row in inputs])


def _sampled(predict: object, row: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Walk from the typical row to this one along antithetic random orders and average the steps."""
    random = np.random.default_rng(0)
    orders = [order for _ in range(N_PERMUTATIONS) for order in _pair(random.permutation(len(row)))]
    path = np.vstack([_path(row, typical, order) for order in orders])
    heights = np.asarray(predict(path)).reshape(len(orders), len(row) + 1)  # type: ignore[operator]
    added = np.zeros(len(row) + 1)
    for order, height in zip(orders, heights, strict=True):
        added[order] += np.diff(height)
    added /= len(orders)
    added[-1] = heights[0, 0]
    return added


def _pair(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return order, order[::-1]


def _path(row: np.ndarray, typical: np.ndarray, order: np.ndarray) -> np.ndarray:
    steps = np.tile(typical, (len(row) + 1, 1))
    for place, feature in enumerate(order):
        steps[place + 1 :, feature] = row[feature]
    return steps
