"""scikit-learn's compiled code trusts indices and shapes: a file with others is refused before the first prediction."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.svm import SVR
from skops import io as skops_io

from stargaze.bundle.formats.skops_model import load_skops, make_reproducible
from stargaze.bundle.manifest import BadBundleError

RANDOM = np.random.default_rng(0)
ROWS = np.column_stack([RANDOM.integers(0, 6, 120), RANDOM.normal(size=(120, 3))])
TARGET = ROWS[:, 0] % 3 + ROWS[:, 1]
Members = dict[str, bytes]
Change = Callable[[Members], None]


def serialize(model: Any) -> bytes:
    return make_reproducible(skops_io.dumps(model.fit(ROWS, TARGET)))


FOREST = serialize(ExtraTreesRegressor(n_estimators=2, max_depth=4, random_state=0))
BOOSTING = serialize(HistGradientBoostingRegressor(max_iter=3, categorical_features=[0], min_samples_leaf=5))
VECTORS = serialize(SVR())
ENCODER = serialize(make_pipeline(TargetEncoder(target_type="continuous"), Ridge()))
NEIGHBORS = serialize(KNeighborsRegressor(n_neighbors=3, algorithm="kd_tree"))


def change_members(content: bytes, change: Change, compression: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return stream.getvalue()


def set_field(field: str, value: Any, row: int = 0) -> Change:
    """Return a change of one field of one row, in the first array whose rows have this field."""

    def change(members: Members) -> None:
        for name in filter(lambda name: name.endswith(".npy"), members):
            array = np.load(io.BytesIO(members[name]))
            if field in (array.dtype.names or ()):
                array[field][row] = value
                members[name] = to_bytes(array)
                return
        raise AssertionError(field)

    return change


def set_array(attribute: str, compute: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Return a change of the array that is an attribute of the model."""

    def change(members: Members) -> None:
        name = json.loads(members["schema.json"])["content"]["content"][attribute]["file"]
        members[name] = to_bytes(compute(np.load(io.BytesIO(members[name]))))

    return change


def replace_text(old: str, new: str) -> Change:
    def change(members: Members) -> None:
        text = members["schema.json"].decode()
        assert old in text
        members["schema.json"] = text.replace(old, new, 1).encode()

    return change


def to_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _infinite_leaf(members: Members) -> None:
    for name in filter(lambda name: name.endswith(".npy"), members):
        array = np.load(io.BytesIO(members[name]))
        if array.ndim == 3:
            members[name] = to_bytes(array * np.inf)


def _swap_categories(members: Members) -> None:
    for name in filter(lambda name: name.endswith(".npy"), members):
        array = np.load(io.BytesIO(members[name]))
        if np.array_equal(array, np.arange(6)):
            members[name] = to_bytes(array[[0, 1, 2, 3, 5, 4]])
            return
    raise AssertionError


CHANGES: dict[str, tuple[bytes, Change]] = {
    "a forest's child out of range": (FOREST, set_field("left_child", 10**6)),
    "a forest's negative child": (FOREST, set_field("right_child", -7)),
    "a forest's loop": (FOREST, set_field("left_child", 0)),
    "a forest's two parents": (FOREST, set_field("right_child", 1)),
    "a forest's feature out of range": (FOREST, set_field("feature", 4)),
    "a forest's negative feature": (FOREST, set_field("feature", -1)),
    "a forest's number of nodes": (FOREST, lambda members: _set_node_count(members, 2)),
    "a forest's infinite leaf": (FOREST, _infinite_leaf),
    "a boosted child out of range": (BOOSTING, set_field("left", 2**31)),
    "a boosted loop": (BOOSTING, set_field("right", 0)),
    "a boosted feature out of range": (BOOSTING, set_field("feature_idx", 4)),
    "a boosted negative feature": (BOOSTING, set_field("feature_idx", -1)),
    "a boosted set out of range": (BOOSTING, lambda members: _split_by_set(members, "bitset_idx", 99)),
    "a boosted split of a number by a set": (BOOSTING, lambda members: _split_by_set(members, "feature_idx", 1)),
    "a support vector too few": (VECTORS, set_array("support_vectors_", lambda array: array[:-1])),
    "support vectors with a column too few": (VECTORS, set_array("support_vectors_", lambda array: array[:, :-1])),
    "coefficients of another type": (VECTORS, set_array("_dual_coef_", lambda array: array.astype("float32"))),
    "another number of support vectors": (VECTORS, set_array("_n_support", lambda array: array + 10**6)),
    "another kernel": (VECTORS, replace_text('\\"rbf\\"', '\\"poly\\"')),
    "unsorted categories of a target encoder": (ENCODER, _swap_categories),
    "unsorted categories of boosting": (BOOSTING, _swap_categories),
    "neighbors that are not numbers": (NEIGHBORS, set_array("_fit_X", lambda array: array * np.nan)),
    "a neighbor too few": (NEIGHBORS, set_array("_y", lambda array: array[:-1])),
    "a member twice the schema": (FOREST, lambda members: members.update({"schema.json": b'{"a": 1, "a": 2}'})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_inconsistent_model_is_refused(name: str) -> None:
    content, change = CHANGES[name]

    with pytest.raises(BadBundleError, match="not a skops model"):
        load_skops(change_members(content, change))


def _set_node_count(members: Members, count: int) -> None:
    schema = json.loads(members["schema.json"])
    nodes = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if "node_count" in node:
                node["node_count"] |= {"content": str(count), "__id__": 1}
                break
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
    members["schema.json"] = json.dumps(schema).encode()


def _split_by_set(members: Members, field: str, value: int) -> None:
    set_field("is_categorical", 1)(members)
    set_field(field, value)(members)


@pytest.mark.parametrize(
    "content",
    [FOREST, BOOSTING, VECTORS, NEIGHBORS, ENCODER],
    ids=["forest", "boosting", "vectors", "neighbors", "encoder"],
)
def test_an_unchanged_model_predicts_the_same(content: bytes) -> None:
    whole = skops_io.loads(content, trusted=skops_io.get_untrusted_types(data=content))

    assert np.array_equal(load_skops(content).predict(ROWS), whole.predict(ROWS))


def test_the_search_tree_of_neighbors_is_built_from_its_rows() -> None:
    """Its array of indices, changed, would be read out of range."""

    def change(members: Members) -> None:
        for name in filter(lambda name: name.endswith(".npy"), members):
            array = np.load(io.BytesIO(members[name]))
            if array.dtype.kind == "i" and array.shape == (len(ROWS),):
                members[name] = to_bytes(array + 10**9)
                return
        raise AssertionError

    assert np.array_equal(
        load_skops(change_members(NEIGHBORS, change)).predict(ROWS), load_skops(NEIGHBORS).predict(ROWS)
    )


def test_a_type_that_no_family_contains_is_refused() -> None:
    """skops trusts all of scikit-learn's estimators; each has compiled code of its own."""
    with pytest.raises(BadBundleError, match=r"types that are not allowed: sklearn\.ensemble\._gb\."):
        load_skops(serialize(GradientBoostingRegressor(n_estimators=2)))


def test_compressed_members_are_refused() -> None:
    with pytest.raises(BadBundleError, match="compressed or too large"):
        load_skops(change_members(FOREST, lambda _: None, zipfile.ZIP_DEFLATED))
