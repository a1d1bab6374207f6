"""The mean of the stars follows from typical counts by one factor, and weights are fitted for the error in stars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.tuning.metrics import scores
from stargaze.tuning.retransformation import MAX_OFFSET, find_offset, fit_factor, smear, star_rmse
from stargaze.tuning.training.ensemble import fit_weights, select_candidates
from stargaze.tuning.training.star_weights import fit_star_weights

ROWS = 4_000


def lognormal(sigma: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return medians of log1p(stars) and targets with normal errors [nat]."""
    random = np.random.default_rng(seed)
    median = random.uniform(3.0, 7.0, ROWS)
    return median, median + random.normal(0.0, sigma, ROWS)


def test_the_offset_of_normal_errors_is_half_their_variance() -> None:
    median, target = lognormal(0.6)

    assert find_offset(median, target) == pytest.approx(0.6**2 / 2, abs=0.03)


def test_the_offset_removes_the_bias_of_the_sum_and_lowers_the_error_in_stars() -> None:
    median, target = lognormal(0.6)
    new_median, new_target = lognormal(0.6, seed=1)
    offset = find_offset(median, target)

    before, after = (scores(np.expm1(new_target), np.expm1(new_median + value))["rmse"] for value in (0.0, offset))

    assert np.expm1(new_median).sum() < 0.9 * np.expm1(new_target).sum()
    assert np.expm1(new_median + offset).sum() == pytest.approx(np.expm1(new_target).sum(), rel=0.05)
    assert after < before


def test_one_repository_with_most_stars_does_not_determine_the_offset() -> None:
    """The factor with the least squares would be that of this repository."""
    median, target = lognormal(0.3)
    median, target = np.append(median, 9.0), np.append(target, 12.0)

    assert fit_factor(median, target) > 1.0
    assert find_offset(median, target) < 0.2


def test_large_errors_of_small_counts_do_not_determine_the_offset() -> None:
    """The mean of exp(residual) would be that of these repositories."""
    random = np.random.default_rng(0)
    median = np.concatenate([np.full(3_000, 1.0), random.uniform(6.0, 9.0, 1_000)])
    target = median + np.where(median < 2, 1.5, 0.1) * random.normal(0.0, 1.0, 4_000)

    assert smear(median, target) > 0.6
    assert find_offset(median, target) < 0.1


def test_the_offset_is_limited() -> None:
    assert find_offset(np.zeros(3), np.full(3, 90.0)) == MAX_OFFSET
    assert find_offset(np.full(3, 90.0), np.zeros(3)) == -MAX_OFFSET


@given(st.floats(-2.0, 2.0))
def test_the_error_of_the_best_factor_does_not_depend_on_a_factor(shift: float) -> None:
    median, target = lognormal(0.5)

    assert star_rmse(target, median + shift) == pytest.approx(star_rmse(target, median), rel=1e-6)


def test_weights_for_stars_follow_the_repositories_with_most_stars() -> None:
    """The first model is right about the many with few stars, the second about the few with many."""
    random = np.random.default_rng(0)
    target = np.concatenate([random.uniform(1.0, 3.0, 3_600), random.uniform(8.0, 10.0, 400)])
    few = target < 5
    noise = random.normal(0.0, 1.0, (2, ROWS))
    predictions = np.column_stack(
        [target + np.where(few, 0.1, 1.0) * noise[0], target + np.where(few, 1.0, 0.1) * noise[1]]
    )
    folds = np.arange(ROWS) % 5

    for_logs, for_stars = (
        fit_weights(predictions, target, folds, metric=metric).weights for metric in ("rmsle", "rmse")
    )

    assert for_logs[0] > 0.6
    assert for_stars[1] > 0.8
    assert for_stars.sum() == pytest.approx(1.0)
    assert (for_stars >= 0).all()
    assert star_rmse(target, predictions @ for_stars) < star_rmse(target, predictions @ for_logs)


def test_one_candidate_keeps_its_weight() -> None:
    median, target = lognormal(0.5)

    assert fit_star_weights(median[:, None], target, np.ones(1)).tolist() == [1.0]


def test_candidates_are_ranked_by_the_metric() -> None:
    trials = [
        {"family": "ridge", "parameters": {"alpha": alpha}, "rmsle": rmsle, "rmse": rmse, "stopped": "done"}
        for alpha, rmsle, rmse in ((1.0, 0.5, 90.0), (2.0, 0.6, 80.0))
    ]

    best = [select_candidates(trials, 1, 0, metric=metric)[0].parameters["alpha"] for metric in ("rmsle", "rmse")]

    assert best == [1.0, 2.0]
