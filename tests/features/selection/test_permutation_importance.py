"""What tells something is worth more than a random probe, what tells nothing is not, and twice is the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.config import FeaturesSection
from stargaze.features.selection.permutation_importance import TrainingRows, fold_errors, permutation_importances

SECTION = FeaturesSection(importance_repeats=2)


@pytest.fixture(scope="module")
def evidence() -> TrainingRows:
    """Made-up columns under names of the catalogue: two tell the target, one tells nothing, one is missing."""
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


def test_only_columns_that_tell_something_beat_the_probes(evidence: TrainingRows) -> None:
    worth = permutation_importances(evidence, list(evidence.inputs), SECTION)

    assert list(worth.increase) == list(worth.win_rate) == ["forks", "language", "age", "size_kb"]
    assert worth.n_runs == 6
    assert worth.win_rate["forks"] == worth.win_rate["language"] == 1.0
    assert worth.win_rate["age"] <= 0.5
    assert min(worth.increase["forks"], worth.increase["language"]) > 50 * abs(worth.increase["age"])
    assert worth.increase["size_kb"] == worth.win_rate["size_kb"] == 0.0


def test_measured_again_it_is_the_same(evidence: TrainingRows) -> None:
    first, again = (permutation_importances(evidence, list(evidence.inputs), SECTION) for _ in range(2))

    assert (first.increase, first.win_rate) == (again.increase, again.win_rate)


def test_the_errors_of_all_are_those_of_the_models_that_were_shuffled(evidence: TrainingRows) -> None:
    columns = list(evidence.inputs)

    assert (
        permutation_importances(evidence, columns, SECTION).errors.tolist()
        == fold_errors(evidence, columns, SECTION).tolist()
    )


def test_a_fold_is_judged_by_a_model_that_has_not_seen_it(evidence: TrainingRows) -> None:
    """A column that is the fold's own secret, learnt by heart, would look perfect if it were seen."""
    secret = np.random.default_rng(1).permutation(len(evidence.target)).astype("float32")
    told = TrainingRows(evidence.inputs.assign(age=secret), evidence.target, evidence.folds)

    errors = fold_errors(told, ["age"], SECTION)

    assert errors.shape == (3,)
    assert (errors > 0.9 * evidence.target.std()).all()
    assert (fold_errors(evidence, list(evidence.inputs), SECTION) < errors / 2).all()


def test_what_is_learned_is_judged_as_it_is_known_without_the_fold(evidence: TrainingRows) -> None:
    """Here the learned column is the target itself to all but those that have not seen the fold."""
    blind = pd.DataFrame({"age": np.zeros(len(evidence.target), dtype="float32")})
    told = TrainingRows(
        evidence.inputs.assign(age=evidence.target), evidence.target, evidence.folds, lambda _fold: blind
    )

    assert (fold_errors(told, ["age"], SECTION) > 0.9 * evidence.target.std()).all()


def test_columns_of_one_group_are_worth_what_they_are_worth_together(evidence: TrainingRows) -> None:
    parts = {"text_component_1": evidence.inputs["forks"], "text_component_2": evidence.inputs["age"]}
    worth = permutation_importances(
        TrainingRows(pd.DataFrame(parts), evidence.target, evidence.folds), list(parts), SECTION
    )

    assert worth.increase["text_component_1"] == worth.increase["text_component_2"] > 0.5
