"""Scores of predicted star counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.tuning.metrics import rmsle, scores

counts = st.integers(0, 10**7).map(float)
guesses = st.floats(0, 1e7)
pairs = st.lists(st.tuples(counts, guesses), min_size=1, max_size=30)


@given(pairs)
def test_the_error_is_not_negative_and_symmetric(pair: list[tuple[float, float]]) -> None:
    true, predicted = zip(*pair, strict=True)

    assert rmsle(true, predicted) >= 0
    assert rmsle(true, predicted) == pytest.approx(rmsle(predicted, true))


@given(st.lists(counts, min_size=1, max_size=30))
def test_a_perfect_prediction_has_no_error(stars: list[float]) -> None:
    result = scores(stars, stars)

    assert result["rmsle"] == 0
    assert result["mdape"] == 0
    assert result["r2"] in (0.0, 1.0)  # 0 if all counts are equal
    assert result["rho"] == pytest.approx(0.0) or result["rho"] == pytest.approx(1.0)


@given(pairs)
def test_every_score_is_finite_and_in_its_range(pair: list[tuple[float, float]]) -> None:
    true, predicted = zip(*pair, strict=True)

    result = scores(true, predicted)

    assert all(math.isfinite(value) for value in result.values())
    assert result["r2"] <= 1
    assert -1.0000001 <= result["rho"] <= 1.0000001
    assert result["mdape"] >= 0


@pytest.mark.parametrize("stars", [1, 10, 100, 100_000])
def test_a_factor_of_two_costs_the_same_at_any_count(stars: float) -> None:
    assert rmsle([stars], [2 * stars + 1]) == pytest.approx(math.log(2))


def test_the_order_of_the_repositories_does_not_matter() -> None:
    true, predicted = np.array([0.0, 3.0, 50.0, 7.0]), np.array([1.0, 2.0, 90.0, 7.0])
    order = np.array([2, 0, 3, 1])

    assert scores(true[order], predicted[order]) == pytest.approx(scores(true, predicted))


def test_the_rank_correlation_depends_on_the_order_only() -> None:
    assert scores([0, 1, 10, 100], [5, 6, 7, 8])["rho"] == pytest.approx(1.0)
    assert scores([0, 1, 10, 100], [8, 7, 6, 5])["rho"] == pytest.approx(-1.0)
    assert scores([0, 1, 10, 100], [5, 5, 5, 5])["rho"] == 0.0


def test_the_relative_error_ignores_repositories_without_stars() -> None:
    assert scores([0, 0, 10], [5, 9, 15])["mdape"] == pytest.approx(0.5)
    assert scores([0, 0], [5, 9])["mdape"] == 0.0


@pytest.mark.parametrize(("true", "predicted"), [([1, 2], [1]), ([-1], [1]), ([1], [-0.1])])
def test_different_shapes_and_negative_counts_are_refused(true: list[float], predicted: list[float]) -> None:
    with pytest.raises(ValueError, match=r"shapes differ|negative"):
        scores(true, predicted)
