"""What tells something is worth more than a random probe, what tells nothing is not, and twice is the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.config import FeaturesSection
from stargaze.features.importance import fold_errors, importances

SECTION = FeaturesSection(repeats=2)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
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
    return inputs, target, random.integers(0, 3, n)


def test_only_columns_that_tell_something_beat_the_probe(
    table: tuple[pd.DataFrame, np.ndarray, np.ndarray],
) -> None:
    gain, probe = importances(*table, SECTION)

    assert list(gain) == ["forks", "language", "age", "size_kb"]
    assert min(gain["forks"], gain["language"]) > 50 * max(probe, 1e-6)
    assert gain["age"] < 0.05
    assert gain["size_kb"] == 0.0
    assert probe >= 0.0


def test_measured_again_it_is_the_same(table: tuple[pd.DataFrame, np.ndarray, np.ndarray]) -> None:
    assert importances(*table, SECTION) == importances(*table, SECTION)


def test_a_fold_is_judged_by_a_model_that_has_not_seen_it(
    table: tuple[pd.DataFrame, np.ndarray, np.ndarray],
) -> None:
    """A column that is the fold's own secret, learnt by heart, would look perfect if it were seen."""
    inputs, target, folds = table
    secret = pd.DataFrame({"age": np.random.default_rng(1).permutation(len(target))}, dtype="float32")

    errors = fold_errors(secret, target, folds, SECTION)

    assert errors.shape == (3,)
    assert (errors > 0.9 * target.std()).all()
    assert (fold_errors(inputs, target, folds, SECTION) < errors / 2).all()
