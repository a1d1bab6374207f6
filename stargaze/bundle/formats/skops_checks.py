"""The structural check of scikit-learn models: its compiled code trusts the indices and shapes of trees and support vectors.

:func:`check_members` runs before a skops file is loaded, :func:`check_estimator` before the first prediction.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from stargaze.bundle.manifest import MAX_OUTPUT, parse_json

SCHEMA = "schema.json"
MAX_COEFFICIENT = 1e30
MAX_BYTES = 1_000_000_000
"""Size of all members of a file."""
TYPES = {
    "builtins": {"dict", "list", "slice", "str", "tuple", "type", "int", "float", "bool"},
    "functools": {"partial"},
    "numpy": {"dtype", "float64", "float32", "int64", "int32", "uint64", "uint32", "ndarray", "bool_", "bool"},
    "numpy.random._generator": {"Generator"},
    "numpy.random.mtrand": {"RandomState"},
    "sklearn._loss._loss": {"CyHalfSquaredError"},
    "sklearn._loss.link": {"IdentityLink", "Interval"},
    "sklearn._loss.loss": {"HalfSquaredError"},
    "sklearn.compose._column_transformer": {"ColumnTransformer"},
    "sklearn.dummy": {"DummyRegressor"},
    "sklearn.ensemble._forest": {"ExtraTreesRegressor", "RandomForestRegressor"},
    "sklearn.ensemble._hist_gradient_boosting.binning": {"_BinMapper"},
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": {"HistGradientBoostingRegressor"},
    "sklearn.ensemble._hist_gradient_boosting.predictor": {"TreePredictor"},
    "sklearn.impute._base": {"MissingIndicator", "SimpleImputer"},
    "sklearn.linear_model._base": {"LinearRegression"},
    "sklearn.linear_model._coordinate_descent": {"ElasticNet"},
    "sklearn.linear_model._ridge": {"Ridge"},
    "sklearn.metrics._dist_metrics": {"EuclideanDistance64", "ManhattanDistance64"},
    "sklearn.model_selection._split": {"KFold"},
    "sklearn.neighbors._kd_tree": {"KDTree"},
    "sklearn.neighbors._regression": {"KNeighborsRegressor"},
    "sklearn.neural_network._multilayer_perceptron": {"MLPRegressor"},
    "sklearn.neural_network._stochastic_optimizers": {"AdamOptimizer"},
    "sklearn.pipeline": {"Pipeline"},
    "sklearn.preprocessing._data": {"QuantileTransformer", "StandardScaler"},
    "sklearn.preprocessing._encoders": {"OrdinalEncoder"},
    "sklearn.preprocessing._function_transformer": {"FunctionTransformer"},
    "sklearn.preprocessing._target_encoder": {"TargetEncoder"},
    "sklearn.svm._classes": {"SVR"},
    "sklearn.tree._classes": {"DecisionTreeRegressor", "ExtraTreeRegressor"},
    "sklearn.tree._tree": {"Tree"},
    "sklearn.utils.validation": {"check_array"},
}
"""Every type that our model families contain, by module; skops alone would load any of scikit-learn's."""


def check_members(content: bytes) -> None:
    """Raise ValueError if a skops file contains another type, compressed members, or trees with several outputs."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES or any(member.compress_type for member in members):
            raise ValueError("its members are compressed or too large")
        if len({member.filename for member in members}) != len(members):
            raise ValueError("a member occurs twice")
        for node in _nodes(parse_json(archive.read(SCHEMA))):
            if "__class__" in node or "__module__" in node:
                _check_type(node.get("__module__"), node.get("__class__"))
            if node.get("__loader__") == "TreeNode":
                _check_tree_arguments(node, archive)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Return all objects of a schema."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_type(module: Any, name: Any) -> None:
    if not isinstance(module, str) or name not in TYPES.get(module, ()):
        raise ValueError(f"it contains types that are not allowed: {module}.{name}"[:200])


def _check_tree_arguments(node: dict[str, Any], archive: zipfile.ZipFile) -> None:
    """Require one output: the constructor reads a number of classes for each, without a check of the array's length."""
    n_features, classes, n_outputs = node["__reduce__"]["args"]["content"]
    if n_outputs["content"] != "1" or not str(n_features["content"]).isdecimal():
        raise ValueError("a tree has several outputs")
    array = np.load(io.BytesIO(archive.read(classes["file"])), allow_pickle=False)
    if array.shape != (1,) or array.dtype != np.intp or array[0] != 1:
        raise ValueError("a tree has several classes")


