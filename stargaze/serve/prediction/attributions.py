"""Attributions: contributions that add up to a prediction in log1p(stars), so their factors multiply to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stargaze.bundle.serialization import Model
from stargaze.bundle.star_bundle import Bundle

N_PERMUTATIONS = 8
"""Pairs of orders for each row; the estimate is unbiased for any number and always adds up exactly."""
BATCH_SIZE = 16
"""Rows that are sampled at once: 20,000 inputs of 80 features are 7 MB."""
Predict = Callable[[np.ndarray], np.ndarray]


def contributions(bundle: Bundle, inputs: np.ndarray, policy: str) -> np.ndarray:
    """Return what each feature adds to each prediction.

    ``inputs`` has the shape (n_rows, n_features). The result [nat] has one more column, the base value; its rows sum to the
    output of the model. LightGBM computes exact Shapley values. For other models they are sampled: along random orders the
    features of a typical repository are replaced by those of the row. An ensemble's are weighted as its predictions are.

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
        weight * _model_contributions(model, inputs, typical)
        for weight, model in zip(blend.weights, blend.models, strict=True)
    ]
    return np.asarray(sum(parts))


def _model_contributions(model: Model, inputs: np.ndarray, typical: np.ndarray) -> np.ndarray:
    exact = model.contributions(inputs)
    if exact is not None:
        return exact
    begins = range(0, len(inputs), BATCH_SIZE)
    return np.vstack([_sample(model.predict, inputs[begin : begin + BATCH_SIZE], typical) for begin in begins])


def _sample(predict: Predict, rows: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Replace the typical row's features by each row's along antithetic random orders, and average the differences."""
    (n_rows, n_features), random = rows.shape, np.random.default_rng(0)
    permutations = [random.permutation(n_features) for _ in range(N_PERMUTATIONS)]
    orders = np.array([order for permutation in permutations for order in (permutation, permutation[::-1])])
    replaced = np.argsort(orders, axis=1)[:, None, :] < np.arange(n_features + 1)[:, None]
    inputs = np.where(replaced, rows[:, None, None, :], typical)
    outputs = np.asarray(predict(inputs.reshape(-1, n_features))).reshape(n_rows, len(orders), n_features + 1)
    added = np.zeros((n_rows, n_features + 1))
    for i, order in enumerate(orders):
        added[:, order] += np.diff(outputs[:, i])
    added /= len(orders)
    added[:, -1] = outputs[:, 0, 0]
    return added
