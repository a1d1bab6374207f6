"""CatBoost's trees as tables predict as CatBoost does, and inconsistent tables are refused."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from stargaze.bundle.formats.catboost_model import CatboostModel, from_catboost
from stargaze.bundle.manifest import BadBundleError
from stargaze.tuning.catboost_estimator import CategoricalCatBoost


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """A category and two numbers, one of which has missing values."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.integers(0, 5, 400), random.normal(size=(400, 2))]).astype("float32")
    values[::5, 2] = np.nan
    return values


@pytest.fixture(scope="module")
def target(rows: np.ndarray) -> np.ndarray:
    return rows[:, 0] % 2 + np.clip(np.nan_to_num(rows[:, 2]), 0, 2) * (rows[:, 1] > 0)


@pytest.fixture(scope="module")
def model(rows: np.ndarray, target: np.ndarray) -> CatboostModel:
    fitted = CategoricalCatBoost({"iterations": 20, "depth": 4}, (0,), 0).fit(rows, target).fitted
    assert fitted is not None
    return fitted


@pytest.fixture(scope="module")
def original_model(rows: np.ndarray, target: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A CatBoost model on numbers only."""
    return catboost.CatBoostRegressor(
        iterations=20, depth=5, thread_count=1, verbose=False, allow_writing_files=False
    ).fit(rows, target)


@pytest.fixture
def translated_model(original_model: Any, tmp_path: Path) -> CatboostModel:
    original_model.save_model(str(tmp_path / "model.json"), format="json")
    return from_catboost(json.loads((tmp_path / "model.json").read_bytes()), [(0, None), (1, None), (2, None)], 3)


def test_the_tables_predict_what_catboost_predicts(
    original_model: Any, translated_model: CatboostModel, rows: np.ndarray
) -> None:
    assert translated_model.predict(rows) == pytest.approx(original_model.predict(rows), abs=1e-12)


def test_many_rows_take_no_memory_for_every_level_at_once(model: CatboostModel, rows: np.ndarray) -> None:
    many_rows = np.tile(rows, (50, 1))
    answers = len(many_rows) * len(model.features) * 8  # of every tree for every row [byte]

    tracemalloc.start()
    model.predict(many_rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 3 * answers


@pytest.mark.thorough
def test_the_contributions_are_those_of_catboost(
    original_model: Any, translated_model: CatboostModel, rows: np.ndarray
) -> None:
    """Both are Shapley values of the same trees, computed by different algorithms."""
    own = original_model.get_feature_importance(catboost.Pool(rows), type="ShapValues", thread_count=1)

    assert translated_model.contributions(rows) == pytest.approx(own, abs=1e-9)


def test_contributions_add_up_and_a_category_has_one(model: CatboostModel, rows: np.ndarray) -> None:
    added = model.contributions(rows)

    assert added.shape == (400, 4)
    assert added.sum(axis=1) == pytest.approx(model.predict(rows), abs=1e-9)
    assert np.abs(added[:, 0]).max() > 0.1


def test_a_model_survives_serialization_without_catboost(
    model: CatboostModel, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)

    loaded = CatboostModel.from_bytes(model.to_bytes())

    assert np.array_equal(loaded.predict(rows), model.predict(rows))
    assert np.array_equal(loaded.contributions(rows), model.contributions(rows))


def test_a_tree_without_splits_is_a_constant(rows: np.ndarray) -> None:
    """All rows are equal, so no split is found."""
    options = {"iterations": 3, "depth": 2, "allow_const_label": True, "bootstrap_type": "No"}

    fitted = CategoricalCatBoost(options, (), 0).fit(rows, np.full(len(rows), 2.5))

    assert fitted.predict(rows) == pytest.approx(2.5)


def changed(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """Return a change that replaces one table."""
    return lambda tables: tables.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        changed("features", [[0, 1, 2, 3]]),
        changed("features", [[0] * 40]),
        changed("features", []),
        changed("n_features", 1),
        changed("n_features", -1),
        changed("bias", float("nan")),
        changed("bias", None),
        changed("borders", [[float("nan")] * 4] * 20),
        changed("codes", [[False]]),
        changed("leaves", [["a"]]),
        changed("borders", [[-float("inf")] * 4] * 20),
        changed("weights", [[-1.0] * 16] * 20),
        changed("weights", [[float("inf")] * 16] * 20),
        lambda tables: tables["leaves"].pop(),
        lambda tables: tables["leaves"][0].pop(),
        lambda tables: tables["features"][0].__setitem__(0, 1_000_000),
        lambda tables: tables["features"][0].__setitem__(0, -1),
        lambda tables: tables["features"][0].__setitem__(0, 10**30),
        lambda tables: tables.pop("weights"),
    ],
)
def test_tables_of_inconsistent_shape_are_refused(
    model: CatboostModel, change: Callable[[dict[str, Any]], Any]
) -> None:
    tables = json.loads(model.to_bytes())
    change(tables)

    with pytest.raises(BadBundleError, match="not a CatBoost model"):
        CatboostModel.from_bytes(json.dumps(tables).encode())


@pytest.mark.parametrize("content", [b"", b"CBM1\x00\x00", b"[]", b"null", b"\x80\x04", b"[" * 100_000])
def test_malformed_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(BadBundleError, match="not a CatBoost model"):
        CatboostModel.from_bytes(content)


def test_a_wrong_number_of_columns_is_refused(model: CatboostModel) -> None:
    with pytest.raises(BadBundleError, match="takes 3 features"):
        model.predict(np.zeros((1, 2)))
