"""Contributions add up to the output of every kind of model."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.serialization import Ensemble, Model, deserialize_model, serialize_model
from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.prediction.contributions import contributions
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES

MEMBERS = ("extra-trees", "lightgbm", "nearest-neighbors", "perceptron", "ridge")
BACKGROUND = [1.0, 0.0, None]
SMALL: dict[str, dict[str, Any]] = {
    "extra-trees": {"n_estimators": 5},
    "random-forest": {"n_estimators": 5},
    "perceptron": {"max_iter": 5},
    "lightgbm": {"n_estimators": 5},
    "randomized-boosting": {"n_estimators": 5},
}


@dataclass(frozen=True)
class FakeBundle:
    """A bundle with one model."""

    models: dict[str, Ensemble]
    meta: dict[str, Any]


@dataclass(frozen=True)
class Additive:
    """A model whose true contributions are known; a missing value counts as 0."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return np.nan_to_num(inputs) @ np.array([1.0, 2.0, -4.0]) + 0.5

    def contributions(self, inputs: np.ndarray) -> None:
        return None


def explained(*models: Any, inputs: np.ndarray, weights: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """Return the contributions of a blend of models."""
    bundle: Any = FakeBundle({"activity": Ensemble(weights, models)}, {"background": {"activity": BACKGROUND}})
    return contributions(bundle, inputs, "activity")[1]


def fit_model(family: str, rows: np.ndarray) -> Model:
    """Fit a small model, serialize it and load it."""
    arrays = Arrays(rows, np.abs(rows[:, 0] + rows[:, 1]).astype(float), np.zeros(200, dtype=int), (0,))
    return deserialize_model(*serialize_model(fit(FAMILIES[family], SMALL.get(family, {}), arrays, np.arange(200), 0)))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """A category, a number, and a number that is sometimes missing."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.integers(1, 4, 200), random.normal(size=(200, 2))]).astype("float32")
    values[::5, 2] = np.nan
    return values


def test_lightgbm_contributions_are_exact(bundle_folder: Path, sample: pd.DataFrame) -> None:
    bundle = Bundle.load(bundle_folder)
    inputs = bundle.inputs(sample.head(50), "activity").to_numpy()

    method, added = contributions(bundle, inputs, "activity")

    assert method == "exact"
    assert added.shape == (50, inputs.shape[1] + 1)
    assert added.sum(axis=1) == pytest.approx(bundle.models["activity"].predict(inputs), abs=1e-6)
    assert len(np.unique(added[:, -1])) == 1


EXACT = {"catboost", "dummy", "elastic-net", "lightgbm", "randomized-boosting", "ridge"}
"""Families of trees with exact Shapley values, and of sums of functions of single features."""


@pytest.mark.thorough
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_contributions_of_every_family_add_up(family: str, rows: np.ndarray) -> None:
    model = fit_model(family, rows)
    bundle: Any = FakeBundle({"activity": Ensemble((1.0,), (model,))}, {"background": {"activity": BACKGROUND}})

    method, added = contributions(bundle, rows[:8], "activity")

    assert method == ("exact" if family in EXACT else "sampled")
    assert added.shape == (8, 4)
    assert added.sum(axis=1) == pytest.approx(model.predict(rows[:8]), abs=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("family", ["elastic-net", "ridge"])
def test_contributions_of_a_linear_model_are_its_shapley_values(family: str, rows: np.ndarray) -> None:
    """Over all orders, with missing values and categories that the model has not seen."""
    model, typical = fit_model(family, rows), np.array([1.0, 0.0, np.nan], dtype="float32")
    inputs = np.vstack([rows[:6], [[9.0, 50.0, np.nan]], [[np.nan, np.nan, -50.0]]]).astype("float32")

    added = explained(model, inputs=inputs)

    true = np.vstack([_over_all_orders(model, row, typical) for row in inputs])
    assert added[:, :-1] == pytest.approx(true, abs=1e-9)
    assert added[:, -1] == pytest.approx(np.full(len(inputs), model.predict(typical[None])[0]))


@pytest.fixture(scope="module")
def members(rows: np.ndarray) -> dict[str, Model]:
    """One model of each kind: exact, trees, linear, a network, nearest neighbors."""
    return {name: fit_model(name, rows) for name in MEMBERS}


@pytest.mark.thorough
@given(
    shares=st.lists(st.floats(0.02, 1.0), min_size=len(MEMBERS), max_size=len(MEMBERS)),
    chosen=st.sets(st.sampled_from(MEMBERS), min_size=1),
    row=st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.floats(-4, 4), st.one_of(st.floats(-4, 4), st.just(math.nan))),
)
def test_the_factors_of_any_blend_multiply_to_its_prediction(
    members: dict[str, Model], shares: list[float], chosen: set[str], row: tuple[float, ...]
) -> None:
    """For any members, weights and missing values."""
    names, inputs = sorted(chosen), np.array([row], dtype="float32")
    weights = tuple(share / sum(shares[: len(names)]) for share in shares[: len(names)])
    models = tuple(members[name] for name in names)

    added = explained(*models, inputs=inputs, weights=weights)[0]

    product = math.exp(added[-1]) * math.prod(math.exp(value) for value in added[:-1])
    assert product == pytest.approx(math.exp(Ensemble(weights, models).predict(inputs)[0]), rel=1e-4)


def test_contributions_of_a_blend_are_weighted(members: dict[str, Model], rows: np.ndarray) -> None:
    exact, sampled = members["lightgbm"], members["extra-trees"]

    both = explained(exact, sampled, inputs=rows[:4], weights=(0.75, 0.25))

    separate = 0.75 * explained(exact, inputs=rows[:4]) + 0.25 * explained(sampled, inputs=rows[:4])
    assert both == pytest.approx(separate, abs=1e-12)


@pytest.mark.thorough
def test_sampled_contributions_are_close_to_exact_shapley_values(members: dict[str, Model], rows: np.ndarray) -> None:
    """Three features have six orders, so the exact Shapley values are known; the docs state the error."""
    model, typical = members["extra-trees"], np.array([1.0, 0.0, np.nan], dtype="float32")
    true = np.vstack([_over_all_orders(model, row, typical) for row in rows[:40]])

    error = explained(model, inputs=rows[:40])[:, :-1] - true

    assert np.sqrt(np.mean(error**2)) < 0.1 * np.sqrt(np.mean(true**2))


def _over_all_orders(model: Model, row: np.ndarray, typical: np.ndarray) -> np.ndarray:
    added, orders = np.zeros(3), list(itertools.permutations(range(3)))
    for order in orders:
        now = typical.copy()
        for feature in order:
            before = model.predict(now[None])[0]
            now[feature] = row[feature]
            added[feature] += (model.predict(now[None])[0] - before) / len(orders)
    return added


def test_contributions_of_an_additive_model_are_exact(rows: np.ndarray) -> None:
    """Each feature adds its difference from the typical repository."""
    added = explained(Additive(), inputs=rows[:20])

    typical = np.nan_to_num(np.array([1.0, 0.0, np.nan]))
    expected = (np.nan_to_num(rows[:20]) - typical) * np.array([1.0, 2.0, -4.0])
    assert added[:, :-1] == pytest.approx(expected, abs=1e-5)
    assert added[:, -1] == pytest.approx(np.full(20, 1.5))


def test_a_typical_repository_has_no_contributions() -> None:
    added = explained(Additive(), inputs=np.array([[1.0, 0.0, np.nan]], dtype="float32"))

    assert added.tolist() == [[0.0, 0.0, 0.0, 1.5]]


def test_the_same_input_has_the_same_explanation(rows: np.ndarray) -> None:
    arrays = Arrays(rows, np.abs(rows[:, 0] * rows[:, 1]).astype(float), np.zeros(200, dtype=int), (0,))
    model = deserialize_model(
        *serialize_model(fit(FAMILIES["extra-trees"], SMALL["extra-trees"], arrays, np.arange(200), 0))
    )

    together = explained(model, inputs=rows[:5])

    assert np.array_equal(together, explained(model, inputs=rows[:5]))
    assert together[[3]] == pytest.approx(explained(model, inputs=rows[[3]]))
