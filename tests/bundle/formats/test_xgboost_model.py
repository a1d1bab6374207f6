"""XGBoost's trees are validated before XGBoost loads them, because it does not check indices."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost

from stargaze.bundle.formats import xgboost_model
from stargaze.bundle.manifest import BadBundleError

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """A category, a number, a number with missing values, and one with infinite values."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.integers(0, 5, 300), random.normal(size=(300, 2))]).astype("float32")
    values[::5, 2] = np.nan
    values[0, 1] = np.inf
    return values


@pytest.fixture(scope="module")
def booster(rows: np.ndarray) -> xgboost.Booster:
    """Trees that split by sets of categories, by numbers and by missing values."""
    target = rows[:, 0] % 2 + np.clip(np.nan_to_num(rows[:, 2]), 0, 2)
    return xgboost.train(
        {"tree_method": "hist", "max_depth": 4, "nthread": 1}, xgboost_model.to_matrix(rows, [0], target), 6
    )


def test_a_model_survives_serialization(booster: xgboost.Booster, rows: np.ndarray) -> None:
    loaded = xgboost_model.load_xgboost(bytes(booster.save_raw("json")))

    assert np.array_equal(loaded.predict(rows), booster.predict(xgboost_model.to_matrix(rows, [0])))


def test_contributions_equal_those_of_xgboost_and_add_up(booster: xgboost.Booster, rows: np.ndarray) -> None:
    loaded = xgboost_model.load_xgboost(bytes(booster.save_raw("json")))

    added = loaded.contributions(rows)

    assert added.shape == (300, 4)
    assert added.sum(axis=1) == pytest.approx(loaded.predict(rows), abs=1e-5)
    assert np.abs(added[:, 0]).max() > 0.1


def test_unseen_categories_are_predicted(booster: xgboost.Booster) -> None:
    loaded = xgboost_model.load_xgboost(bytes(booster.save_raw("json")))

    assert np.isfinite(loaded.predict(np.array([[99.0, -np.inf, 1e30], [np.nan] * 3, [1e9, 0.0, 0.0]]))).all()


def test_an_infinite_threshold_is_accepted() -> None:
    """It separates missing values from all others."""
    column = np.where(np.arange(300) % 3, np.inf, np.nan).astype("float32")[:, None]
    data = xgboost_model.to_matrix(column, [], np.isnan(column[:, 0]) * 3.0)
    booster = xgboost.train({"tree_method": "hist", "nthread": 1}, data, 2)

    assert np.array_equal(
        xgboost_model.load_xgboost(bytes(booster.save_raw("json"))).predict(column), booster.predict(data)
    )


def set_first(name: str, value: Any) -> Callable[[Tree], None]:
    """Set the first number of an array of the tree."""
    return lambda tree: tree[name].__setitem__(0, value)


def chain(length: int) -> Tree:
    """Return a tree in which every split leads to a leaf and to the next split."""
    n = 2 * length + 1
    splits = range(0, n - 1, 2)
    left, right, parents = [-1] * n, [-1] * n, [xgboost_model.NO_PARENT] * n
    for node in splits:
        left[node], right[node] = node + 1, node + 2
        parents[node + 1] = parents[node + 2] = node
    same = dict.fromkeys(("base_weights", "loss_changes", "sum_hessian", "split_conditions"), [1.0] * n)
    sets = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
    none: dict[str, list[int]] = {name: [] for name in sets}
    size = {"num_deleted": "0", "num_feature": "3", "num_nodes": str(n), "size_leaf_vector": "1"}
    numbers = {"split_indices": [1] * n, "split_type": [0] * n, "default_left": [0] * n}
    arrays = {"left_children": left, "right_children": right, "parents": parents}
    return {**arrays, **same, **none, **numbers, "tree_param": size}


