"""Every model family meets the same expectations."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from stargaze.errors import UsageError
from stargaze.tuning.cross_validation import Arrays, fit
from stargaze.tuning.families import FAMILIES, select_families
from stargaze.tuning.family import Choice, Family, Range

SMALL: dict[str, dict[str, Any]] = {
    "random-forest": {"n_estimators": 10},
    "extra-trees": {"n_estimators": 10},
    "histogram-boosting": {"max_iter": 20},
    "perceptron": {"max_iter": 5},
    "lightgbm": {"n_estimators": 20},
    "randomized-boosting": {"n_estimators": 20},
    "catboost": {"iterations": 20},
}
every = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def fitted(family: Family, arrays: Arrays, seed: int = 0) -> Any:
    """Fit a small model of the family on all rows."""
    return fit(family, SMALL.get(family.name, {}), arrays, np.arange(len(arrays.target)), seed)


@every
def test_a_family_learns_from_numbers_categories_and_missing_values(family: Family, arrays: Arrays) -> None:
    predicted = fitted(family, arrays).predict(arrays.inputs)

    assert predicted.shape == arrays.target.shape
    assert np.isfinite(predicted).all()
    if family.name != "dummy":
        assert np.mean((predicted - arrays.target) ** 2) < np.var(arrays.target)


@every
def test_unseen_values_get_a_finite_prediction(family: Family, arrays: Arrays) -> None:
    """Unknown categories, only missing values, and values beyond the training range."""
    model = fitted(family, arrays)
    unseen = np.vstack(
        [
            np.array([[0.0, 0.0, 0, 0, 0, 0], [40.0, 99.0, 0, 0, 0, 0]]),
            np.full((1, 6), np.nan),
            np.full((1, 6), 1e9),
        ]
    ).astype("float32")

    assert np.isfinite(model.predict(unseen)).all()


@pytest.mark.thorough
@every
def test_the_same_seed_gives_the_same_model(family: Family, arrays: Arrays) -> None:
    first, second = (fitted(family, arrays, seed=3).predict(arrays.inputs) for _ in range(2))

    assert np.array_equal(first, second)


@pytest.mark.thorough
@every
def test_a_prediction_does_not_depend_on_the_batch(family: Family, arrays: Arrays) -> None:
    model = fitted(family, arrays)

    together = model.predict(arrays.inputs[:5])
    single = np.concatenate([model.predict(arrays.inputs[[row]]) for row in range(5)])

    assert together == pytest.approx(single, abs=1e-6)


@pytest.mark.parametrize("rows", [50, 300, 1_000, 4_000, 10_000, 10**6])
@pytest.mark.parametrize(("family", "name"), [(family, name) for family in FAMILIES.values() for name in family.space])
def test_every_searched_parameter_has_a_default_in_its_range(family: Family, name: str, rows: int) -> None:
    """The search starts with the defaults; a missing one would be drawn at random."""
    family = family.at(rows)
    space, default = family.space[name], family.defaults.get(name)

    match space:
        case Range():
            assert isinstance(default, (int, float))
            assert space.low <= default <= space.high
            assert space.kind == "float" or isinstance(default, int)
        case Choice():
            assert default in space.values


@every
def test_a_family_predicts_few_noisy_rows_about_as_well_as_their_mean(family: Family) -> None:
    """300 rows, forty features of which one explains a twentieth of the variance: trees of many leaves learn the noise."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(1_000, 40)).astype("float32")
    target = 5.0 + 0.23 * inputs[:, 0] + random.normal(size=1_000)
    few = Arrays(inputs[:300], target[:300], np.zeros(300, dtype=int), ())

    predicted = fit(family, {}, few, np.arange(300), 0).predict(inputs[300:])

    assert np.mean((predicted - target[300:]) ** 2) < 1.06 * np.var(target[300:])


@pytest.mark.thorough
@every
def test_a_family_works_without_categories(family: Family, arrays: Arrays) -> None:
    numbers = Arrays(arrays.inputs[:, 2:], arrays.target, arrays.folds, ())

    assert np.isfinite(fitted(family, numbers).predict(numbers.inputs)).all()


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the optional packages."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "catboost" else find(name))


@pytest.mark.usefixtures("without_extras")
def test_by_default_all_installed_families_are_selected() -> None:
    names = select_families([])

    assert len(names) == 11
    assert "catboost" not in names


@pytest.mark.usefixtures("without_extras")
def test_a_family_that_is_not_installed_is_refused_with_the_install_command() -> None:
    with pytest.raises(UsageError, match="catboost is not installed") as raised:
        select_families(["ridge", "catboost"])
    assert raised.value.hint == "pip install 'stargaze[catboost]'"


def test_with_the_extras_all_families_are_selected() -> None:
    assert select_families([]) == list(FAMILIES)
