"""Model formats that run no code on load: LightGBM text, CatBoost tables, and skops with an allow-list."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from stargaze.bundle.formats import catboost_model, lightgbm_model, skops_model
from stargaze.bundle.manifest import BadBundleError


class Model(Protocol):
    """A loaded model."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat] for a float matrix; shape (n,)."""

    def contributions(self, inputs: np.ndarray) -> np.ndarray | None:
        """Return exact feature contributions (n, n_features + 1) [nat], the last the base value; None if unsupported."""


@runtime_checkable
class LeafModel(Protocol):
    """A tree model that returns leaf indices."""

    def leaf_indices(self, inputs: np.ndarray) -> np.ndarray:
        """Return the leaf index of each row in each tree; shape (n, n_trees)."""


@dataclass(frozen=True)
class Ensemble:
    """A weighted mean of models; the weights sum to one, and one model is an ensemble of weight 1.

    ``offset`` [nat] is added: with ``tuning.metric = "rmse"`` it turns the typical count of stars into the mean.
    """

    weights: tuple[float, ...]
    models: tuple[Model, ...]
    offset: float = 0.0

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat] for a float matrix; shape (n,)."""
        predictions = (weight * model.predict(inputs) for weight, model in zip(self.weights, self.models, strict=True))
        return np.asarray(sum(predictions)) + self.offset


def serialize_model(model: Any) -> tuple[str, bytes]:
    """Return the name of the format and the serialized model."""
    if hasattr(model, "to_bytes"):
        kind, content = model.to_bytes()
        return kind, content
    if getattr(model, "booster", None) is not None:
        return lightgbm_model.KIND, model.booster.model_to_string().encode()
    return skops_model.KIND, skops_model.serialize_skops(model)


def deserialize_model(kind: str, data: bytes) -> Model:
    """Deserialize a model from bytes that a manifest verified; raise BadBundleError if they are malformed or not allowed."""
    parsers: dict[str, Callable[[bytes], Model]] = {
        lightgbm_model.KIND: lightgbm_model.load_lightgbm,
        skops_model.KIND: skops_model.load_skops,
        catboost_model.KIND: catboost_model.CatboostModel.from_bytes,
    }
    if kind not in parsers:
        raise BadBundleError(f"{kind!r} is not a model format: {', '.join(parsers)}")
    return parsers[kind](data)


def are_weights(weights: list[Any]) -> bool:
    """Return whether these are positive numbers that sum to one; JSON may contain true, NaN and 1e999."""
    plain = all(type(weight) in (int, float) and 0.0 < weight <= 1.0 for weight in weights)
    return plain and math.isclose(sum(weights), 1.0, abs_tol=1e-6)
