"""XGBoost's models as its own JSON, whose trees are checked before XGBoost reads them: it trusts every number in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stargaze.bundle.manifest import BadBundleError

KIND = "xgboost"
HINT = "stargaze tune makes a bundle"
LARGEST = float(np.finfo("float32").max)
"""XGBoost refuses infinity; what is beyond every border is the same to a tree."""
DEEPEST = 64
"""Levels; our search goes to 10. XGBoost finds contributions in memory that grows with their square."""
NO_PARENT = 2**31 - 1
"""What the root has for a parent."""
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
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
    except (*MALFORMED, xgboost.core.XGBoostError) as error:
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

        n_features = self._booster.num_features()
        if np.ndim(inputs) != 2 or inputs.shape[1] != n_features:  # it takes fewer for missing ones
            raise BadBundleError(f"the model cannot predict: it takes {n_features} features", hint=HINT)
        try:
            return np.asarray(self._booster.predict(data(inputs, self._categories), **how))
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise BadBundleError(f"the model cannot predict: {error}", hint=HINT) from error


def _checked(model: Any) -> list[int]:
    """Return the places of the categories of a model that is a regression by trees that stay within themselves."""
    learner = model["learner"]
    booster = learner["gradient_booster"]
    told = learner["learner_model_param"]
    n_features = int(told["num_feature"])
    kinds = learner["feature_types"]
    trees = booster["model"]["trees"]
    claims = {
        "it is no boosted tree": booster["name"] == "gbtree",
        "it is no regression": learner["objective"]["name"] == "reg:squarederror",
        "it answers with more than one number": told["num_class"] == "0" and told["num_target"] == "1",
        "it does not start from a number": _is_one_number(told["base_score"]),
        "its features are not those it says": len(kinds) == n_features and set(kinds) <= {"c", "q"},
        "its trees are not those it says": booster["model"]["tree_info"] == [0] * len(trees),
        "it holds categories of its own": not booster["model"]["cats"]["enc"],
        "a tree leads out of itself": all(_stays_within(tree, n_features) for tree in trees),
    }
    wrong = [claim for claim, holds in claims.items() if not holds]
    if wrong:
        raise ValueError(wrong[0])
    return [place for place, kind in enumerate(kinds) if kind == "c"]


def _is_one_number(text: str) -> bool:
    """Tell whether a text holds a number, bare or as the only one of a list: XGBoost 3.1 began to write the latter."""
    start = np.asarray(json.loads(text), dtype="float64")
    return bool(start.size == 1 and np.isfinite(start).all())


def _stays_within(tree: Any, n_features: int) -> bool:
    """Tell whether a tree is one: as long as it says, every node reached once, every place one of its own."""
    nodes = {name: np.asarray(tree[name]) for name in NODES}
    n = int(tree["tree_param"]["num_nodes"])
    left, right = nodes["left_children"], nodes["right_children"]
    if n < 1 or any(array.shape != (n,) for array in nodes.values()) or tree["tree_param"]["size_leaf_vector"] != "1":
        return False
    features, parents, by_set = nodes["split_indices"], nodes["parents"], nodes["split_type"]
    if any(array.dtype.kind != "i" for array in (left, right, features, parents, by_set)):
        return False
    inner = left != -1
    owners = np.flatnonzero(inner)
    reached = np.sort(np.concatenate([left[inner], right[inner]]))
    later = (left[inner] > owners) & (right[inner] > owners)  # so there is no way round
    borders = nodes["split_conditions"]
    return bool(
        np.array_equal(reached, np.arange(1, n))
        and later.all()
        and (right[~inner] == -1).all()
        and parents[0] == NO_PARENT
        and (parents[left[inner]] == owners).all()
        and (parents[right[inner]] == owners).all()
        and _is_shallow(left, right)
        and ((by_set == 0) | (by_set == 1)).all()
        and np.isfinite(borders[~inner]).all()  # what a leaf adds
        and not np.isnan(borders[by_set == 0]).any()  # where a set decides it is no number
        and ((features >= 0) & (features < n_features)).all()
        and _sets_stay_within(tree, n)
    )


def _is_shallow(left: np.ndarray, right: np.ndarray) -> bool:
    """Tell whether no way through a tree that has no way round is longer than :data:`DEEPEST`."""
    level = np.zeros(1, dtype="int64")
    for _ in range(DEEPEST):
        level = np.concatenate([left[level], right[level]])
        level = level[level != -1]
        if not len(level):
            return True
    return False


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
