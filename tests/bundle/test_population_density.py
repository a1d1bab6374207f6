"""Repositories far from the training repositories are found, also with missing values; untrusted bytes are checked."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest

from stargaze.bundle.manifest import BadBundleError
from stargaze.bundle.population_density import (
    LEVELS,
    MAX_REFERENCE,
    N_QUANTILES,
    PopulationDensity,
    level_thresholds,
)

FEATURES = ("forks", "subscribers", "contributors", "commits")


def draw(rows: int, seed: int) -> np.ndarray:
    """Return counts that follow one another, as those of repositories do."""
    random = np.random.default_rng(seed)
    size = random.normal(4.0, 1.5, (rows, 1))
    return np.round(np.exp(size + random.normal(0.0, 0.4, (rows, len(FEATURES)))))


def make_density(training: np.ndarray, held_out: np.ndarray) -> PopulationDensity:
    """Return the density of training rows with the thresholds of held-out ones."""
    quantiles = np.quantile(training, np.linspace(0, 1, N_QUANTILES), axis=0).astype("float32")
    weights = np.array([1.0, 0.5, 0.5, 0.25], dtype="float32")
    empty, unlimited = np.zeros((0, 4), "float32"), np.full(LEVELS, np.inf, "float32")
    scores = PopulationDensity(FEATURES, weights, quantiles, empty, unlimited).to_scores(training[:MAX_REFERENCE])
    density = PopulationDensity(FEATURES, weights, quantiles, scores.astype("float32"), unlimited)
    thresholds = level_thresholds(*density.distances(held_out), 0.99, 50).astype("float32")
    return PopulationDensity(FEATURES, weights, quantiles, scores.astype("float32"), thresholds)


@pytest.fixture(scope="module")
def density() -> PopulationDensity:
    """A density of 3,000 training rows; half of the held-out ones lack commits."""
    held_out = draw(4_000, 2)
    held_out[::2, 3] = np.nan
    return make_density(draw(3_000, 1), held_out)


def test_one_of_a_hundred_honest_rows_is_outside(density: PopulationDensity) -> None:
    outside = np.mean([bool(names) for names in density.find_unlike(draw(4_000, 3))])

    assert 0.004 < outside < 0.025


def test_values_in_range_can_be_far_from_all_rows(density: PopulationDensity) -> None:
    training = draw(3_000, 1)
    few, many = np.quantile(training, 0.03, axis=0), np.quantile(training, 0.97, axis=0)

    found = density.find_unlike(np.array([[many[0], few[1], few[2], few[3]], few, many]))

    assert found[0][0] == "forks"
    assert found[1:] == [[], []]


def test_a_row_with_a_value_beyond_all_training_rows_is_found(density: PopulationDensity) -> None:
    typical = np.median(draw(3_000, 1), axis=0)

    assert density.find_unlike(np.array([[1e7, *typical[1:]]]))[0][0] == "forks"
    assert density.find_unlike(typical[None]) == [[]]


def test_the_largest_rows_are_no_farther_from_the_others_than_most(density: PopulationDensity) -> None:
    """A repository with many forks, subscribers and contributors is one of the population."""
    rows = draw(20_000, 6)
    large = rows[(rows > np.quantile(rows, 0.98, axis=0)).all(axis=1)]

    outside = np.mean([bool(names) for names in density.find_unlike(np.minimum(large, rows[:3_000].max(axis=0)))])

    assert len(large) > 50
    assert outside < 0.05


def test_missing_values_set_no_row_apart(density: PopulationDensity) -> None:
    rows = draw(500, 4)
    rows[:, 3] = np.nan
    rows[:100, 1:] = np.nan
    rows[100:200] = np.nan

    found = [bool(names) for names in density.find_unlike(rows)]

    assert not any(found[:200])
    assert sum(found) <= 15


def test_a_row_with_missing_values_can_be_found(density: PopulationDensity) -> None:
    training = draw(3_000, 1)
    row = [training[:, 0].max(), training[:, 1].min(), training[:, 2].min(), np.nan]

    assert density.find_unlike(np.array([row])) != [[]]


def test_no_row_needs_no_work(density: PopulationDensity) -> None:
    assert density.find_unlike(np.zeros((0, 4))) == []


def test_bytes_are_read_as_they_were_written(density: PopulationDensity) -> None:
    rows = draw(50, 5)

    read = PopulationDensity.from_bytes(density.to_bytes(), FEATURES)

    assert np.array_equal(read.distances(rows)[0], density.distances(rows)[0])


def changed(density: PopulationDensity, position: int, value: float) -> bytes:
    """Return the bytes with another number, counted from the first array."""
    data = density.to_bytes()
    start = 8 + 4 * position
    return data[:start] + struct.pack("<f", value) + data[start + 4 :]


FIRST_QUANTILE, FIRST_SCORE = 4, 4 + 4 * N_QUANTILES


@pytest.mark.parametrize(
    "make",
    [
        lambda density: b"",
        lambda density: b"\xff" * 8,
        lambda density: density.to_bytes()[:-1],
        lambda density: density.to_bytes() + b"\0\0\0\0",
        lambda density: struct.pack("<II", 2**32 - 1, 4) + density.to_bytes()[8:],
        lambda density: changed(density, 0, 0.0),
        lambda density: changed(density, 1, np.nan),
        lambda density: changed(density, 1, 2.0),
        lambda density: changed(density, FIRST_QUANTILE, np.inf),
        lambda density: changed(density, FIRST_QUANTILE, 1e30),
        lambda density: changed(density, FIRST_SCORE, 1e30),
        lambda density: changed(density, FIRST_SCORE, np.inf),
        lambda density: changed(density, FIRST_SCORE + 4 * len(density.reference), np.nan),
        lambda density: changed(density, FIRST_SCORE + 4 * len(density.reference), -1.0),
    ],
)
def test_other_bytes_are_refused(density: PopulationDensity, make: Callable[[PopulationDensity], bytes]) -> None:
    with pytest.raises(BadBundleError, match=r"population\.bin"):
        PopulationDensity.from_bytes(make(density), FEATURES)


def test_bytes_of_other_features_are_refused(density: PopulationDensity) -> None:
    with pytest.raises(BadBundleError, match="another length"):
        PopulationDensity.from_bytes(density.to_bytes(), FEATURES[:3])


def test_a_level_with_few_held_out_rows_has_no_threshold() -> None:
    found = level_thresholds(np.linspace(0.0, 1.0, 149), np.r_[np.ones(100), np.full(49, 0.5)], 0.99, 50)

    assert found[-1] == pytest.approx(np.quantile(np.linspace(0.0, 1.0, 149)[:100], 0.99))
    assert np.isinf(found[:-1]).all()