def test_a_tree_of_the_maximum_depth_is_accepted(booster: xgboost.Booster, rows: np.ndarray) -> None:
    """One more level is refused, see below."""
    model = json.loads(bytes(booster.save_raw("json")))
    model["learner"]["gradient_booster"]["model"]["trees"][0].update(chain(xgboost_model.MAX_DEPTH - 1))

    loaded = xgboost_model.load_xgboost(json.dumps(model).encode())

    assert loaded.contributions(rows).sum(axis=1) == pytest.approx(loaded.predict(rows), abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [
        set_first("left_children", 10_000),
        set_first("left_children", -7),
        set_first("right_children", 0),
        set_first("right_children", 1),
        set_first("left_children", 1.5),
        set_first("split_indices", 3),
        set_first("split_indices", -1),
        set_first("categories", -1),
        set_first("categories", 2**30),
        set_first("categories_sizes", 10_000),
        set_first("categories_segments", -1),
        set_first("categories_nodes", 10_000),
        set_first("categories", 10**30),
        set_first("parents", 1_000_000),
        set_first("split_type", 2),
        lambda tree: tree["parents"].__setitem__(1, 10_000_000),
        lambda tree: tree["split_conditions"].__setitem__(-1, float("nan")),
        lambda tree: tree.update(chain(xgboost_model.MAX_DEPTH + 1)),
        lambda tree: tree["split_conditions"].pop(),
        lambda tree: tree["parents"].append(0),
        lambda tree: tree.pop("left_children"),
        lambda tree: tree["tree_param"].update(num_nodes="100000"),
        lambda tree: tree["tree_param"].update(size_leaf_vector="2"),
    ],
)
def test_an_invalid_tree_is_refused(booster: xgboost.Booster, change: Callable[[Tree], None]) -> None:
    model = json.loads(bytes(booster.save_raw("json")))
    change(model["learner"]["gradient_booster"]["model"]["trees"][0])

    with pytest.raises(BadBundleError, match="not an XGBoost model"):
        xgboost_model.load_xgboost(json.dumps(model).encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda learner: learner["gradient_booster"].update(name="gblinear"), "not a gbtree model"),
        (lambda learner: learner["objective"].update(name="binary:logistic"), "objective is not reg:squarederror"),
        (lambda learner: learner["learner_model_param"].update(num_feature="9"), "feature types do not match"),
        (lambda learner: learner["learner_model_param"].update(num_feature=float("inf")), "infinity"),
        (lambda learner: learner["learner_model_param"].update(num_class="1000000000"), "more than one output"),
        (lambda learner: learner["learner_model_param"].update(num_target="1000000000"), "more than one output"),
        (lambda learner: learner["learner_model_param"].update(base_score="[1,2]"), "base score is not one number"),
        (lambda learner: learner["learner_model_param"].update(base_score="NaN"), "base score is not one number"),
        (lambda learner: learner["gradient_booster"]["model"]["tree_info"].append(0), "tree list is inconsistent"),
        (lambda learner: learner["gradient_booster"]["model"]["trees"].clear(), "tree list is inconsistent"),
    ],
)
def test_an_unsupported_model_is_refused(booster: xgboost.Booster, change: Callable[[Any], Any], reason: str) -> None:
    model = json.loads(bytes(booster.save_raw("json")))
    change(model["learner"])

    with pytest.raises(BadBundleError, match=reason):
        xgboost_model.load_xgboost(json.dumps(model).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\x80\x04", b"[" * 100_000, b'{"learner": {}}'])
def test_malformed_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadBundleError, match="not an XGBoost model"):
        xgboost_model.load_xgboost(content)


def test_the_binary_format_is_refused(booster: xgboost.Booster) -> None:
    """Only JSON is checked."""
    with pytest.raises(BadBundleError, match="not an XGBoost model"):
        xgboost_model.load_xgboost(bytes(booster.save_raw("ubj")))


def test_a_wrong_number_of_columns_is_refused(booster: xgboost.Booster) -> None:
    with pytest.raises(BadBundleError, match="cannot predict"):
        xgboost_model.load_xgboost(bytes(booster.save_raw("json"))).predict(np.zeros((1, 2)))


def test_a_missing_xgboost_gives_the_install_command(booster: xgboost.Booster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)

    with pytest.raises(BadBundleError, match="needs xgboost") as raised:
        xgboost_model.load_xgboost(b"{}")
    assert raised.value.hint == "pip install 'stargaze[xgboost]'"
