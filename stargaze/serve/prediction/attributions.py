"""Why a prediction is what it is: contributions that add up to it in log1p(stars), so that their factors multiply to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stargaze.bundle.serialization import Model
from stargaze.bundle.star_bundle import Bundle

N_PERMUTATIONS = 8
"""Pairs of orders a row; the estimate is unbiased for any number and always adds up exactly."""
AT_ONCE = 16
"""Rows that a model is asked about in one call: 20,000 steps of 80 features are 7 MB."""
Predict = Callable[[np.ndarray], np.ndarray]


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
    if exact is not None:
        return exact
    begins = range(0, len(inputs), AT_ONCE)
    return np.vstack([_sampled(model.predict, inputs[begin : begin + AT_ONCE], typical) for begin in begins])


def _sampled(predict: Predict, rows: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Walk from the typical row to each of these along antithetic random orders and average the steps."""
    (n_rows, n_features), random = rows.shape, np.random.default_rng(0)
    orders = np.array([order for _ in range(N_PERMUTATIONS) for order in _pair(random.permutation(n_features))])
    replaced = np.argsort(orders, axis=1)[:, None, :] < np.arange(n_features + 1)[:, None]
    steps = np.where(replaced, rows[:, None, None, :], typical)
    heights = np.asarray(predict(steps.reshape(-1, n_features))).reshape(n_rows, len(orders), n_features + 1)
    added = np.zeros((n_rows, n_features + 1))
    for place, order in enumerate(orders):
        added[:, order] += np.diff(heights[:, place])
    added /= len(orders)
    added[:, -1] = heights[:, 0, 0]
    return added


def _pair(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return order, order[::-1]
