"""Informative features beat random probes, uninformative ones do not, and importances are reproducible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.config import FeaturesSection
from stargaze.features.selection.permutation_importance import TrainingRows, fold_errors, permutation_importances

pytestmark = pytest.mark.thorough  # each test fits models

SECTION = FeaturesSection(importance_repeats=2)


@pytest.fixture(scope="module")
def training() -> TrainingRows:
    """Return synthetic columns with names of the catalog: two informative, one uninformative, one missing."""
    random = np.random.default_rng(2025)  # not the seed of the probes, which would be these very columns
    n = 400
    inputs = pd.DataFrame(
        {
            "forks": random.normal(size=n),
            "language": random.integers(0, 3, n),
            "age": random.normal(size=n),
            "size_kb": np.nan,
        },
        dtype="float32",
    )
    target = inputs["forks"].to_numpy() + 2.0 * (inputs["language"] == 1).to_numpy() + random.normal(0, 0.1, n)
    return TrainingRows(inputs, target, random.integers(0, 3, n))


def test_only_informative_features_beat_the_probes(training: TrainingRows) -> None:
    importances = permutation_importances(training, list(training.inputs), SECTION)

    assert list(importances.increase) == list(importances.win_rate) == ["forks", "language", "age", "size_kb"]
    assert importances.n_runs == 6
    assert importances.win_rate["forks"] == importances.win_rate["language"] == 1.0
    assert importances.win_rate["age"] <= 0.5
    assert min(importances.increase["forks"], importances.increase["language"]) > 50 * abs(importances.increase["age"])
    assert importances.increase["size_kb"] == importances.win_rate["size_kb"] == 0.0


def test_importances_are_reproducible(training: TrainingRows) -> None:
    first, again = (permutation_importances(training, list(training.inputs), SECTION) for _ in range(2))

    assert (first.increase, first.win_rate) == (again.increase, again.win_rate)


def test_the_errors_equal_those_of_cross_validation(training: TrainingRows) -> None:
    columns = list(training.inputs)

    assert (
        permutation_importances(training, columns, SECTION).errors.tolist()
        == fold_errors(training, columns, SECTION).tolist()
    )


def test_a_fold_is_predicted_by_a_model_that_has_not_seen_it(training: TrainingRows) -> None:
    """A unique number of each row would seem perfect if the model had seen the fold."""
    row_number = np.random.default_rng(1).permutation(len(training.target)).astype("float32")
    other = TrainingRows(training.inputs.assign(age=row_number), training.target, training.folds)

    errors = fold_errors(other, ["age"], SECTION)

    assert errors.shape == (3,)
    assert (errors > 0.9 * training.target.std()).all()
    assert (fold_errors(training, list(training.inputs), SECTION) < errors / 2).all()


def test_learned_features_are_computed_without_the_held_out_fold(training: TrainingRows) -> None:
    """The learned column is the target itself, except when computed without the fold."""
    without_fold = pd.DataFrame({"age": np.zeros(len(training.target), dtype="float32")})
    other = TrainingRows(
        training.inputs.assign(age=training.target), training.target, training.folds, lambda _fold: without_fold
    )

    assert (fold_errors(other, ["age"], SECTION) > 0.9 * training.target.std()).all()


def test_features_of_one_group_share_their_importance(training: TrainingRows) -> None:
    columns = {"text_component_1": training.inputs["forks"], "text_component_2": training.inputs["age"]}
    importances = permutation_importances(
        TrainingRows(pd.DataFrame(columns), training.target, training.folds), list(columns), SECTION
    )

    assert importances.increase["text_component_1"] == importances.increase["text_component_2"] > 0.5
