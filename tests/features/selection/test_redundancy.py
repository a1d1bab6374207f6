"""A feature is redundant only if the stated rank correlation, over all training rows, is true and above the threshold."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from stargaze.features.selection.redundancy import Ranks, find_repeated, rank_correlation

THRESHOLD = 0.99
REASON = re.compile(r"redundant with (\w+): Spearman's rho (-?[\d.]+) over ([\d,]+) training repositories")
SEEDS = st.integers(0, 2**32 - 1)
MONOTONE = (np.log1p, np.sqrt, np.negative, lambda values: 3.0 * values + 1.0, lambda values: np.exp(-values / 1e3))


def repetition(first: np.ndarray, second: np.ndarray, threshold: float = THRESHOLD) -> str:
    """Return the reason why the second feature repeats the first one, or nothing."""
    ranks = [Ranks.of(pd.Series(values, dtype="float64"), is_number=True) for values in (first, second)]
    return find_repeated(ranks[1], {"first": ranks[0]}, threshold)[1]


def draw_column(random: np.random.Generator, n: int) -> np.ndarray:
    """Return a flag, a count that is mostly zero, a count, or a number; some have missing values."""
    kind = random.integers(4)
    if kind == 0:
        values = (random.random(n) < random.choice([0.002, 0.02, 0.3, 0.97])).astype(float)
    elif kind == 1:
        values = np.where(random.random(n) < random.choice([0.02, 0.3]), random.integers(1, 9, n), 0).astype(float)
    else:
        values = np.floor(np.exp(random.normal(2.0, 2.0, n))) if kind == 2 else random.normal(size=n)
    return np.where(random.random(n) < 0.1, np.nan, values) if random.random() < 0.2 else values


def derive_column(random: np.random.Generator, column: np.ndarray) -> np.ndarray:
    """Return another column, or the same one with some other values."""
    if random.random() < 0.4:
        return draw_column(random, len(column))
    is_changed = random.random(len(column)) < random.choice([0.0, 0.001, 0.02])
    return np.where(is_changed, np.roll(column, 1), random.choice([-2.0, 0.5]) * column)


@given(SEEDS)
def test_a_stated_correlation_is_that_of_all_rows_and_above_the_threshold(seed: int) -> None:
    random = np.random.default_rng(seed)
    first = draw_column(random, 400)
    second = derive_column(random, first)

    reason = repetition(first, second)

    if stated := REASON.fullmatch(reason):
        known = ~np.isnan(first) & ~np.isnan(second)
        rho = spearmanr(first[known], second[known]).statistic
        assert abs(float(stated[2]) - rho) <= 0.00005
        assert abs(rho) >= THRESHOLD - 1e-9
        assert stated[3] == str(known.sum())
    else:
        assert reason in {"", "duplicate of first"}


@given(SEEDS, st.sampled_from(MONOTONE))
def test_a_monotone_transform_is_found(seed: int, transform: np.ufunc) -> None:
    first = np.abs(draw_column(np.random.default_rng(seed), 400))
    second = transform(first)

    assert len(np.unique(first)) == 1 or REASON.fullmatch(repetition(first, second)) or np.array_equal(first, second)


@given(SEEDS, st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_rare_flags_that_exclude_each_other_are_not_redundant(seed: int, share: float, other_share: float) -> None:
    """Apart from the common ties, one of them is set exactly where the other one is not."""
    uniform = np.random.default_rng(seed).random(2_000)
    first, second = uniform < share, uniform > 1.0 - other_share

    assert repetition(first, second) == ""


@given(SEEDS)
def test_independent_counts_that_are_mostly_zero_are_not_redundant(seed: int) -> None:
    """With 9,990 of 10,000 zeros in common, they have nearly the same ranks."""
    random = np.random.default_rng(seed)
    first, second = (np.where(random.random(3_000) < 0.004, random.integers(1, 50, 3_000), 0) for _ in range(2))

    assert repetition(first, second) == ""


def test_counts_of_the_same_rows_in_another_order_are_not_redundant() -> None:
    """The zeros that they share make the correlation over all rows nearly exact."""
    random = np.random.default_rng(0)
    first, second = (np.append(np.zeros(4_000), 1 + random.permutation(100)) for _ in range(2))

    assert spearmanr(first, second).statistic > THRESHOLD
    assert repetition(first, second) == ""


@pytest.mark.parametrize("threshold", [0.5, 0.99, 0.9999])
def test_the_threshold_applies_to_all_rows(threshold: float) -> None:
    random = np.random.default_rng(3)
    first = random.normal(size=2_000)
    second = first + random.normal(0.0, 0.05, 2_000)
    rho = spearmanr(first, second).statistic

    assert bool(repetition(first, second, threshold)) == (rho >= threshold)


def test_a_threshold_of_one_drops_duplicates_only() -> None:
    first = np.arange(100.0)

    assert repetition(first, np.log1p(first), 1.0) == ""
    assert repetition(first, first, 1.0) == "duplicate of first"


def test_a_correlation_is_not_rounded_to_an_exact_one() -> None:
    first = np.arange(3_000.0)
    second = first.copy()
    second[[7, 8]] = second[[8, 7]]

    stated = REASON.fullmatch(repetition(first, second))

    assert stated
    assert stated[2].startswith("0.9999")
    assert stated[3] == "3,000"


def test_features_that_are_known_in_other_rows_are_not_compared() -> None:
    first = np.arange(300.0)

    assert repetition(first, np.where(first < 10, np.nan, first)) == ""


@given(SEEDS)
def test_the_rank_correlation_is_that_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    values, target = draw_column(random, 200), np.floor(np.exp(random.normal(size=200)))
    known = ~np.isnan(values)

    expected = spearmanr(values[known], target[known]).statistic if len(np.unique(values[known])) > 1 else 0.0

    assert rank_correlation(pd.Series(values), target) == pytest.approx(expected, abs=1e-9)