def check_estimator(estimator: Any) -> None:
    """Raise ValueError, or an error of a wrong type, if a part of the estimator is inconsistent; rebuild its search trees."""
    checks = {
        "DecisionTreeRegressor": _check_decision_tree,
        "ExtraTreeRegressor": _check_decision_tree,
        "RandomForestRegressor": _check_forest,
        "ExtraTreesRegressor": _check_forest,
        "HistGradientBoostingRegressor": _check_boosting,
        "KNeighborsRegressor": _rebuild_neighbors,
        "SVR": _check_support_vectors,
        "OrdinalEncoder": _check_encoder,
        "TargetEncoder": _check_encoder,
        **dict.fromkeys(("ElasticNet", "MLPRegressor", "Ridge", "StandardScaler"), _check_coefficients),
    }
    for part in _parts(estimator):
        if check := checks.get(type(part).__name__):
            check(part)


def _parts(root: Any) -> Iterator[Any]:
    """Return an object and, once each, all objects that it contains."""
    seen, waiting = set(), [root]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif isinstance(value, np.ndarray):
            waiting.extend(value.ravel().tolist() if value.dtype.kind == "O" else ())
        else:
            waiting.extend(getattr(value, "__dict__", {}).values())


def _check_coefficients(model: Any) -> None:
    """Check that sums of products of the coefficients are finite for any input of usual size."""
    for name in ("coef_", "coefs_", "intercept_", "intercepts_", "mean_", "scale_", "encodings_", "target_mean_"):
        value = getattr(model, name, None)
        for array in () if value is None else value if isinstance(value, list) else (value,):
            numbers = np.abs(np.asarray(array, dtype="float64"))
            if not (numbers <= MAX_COEFFICIENT).all() or (
                name == "scale_" and not (numbers >= 1 / MAX_COEFFICIENT).all()
            ):
                raise ValueError(f"{name} of {type(model).__name__} contains something else than usual numbers")


def _check_encoder(encoder: Any) -> None:
    """Check that a category is found by binary search: scikit-learn uses its position as an index."""
    _check_coefficients(encoder)
    for categories in getattr(encoder, "categories_", ()):
        known = categories[:-1] if np.isnan(categories[-1]) else categories
        if categories.dtype.kind != "f" or categories.ndim != 1 or not (np.diff(known) > 0).all():
            raise ValueError("the categories of an encoder are not in ascending order")


def _check_decision_tree(model: Any) -> None:
    if not hasattr(model, "tree_"):  # the pattern of a forest's trees: it cannot predict
        return
    tree = model.tree_
    if type(tree).__name__ != "Tree" or tree.node_count != tree.capacity or tree.node_count < 1:
        raise ValueError("a tree has another number of nodes")
    if not tree.n_features == model.n_features_in_ or tree.n_outputs != 1 or model.n_outputs_ != 1:
        raise ValueError("a tree has another number of features or outputs")
    left, right = tree.children_left, tree.children_right
    _check_links(left, right, is_leaf=left == -1)
    features = tree.feature[left != -1]
    if ((features < 0) | (features >= tree.n_features)).any() or (right[left == -1] != -1).any():
        raise ValueError("a split of a tree is by a feature that does not exist")
    if not (np.abs(tree.value) <= MAX_OUTPUT).all():
        raise ValueError("a leaf of a tree is not a number, or too large")


def _check_links(left: np.ndarray, right: np.ndarray, *, is_leaf: np.ndarray) -> None:
    """Check that each node but the first is the child of one node, which comes before it."""
    owners = np.flatnonzero(~is_leaf)
    children = np.stack([left[owners], right[owners]]).astype("int64")
    if not np.array_equal(np.sort(children.ravel()), np.arange(1, len(left))) or (children <= owners).any():
        raise ValueError("the nodes of a tree do not form a tree")


def _check_forest(model: Any) -> None:
    if not model.estimators_ or model.n_outputs_ != 1:
        raise ValueError("a forest has no trees or several outputs")
    for tree in model.estimators_:
        if (
            type(tree).__name__ not in {"DecisionTreeRegressor", "ExtraTreeRegressor"}
            or type(tree.tree_).__name__ != "Tree"
        ):
            raise ValueError("a forest contains something else than trees")
        if tree.n_features_in_ != model.n_features_in_:
            raise ValueError("a tree of a forest has another number of features")


def _check_boosting(model: Any) -> None:
    if getattr(model, "_in_fit", False) or model.n_trees_per_iteration_ != 1:
        raise ValueError("it is not a fitted model of one output")
    mapper = model._bin_mapper  # noqa: SLF001 - what its compiled code reads
    by_category = np.asarray(mapper.is_categorical_)
    n_features = np.asarray(model._preprocess_X(np.zeros((1, model.n_features_in_)), reset=False)).shape[1]  # noqa: SLF001
    if by_category.shape != (n_features,) or by_category.dtype != np.uint8 or len(mapper.bin_thresholds_) != n_features:
        raise ValueError("its bins have another number of features")
    for column in np.flatnonzero(by_category).tolist():
        codes = np.asarray(mapper.bin_thresholds_[column])
        if codes.dtype.kind != "f" or not ((codes >= 0) & (codes < 256)).all():  # bits of a set of 256
            raise ValueError("a category is out of range")
    if np.asarray(model._baseline_prediction).shape != (1, 1):  # noqa: SLF001
        raise ValueError("its base value is not one number")
    for predictor in (item for items in model._predictors for item in items):  # noqa: SLF001
        _check_boosted_tree(predictor, by_category)


