"""The LightGBM estimator."""

from __future__ import annotations

import numpy as np
import pytest

from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.lightgbm_estimator import CategoricalLightGBM


def test_predict_before_fit_raises_an_error() -> None:
    with pytest.raises(ValueError, match="before fit"):
        CategoricalLightGBM({}, (), 0).predict(np.zeros((1, 1)))


def test_categories_are_split_as_sets_not_as_numbers(arrays: Arrays) -> None:
    """Codes 1 and 3 against 2 and 4: no threshold separates them, a set does."""
    codes = np.tile([[1.0], [2.0], [3.0], [4.0]], (100, 1))
    target = (codes[:, 0] % 2 == 0).astype(float)
    parameters = {"n_estimators": 200, "num_leaves": 2, "max_depth": 1, "learning_rate": 0.2, "cat_smooth": 1.0}

    by_set = CategoricalLightGBM({**parameters, "max_cat_to_onehot": 1}, (0,), 0).fit(codes, target)

    assert by_set.booster is not None
    assert "num_cat=1" in by_set.booster.model_to_string()
    assert by_set.predict(codes) == pytest.approx(target, abs=0.01)


def test_it_uses_one_thread_and_prints_nothing(arrays: Arrays, capfd: pytest.CaptureFixture[str]) -> None:
    model = CategoricalLightGBM({"n_estimators": 3}, arrays.categories, 0).fit(arrays.inputs, arrays.target)

    assert model.booster is not None
    assert "[num_threads: 1]" in model.booster.model_to_string()
    assert capfd.readouterr() == ("", "")
