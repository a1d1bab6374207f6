"""LightGBM's C library alone predicts as its Python package does."""

from __future__ import annotations

import subprocess
import sys

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stargaze.bundle.formats import lightgbm_model
from stargaze.bundle.manifest import BadBundleError


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    random = np.random.default_rng(0)
    rows = np.column_stack([random.integers(0, 4, 500), random.normal(size=(500, 2))])
    rows[::7, 2] = np.nan
    data = lightgbm.Dataset(rows, np.nan_to_num(rows).sum(axis=1), categorical_feature=[0])
    return lightgbm.train({"verbose": -1, "num_threads": 1, "num_leaves": 7}, data, 20)


@pytest.fixture(scope="module")
def model(booster: lightgbm.Booster) -> lightgbm_model.LightgbmModel:
    return lightgbm_model.load_lightgbm(booster.model_to_string().encode())


@pytest.mark.thorough
@given(
    rows=arrays.arrays(
        st.sampled_from(["float32", "float64"]), st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(width=32)
    )
)
def test_predictions_equal_those_of_the_package(
    model: lightgbm_model.LightgbmModel, booster: lightgbm.Booster, rows: np.ndarray
) -> None:
    """For any numbers, including missing and infinite ones."""
    assert np.array_equal(model.predict(rows), booster.predict(rows))
    assert np.array_equal(model.contributions(rows), booster.predict(rows, pred_contrib=True))
    assert np.array_equal(model.leaf_indices(rows), booster.predict(rows, pred_leaf=True))


def test_a_strided_view_is_predicted_like_its_copy(model: lightgbm_model.LightgbmModel) -> None:
    table = np.random.default_rng(1).normal(size=(10, 6)).astype("float32")

    assert np.array_equal(model.predict(table[::2, ::2]), model.predict(table[::2, ::2].copy()))
    assert np.array_equal(model.predict(np.asfortranarray(table[:, :3])), model.predict(table[:, :3].copy()))


def test_integer_inputs_are_predicted(model: lightgbm_model.LightgbmModel) -> None:
    assert np.array_equal(model.predict(np.ones((2, 3), dtype=int)), model.predict(np.ones((2, 3))))


def test_zero_rows_give_zero_predictions(model: lightgbm_model.LightgbmModel) -> None:
    assert model.predict(np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_a_wrong_number_of_features_is_refused(model: lightgbm_model.LightgbmModel, columns: int) -> None:
    with pytest.raises(BadBundleError, match="the model cannot predict"):
        model.predict(np.ones((2, columns)))


@pytest.mark.parametrize("content", [b"", b"tree\n", "é".encode(), b"tree\nversion=v4\nnum_class=1\n"])
def test_malformed_text_is_refused(content: bytes) -> None:
    with pytest.raises(BadBundleError, match="not a LightGBM model"):
        lightgbm_model.load_lightgbm(content)


@pytest.mark.thorough
def test_the_package_is_not_imported(booster: lightgbm.Booster) -> None:
    """It imports scikit-learn; both together take 75 MB in every worker."""
    program = (
        "import sys, numpy; from stargaze.bundle import serialization\n"
        "model = serialization.deserialize_model('lightgbm', sys.stdin.buffer.read())\n"
        "model.predict(numpy.zeros((1, 3)))\n"
        "print(sorted({'lightgbm', 'sklearn', 'skops', 'catboost', 'matplotlib'} & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], input=booster.model_to_string().encode(), capture_output=True, check=True
    )

    assert done.stdout == b"[]\n"