def _check_boosted_tree(predictor: Any, by_category: np.ndarray) -> None:
    """Check one tree; ``by_category`` says which columns contain categories."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE

    nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets
    if nodes.dtype != PREDICTOR_RECORD_DTYPE or nodes.ndim != 1 or not len(nodes):
        raise ValueError("the nodes of a tree have another type")
    if sets.dtype != np.uint32 or sets.ndim != 2 or sets.shape[1] != 8:
        raise ValueError("the category sets of a tree have another type")
    is_leaf = nodes["is_leaf"] != 0
    _check_links(nodes["left"], nodes["right"], is_leaf=is_leaf)
    inner, columns = nodes[~is_leaf], nodes["feature_idx"][~is_leaf]
    by_set = inner["is_categorical"] != 0
    if ((columns < 0) | (columns >= len(by_category))).any() or not by_category[columns[by_set]].all():
        raise ValueError("a split of a tree is by a feature that does not exist")
    if (inner["bitset_idx"][by_set] >= len(sets)).any():
        raise ValueError("a split of a tree is by a category set that does not exist")
    if not (np.abs(nodes["value"][is_leaf]) <= MAX_OUTPUT).all():
        raise ValueError("a leaf of a tree is not a number, or too large")


def _rebuild_neighbors(model: Any) -> None:
    """Build the search tree again from the rows: those of its arrays that are indices are not checked by scikit-learn."""
    from sklearn.neighbors import KDTree

    rows, targets, metric = model._fit_X, model._y, model.effective_metric_  # noqa: SLF001
    if not all(isinstance(array, np.ndarray) and array.dtype == np.float64 for array in (rows, targets)):
        raise ValueError("its neighbors are not numbers")
    shapes = rows.ndim == 2 and targets.shape == (len(rows),) and rows.shape[1] == model.n_features_in_
    if not shapes or model.n_samples_fit_ != len(rows) or not np.isfinite(rows).all() or not np.isfinite(targets).all():
        raise ValueError("its neighbors have another shape")
    if metric not in {"euclidean", "manhattan"} or model.effective_metric_params_ or model.metric_params:
        raise ValueError("its distance is another one")
    if type(model.n_neighbors) is not int or not 1 <= model.n_neighbors <= len(rows):
        raise ValueError("its number of neighbors is out of range")
    if model.weights not in {"uniform", "distance"} or model._fit_method not in {"kd_tree", "brute"}:  # noqa: SLF001
        raise ValueError("its weights or its search are other ones")
    if model._fit_method == "kd_tree":  # noqa: SLF001
        if type(model.leaf_size) is not int or not 1 <= model.leaf_size <= 10_000:
            raise ValueError("the leaf size of its search tree is out of range")
        model._tree = KDTree(rows, model.leaf_size, metric=metric)  # noqa: SLF001
    else:
        model._tree = None  # noqa: SLF001


def _check_support_vectors(model: Any) -> None:
    """Check the arrays that libsvm reads by the number of support vectors."""
    n, n_features = len(model.support_), model.n_features_in_
    arrays = {
        "support_": ((n,), "int32"),
        "support_vectors_": ((n, n_features), "float64"),
        "_n_support": ((2,), "int32"),
        "dual_coef_": ((1, n), "float64"),
        "_dual_coef_": ((1, n), "float64"),
        "intercept_": ((1,), "float64"),
        "_intercept_": ((1,), "float64"),
        "_probA": ((0,), "float64"),
        "_probB": ((0,), "float64"),
    }
    for name, (shape, dtype) in arrays.items():
        array = getattr(model, name)
        if (
            not isinstance(array, np.ndarray)
            or array.shape != shape
            or array.dtype != dtype
            or not np.isfinite(array).all()
        ):
            raise ValueError(f"its array {name} has another shape or type")
    if n < 1 or model.kernel != "rbf" or model._sparse is not False or model.n_features_in_ != model.shape_fit_[1]:  # noqa: SLF001
        raise ValueError("its kernel or its number of features is another one")
    if (model._n_support != n).any():  # noqa: SLF001
        raise ValueError("its number of support vectors is another one")
    if not np.isfinite([model._gamma, model.coef0]).all():  # noqa: SLF001
        raise ValueError("its kernel is not a number")
