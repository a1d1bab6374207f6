"""What each feature adds to a prediction: exactly where the model allows it, by sampling otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from stargaze.bundle.formats.skops_model import SkopsModel
from stargaze.bundle.serialization import Model
from stargaze.bundle.star_bundle import Bundle

N_PERMUTATIONS = 8
"""Pairs of orders for each row; the estimate is unbiased for any number and always adds up exactly."""
BATCH_SIZE = 16
"""Rows that are sampled at once: 20,000 inputs of 80 features are 7 MB."""
Method = Literal["exact", "sampled"]
Predict = Callable[[np.ndarray], np.ndarray]


def contributions(bundle: Bundle, inputs: np.ndarray, policy: str) -> tuple[Method, np.ndarray]:
    """Return the method and what each feature adds to each prediction of a policy's models.

    ``inputs`` has the shape (n_rows, n_features). The result [nat] has one more column, the base value; its rows sum to the
    output of the models. Models of trees compute exact Shapley values. A linear model adds up functions of single features, so
    the differences from a typical repository are its exact Shapley values. For other models they are sampled: along random
    orders the features of a typical repository are replaced by those of the row. An ensemble's are weighted as its predictions.

    References
    ----------
    Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018; Štrumbelj and Kononenko,
    Explaining prediction models and individual predictions with feature contributions, 2014.
    """
    typical = np.array(bundle.meta["background"][policy], dtype="float32")  # None becomes NaN
    ensemble = bundle.models[policy]
    parts = [_model_contributions(model, inputs, typical) for model in ensemble.models]
    method: Method = "exact" if all(part[0] == "exact" for part in parts) else "sampled"
    weighted = (weight * part for weight, (_, part) in zip(ensemble.weights, parts, strict=True))
    total = np.asarray(sum(weighted))
    total[:, -1] += ensemble.offset
    return method, total


def _model_contributions(model: Model, inputs: np.ndarray, typical: np.ndarray) -> tuple[Method, np.ndarray]:
    exact = model.contributions(inputs)
    if exact is not None:
        return "exact", exact
    if isinstance(model, SkopsModel) and model.is_additive:
        return "exact", _subtract_typical(model.predict, inputs, typical)
    begins = range(0, len(inputs), BATCH_SIZE)
    parts = [_sample(model.predict, inputs[begin : begin + BATCH_SIZE], typical) for begin in begins]
    return "sampled", np.vstack(parts) if parts else np.zeros((0, inputs.shape[1] + 1))


def _subtract_typical(predict: Predict, rows: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Replace one feature of the typical repository at a time by that of each row, and subtract its prediction."""
    n_rows, n_features = rows.shape
    replaced = np.vstack([np.eye(n_features, dtype=bool), np.zeros((1, n_features), dtype=bool)])
    inputs = np.where(replaced, rows[:, None, :], typical)
    outputs = np.asarray(predict(inputs.reshape(-1, n_features)), dtype="float64").reshape(n_rows, n_features + 1)
    added: np.ndarray = outputs - outputs[:, -1:]
    added[:, -1] = outputs[:, -1]
    return added


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
