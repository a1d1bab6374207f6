"""XGBoost's models as its own JSON, whose trees are checked before XGBoost reads them: it trusts every number in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stargaze.manifest import BadBundleError

KIND = "xgboost"
HINT = "stargaze tune makes a bundle"
LARGEST = float(np.finfo("float32").max)
"""XGBoost refuses infinity; what is beyond every border is the same to a tree."""
NODES = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "split_type",
    "default_left",
)
"""Arrays of a tree with a number a node."""


def data(inputs: np.ndarray, categories: Sequence[int], target: np.ndarray | None = None) -> Any:
    """Return a float matrix as XGBoost takes it; shape (n, n_features)."""
    import xgboost

    kinds = ["c" if place in categories else "q" for place in range(inputs.shape[1])]
    bounded = np.clip(np.asarray(inputs, dtype="float32"), -LARGEST, LARGEST)
    return xgboost.DMatrix(bounded, target, feature_types=kinds, enable_categorical=True, nthread=1)


def to_bytes(booster: Any) -> bytes:
    """Return a fitted booster as JSON."""
    return bytes(booster.save_raw("json"))


def from_bytes(content: bytes) -> Boosted:
    """Read what :func:`to_bytes` wrote.

    Raises
    ------
    BadBundleError
        If XGBoost is not here, or the content is no such model, or a tree leads out of itself.
    """
    try:
        import xgboost
    except ImportError as error:
        raise BadBundleError("the model needs xgboost", hint="pip install 'stargaze[xgboost]'") from error
    try:
        categories = _checked(json.loads(content))
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(content))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, xgboost.core.XGBoostError) as error:
        raise BadBundleError(f"not an XGBoost model: {str(error).splitlines()[0][:200]}", hint=HINT) from error
    return Boosted(booster, categories)


class Boosted:
    """A model that was read."""

    def __init__(self, booster: Any, categories: Sequence[int]) -> None:
        self._booster = booster
        self._categories = categories

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        return self._asked(inputs)

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return XGBoost's own exact contributions [nat], the last column where they start from; shape (n, n_features + 1)."""
        return self._asked(inputs, pred_contribs=True)

    def _asked(self, inputs: np.ndarray, **how: bool) -> np.ndarray:
        import xgboost

        if np.ndim(inputs) != 2 or inputs.shape[1] != self._booster.num_features():  # it takes fewer for missing ones
            raise BadBundleError(
                f"the model cannot predict: it takes {self._booster.num_features()} features", hint=HINT
            )
        try:
            return np.asarray(self._booster.predict(data(inputs, self._categories), **how))
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise BadBundleError(f"the model cannot predict: {error}", hint=HINT) from error


def _checked(model: Any) -> list[int]:
    """Return the places of the categories of a model that is a regression by trees that stay within themselves."""
    learner = model["learner"]
    booster = learner["gradient_booster"]
    n_features = int(learner["learner_model_param"]["num_feature"])
    kinds = learner["feature_types"]
    trees = booster["model"]["trees"]
    claims = {
        "it is no boosted tree": booster["name"] == "gbtree",
        "it is no regression": learner["objective"]["name"] == "reg:squarederror",
        "its features are not those it says": len(kinds) == n_features and set(kinds) <= {"c", "q"},
        "its trees are not those it says": booster["model"]["tree_info"] == [0] * len(trees),
        "it holds categories of its own": not booster["model"]["cats"]["enc"],
        "a tree leads out of itself": all(_stays_within(tree, n_features) for tree in trees),
    }
    wrong = [claim for claim, holds in claims.items() if not holds]
    if wrong:
        raise ValueError(wrong[0])
    return [place for place, kind in enumerate(kinds) if kind == "c"]


def _stays_within(tree: Any, n_features: int) -> bool:
    """Tell whether a tree is one: as long as it says, every node reached once, every place one of its own."""
    nodes = {name: np.asarray(tree[name]) for name in NODES}
    n = int(tree["tree_param"]["num_nodes"])
    left, right = nodes["left_children"], nodes["right_children"]
    if n < 1 or any(array.shape != (n,) for array in nodes.values()) or tree["tree_param"]["size_leaf_vector"] != "1":
        return False
    if left.dtype.kind != "i" or right.dtype.kind != "i" or nodes["split_indices"].dtype.kind != "i":
        return False
    inner = left != -1
    reached = np.sort(np.concatenate([left[inner], right[inner]]))
    later = (left[inner] > np.flatnonzero(inner)) & (right[inner] > np.flatnonzero(inner))  # so there is no way round
    features = nodes["split_indices"]
    return bool(
        np.array_equal(reached, np.arange(1, n))
        and later.all()
        and (right[~inner] == -1).all()
        and ((features >= 0) & (features < n_features)).all()
        and _sets_stay_within(tree, n)
    )


def _sets_stay_within(tree: Any, n: int) -> bool:
    """Tell whether the sets of categories that nodes split by are parts of the one list of them."""
    nodes, starts, sizes, values = (
        np.asarray(tree[name], dtype="int64")
        for name in ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    )
    by_set = np.flatnonzero(np.asarray(tree["split_type"]) == 1)
    by_set = by_set[np.asarray(tree["left_children"])[by_set] != -1]
    return bool(
        nodes.shape == starts.shape == sizes.shape
        and set(by_set.tolist()) <= set(nodes.tolist())
        and ((nodes >= 0) & (nodes < n)).all()
        and ((starts >= 0) & (sizes >= 0) & (starts + sizes <= len(values))).all()
        and ((values >= 0) & (values < 2**24)).all()  # XGBoost's own bound
    )
