"""Models as bytes that run no code when they are read: LightGBM's text, XGBoost's JSON, tables, and skops with an allow-list."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from stargaze.bundle import catboost_model as catboosted
from stargaze.bundle import lightgbm_model as lightboosted
from stargaze.bundle import xgboost_model as xgboosted
from stargaze.bundle.manifest import BadBundleError
from stargaze.bundle.skops_model import steadied

TRUSTED = (
    "functools.partial",  # histogram boosting keeps its input check as one, of the next line alone
    "sklearn.utils.validation.check_array",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.model_selection._split.KFold",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""Types beyond skops' own safe list that our families hold; a bundle cannot add to it."""

MALFORMED = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, MemoryError, OSError),
    *(
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ),
)
"""What skops, zipfile and NumPy were seen to raise, or say they raise, on bytes that are not what they claim to be."""


class Model(Protocol):
    """What every loaded model can do."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat] for a float matrix; shape (n,)."""

    def contributions(self, inputs: np.ndarray) -> np.ndarray | None:
        """Return the model's own exact contributions (n, n_features + 1) [nat], the last the base; None if it has none."""


@runtime_checkable
class Leaved(Protocol):
    """What a model of trees can do beyond that."""

    def reached(self, inputs: np.ndarray) -> np.ndarray:
        """Return in which leaf of each tree each row falls; shape (n, n_trees)."""


@dataclass(frozen=True)
class Blend:
    """Models whose predictions are averaged; the weights sum to one, and one model is a blend of itself."""

    weights: tuple[float, ...]
    models: tuple[Model, ...]

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat] for a float matrix; shape (n,)."""
        told = [weight * model.predict(inputs) for weight, model in zip(self.weights, self.models, strict=True)]
        return np.asarray(sum(told))


def to_bytes(model: Any) -> tuple[str, bytes]:
    """Return the format's name and the model's bytes."""
    own: Callable[[], tuple[str, bytes]] | None = getattr(model, "to_bytes", None)
    if own is not None:
        return own()
    booster = getattr(model, "booster", None)
    if booster is not None:
        return "lightgbm", booster.model_to_string().encode()
    from skops import io

    return "skops", steadied(io.dumps(model))


def from_bytes(kind: str, data: bytes) -> Model:
    """Read a model; only call this with bytes that a signature or a manifest vouches for.

    Raises
    ------
    BadBundleError
        If the bytes are not such a model or hold a type that is not on the list.
    """
    if kind == lightboosted.KIND:
        return lightboosted.from_bytes(data)
    if kind == "skops":
        return _skops(data)
    if kind == xgboosted.KIND:
        return xgboosted.from_bytes(data)
    if kind == catboosted.KIND:
        return catboosted.Oblivious.from_bytes(data)
    raise BadBundleError(
        f"{kind!r} is not a model format: lightgbm, skops, xgboost, catboost", hint="stargaze tune makes a bundle"
    )


class _Estimator:
    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(self._estimator.predict(inputs))
        except MALFORMED as error:
            raise BadBundleError(f"the model cannot predict: {error}", hint="stargaze tune makes a bundle") from error

    def contributions(self, inputs: np.ndarray) -> np.ndarray | None:
        return None


def _skops(data: bytes) -> Model:
    from skops import io

    try:
        foreign = sorted(set(io.get_untrusted_types(data=data)) - set(TRUSTED))
        if foreign:
            raise BadBundleError(
                f"the model holds types that are not allowed: {', '.join(foreign)}", hint="stargaze tune"
            )
        estimator = io.loads(data, trusted=list(TRUSTED))
    except MALFORMED as error:
        raise BadBundleError(f"not a skops model: {error}", hint="stargaze tune makes a bundle") from error
    if not callable(getattr(estimator, "predict", None)):
        raise BadBundleError(f"a {type(estimator).__name__} is not a model", hint="stargaze tune makes a bundle")
    return _Estimator(estimator)
