"""Contributions add up to the model's own output, whatever kind of model it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle import Bundle
from stargaze.formats import Model, from_bytes, to_bytes
from stargaze.serve.explain import contributions
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.folds import Arrays, fit

BACKGROUND = [1.0, 0.0, None]
SMALL: dict[str, dict[str, Any]] = {"extra-trees": {"n_estimators": 5}, "perceptron": {"max_iter": 5}}


@dataclass(frozen=True)
class FakeBundle:
    """A bundle with one model, which is all that an explanation asks for."""

    models: dict[str, Model]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Additive:
    """A model whose true contributions are known; a missing value counts as nothing."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.nan_to_num(inputs) @ np.array([1.0, 2.0, -4.0]) + 0.5

    def contributions(self, inputs: np.ndarray) -> None:
        return None


def explained(model: Any, inputs: np.ndarray) -> np.ndarray:
    """Explain rows by a model as the bundle holds it."""
    bundle: Any = FakeBundle({"activity": model}, {"background": {"activity": BACKGROUND}})
    return contributions(bundle, inputs, "activity")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """A category, a number, and a number that is missing now and then."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.integers(1, 4, 200), random.normal(size=(200, 2))]).astype("float32")
    values[::5, 2] = np.nan
    return values


def test_lightgbm_gives_its_own_exact_contributions(bundle_folder: Path, sample: pd.DataFrame) -> None:
    bundle = Bundle.load(bundle_folder)
    inputs = bundle.inputs(sample.head(50), "activity").to_numpy()

    added = contributions(bundle, inputs, "activity")

    assert added.shape == (50, inputs.shape[1] + 1)
    assert added.sum(axis=1) == pytest.approx(bundle.models["activity"].predict(inputs), abs=1e-6)
    assert len(np.unique(added[:, -1])) == 1


@pytest.mark.parametrize("family", ["extra-trees", "ridge", "perceptron", "histogram-boosting"])
def test_every_other_family_adds_up_too(family: str, rows: np.ndarray) -> None:
    arrays = Arrays(rows, np.abs(rows[:, 0] + rows[:, 1]).astype(float), np.zeros(200, dtype=int), (0,))
    model = from_bytes(*to_bytes(fit(FAMILIES[family], SMALL.get(family, {}), arrays, np.arange(200), 0)))

    added = explained(model, rows[:8])

    assert added.shape == (8, 4)
    assert added.sum(axis=1) == pytest.approx(model.predict(rows[:8]), abs=1e-5)


def test_where_the_truth_is_known_it_is_found(rows: np.ndarray) -> None:
    """Each feature adds what it is worth beyond the typical repository."""
    added = explained(Additive(), rows[:20])

    typical = np.nan_to_num(np.array([1.0, 0.0, np.nan]))
    expected = (np.nan_to_num(rows[:20]) - typical) * np.array([1.0, 2.0, -4.0])
    assert added[:, :-1] == pytest.approx(expected, abs=1e-5)
    assert added[:, -1] == pytest.approx(np.full(20, 1.5))


def test_a_typical_repository_has_nothing_to_explain() -> None:
    added = explained(Additive(), np.array([[1.0, 0.0, np.nan]], dtype="float32"))

    assert added.tolist() == [[0.0, 0.0, 0.0, 1.5]]


def test_the_same_question_has_the_same_explanation(rows: np.ndarray) -> None:
    arrays = Arrays(rows, np.abs(rows[:, 0] * rows[:, 1]).astype(float), np.zeros(200, dtype=int), (0,))
    model = from_bytes(*to_bytes(fit(FAMILIES["extra-trees"], SMALL["extra-trees"], arrays, np.arange(200), 0)))

    together = explained(model, rows[:5])

    assert np.array_equal(together, explained(model, rows[:5]))
    assert together[[3]] == pytest.approx(explained(model, rows[[3]]))
