"""XGBoost models as JSON. The trees are validated first, because XGBoost trusts every number in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stargaze.bundle.manifest import MALFORMED, MAX_OUTPUT, BadBundleError

KIND = "xgboost"
LARGEST = float(np.finfo("float32").max)
"""XGBoost refuses infinity; values beyond every threshold are equal for a tree."""
MAX_DEPTH = 64
"""Levels; our search goes to 10. The memory of XGBoost's contributions grows with the square of the depth."""
NO_PARENT = 2**31 - 1
"""The parent of the root."""
NODES = (
    *("left_children", "right_children", "parents"),
    *("split_indices", "split_conditions", "split_type", "default_left"),
)
"""Arrays of a tree with one number per node."""


def to_matrix(inputs: np.ndarray, categories: Sequence[int], target: np.ndarray | None = None) -> Any:
    """Return a float matrix of shape (n, n_features) as XGBoost's type."""
    import xgboost

    kinds = ["c" if column in categories else "q" for column in range(inputs.shape[1])]
    bounded = np.clip(np.asarray(inputs, dtype="float32"), -LARGEST, LARGEST)
    return xgboost.DMatrix(bounded, target, feature_types=kinds, enable_categorical=True, nthread=1)


def load_xgboost(content: bytes) -> XgboostModel:
    """Deserialize a saved booster; raise BadBundleError if it is malformed or invalid, or XGBoost is not installed."""
    try:
        import xgboost
    except ImportError as error:
        raise BadBundleError("the model needs xgboost", hint="pip install 'stargaze[xgboost]'") from error
    try:
        categories = _validate(json.loads(content))
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(content))
    except (*MALFORMED, xgboost.core.XGBoostError) as error:
        raise BadBundleError(f"not an XGBoost model: {str(error).splitlines()[0][:200]}") from error
    return XgboostModel(booster, categories)


class XgboostModel:
    """A loaded XGBoost model."""

    def __init__(self, booster: Any, categories: Sequence[int]) -> None:
        self._booster = booster
        self._categories = categories

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        return self._predict(inputs)

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return exact feature contributions [nat], the last column the base value; shape (n, n_features + 1)."""
        return self._predict(inputs, pred_contribs=True)

    def _predict(self, inputs: np.ndarray, **options: bool) -> np.ndarray:
        import xgboost

        n_features = self._booster.num_features()
        if np.ndim(inputs) != 2 or inputs.shape[1] != n_features:  # XGBoost would fill missing columns
            raise BadBundleError(f"the model cannot predict: it takes {n_features} features")
        try:
            return np.asarray(self._booster.predict(to_matrix(inputs, self._categories), **options))
        except (xgboost.core.XGBoostError, ValueError) as error:
            raise BadBundleError(f"the model cannot predict: {error}") from error


def _validate(model: Any) -> list[int]:
    """Return the categorical columns of a regression model whose trees are valid."""
    learner = model["learner"]
    booster = learner["gradient_booster"]
    parameters = learner["learner_model_param"]
    n_features = int(parameters["num_feature"])
    kinds = learner["feature_types"]
    trees = booster["model"]["trees"]
    checks = {
        "it is not a gbtree model": booster["name"] == "gbtree",
        "its objective is not reg:squarederror": learner["objective"]["name"] == "reg:squarederror",
        "it has more than one output": parameters["num_class"] == "0" and parameters["num_target"] == "1",
        "its base score is not one number": _is_one_number(parameters["base_score"]),
        "its feature types do not match its number of features": len(kinds) == n_features and set(kinds) <= {"c", "q"},
        "its tree list is inconsistent": booster["model"]["tree_info"] == [0] * len(trees),
        "it contains category names": not booster["model"]["cats"]["enc"],
        "its predictions can be too large": _largest_output(trees, parameters["base_score"]) <= MAX_OUTPUT,
        "a tree is invalid": all(_is_valid_tree(tree, n_features) for tree in trees),
    }
    failed = next((message for message, passed in checks.items() if not passed), None)
    if failed:
        raise ValueError(failed)
    return [column for column, kind in enumerate(kinds) if kind == "c"]


def _is_one_number(text: str) -> bool:
    """Return whether a text is one finite number, bare or in a list (the format since XGBoost 3.1)."""
    start = np.asarray(json.loads(text), dtype="float64")
    return bool(start.size == 1 and np.isfinite(start).all())


def _largest_output(trees: Sequence[Any], base_score: str) -> float:
    """Return the largest leaf values of all trees, summed; NaN if one is not a number."""
    largest = float(np.abs(np.asarray(json.loads(base_score), dtype="float64")).sum())
    for tree in trees:
        values, left = np.asarray(tree["split_conditions"], dtype="float64"), np.asarray(tree["left_children"])
        largest += float(np.abs(values[left == -1]).max())
    return largest


def _is_valid_tree(tree: Any, n_features: int) -> bool:
    """Return whether the arrays of a tree have its length, each node has one parent, and all indices are in range."""
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
    later = (left[inner] > owners) & (right[inner] > owners)  # no cycle
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
        and np.isfinite(borders[~inner]).all()  # the leaf values
        and not np.isnan(borders[by_set == 0]).any()  # a split by a category set has no threshold
        and ((features >= 0) & (features < n_features)).all()
        and _has_valid_category_sets(tree, n)
        and (np.asarray(tree["sum_hessian"], dtype="float64") > 0).all()  # contributions divide by it
    )


def _is_shallow(left: np.ndarray, right: np.ndarray) -> bool:
    """Return whether no path of an acyclic tree is longer than :data:`MAX_DEPTH`."""
    level = np.zeros(1, dtype="int64")
    for _ in range(MAX_DEPTH):
        level = np.concatenate([left[level], right[level]])
        level = level[level != -1]
        if not len(level):
            return True
    return False


def _has_valid_category_sets(tree: Any, n: int) -> bool:
    """Return whether the category sets of the splits are in range."""
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
        and ((values >= 0) & (values < 2**24)).all()  # the limit of XGBoost
    )
