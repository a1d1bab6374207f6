"""Find features that repeat another one: equal values, or the same order of the repositories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

MIN_ROWS = 30
"""A rank correlation of fewer rows has no meaning, unless it is exact."""
EXACT = 1.0 - 1e-12
"""Ranks in the same or the opposite order have this correlation or more: the rest is rounding."""
TURNED_OFF = 1.0
"""With this threshold, only duplicates are dropped."""


@dataclass(frozen=True)
class Ranks:
    """What is compared of each pair of features: values, where they are known and the most frequent one, scores; shapes (n,).

    ``scores`` are the centered ranks of the known values, 0 elsewhere, scaled to length 1: their product is Spearman's rho.
    """

    values: np.ndarray
    known: np.ndarray
    is_usual: np.ndarray
    scores: np.ndarray
    is_number: bool

    @classmethod
    def of(cls, values: pd.Series, *, is_number: bool) -> Ranks:
        """Return them for a feature, of which some values are known."""
        known = values.notna().to_numpy()
        is_usual = (values == values.mode().iloc[0]).to_numpy()
        scores = np.zeros(len(values))
        scores[known] = _center(rankdata(values.to_numpy()[known]))
        return cls(values.to_numpy(), known, is_usual, scores, is_number)


def find_repeated(ranks: Ranks, others: Mapping[str, Ranks], threshold: float) -> tuple[str, str]:
    """Return the first of the other features that a feature repeats, with the reason; two empty texts if there is none.

    A feature repeats another one if both are equal in all rows, or if both are numbers, known in the same rows, and the absolute
    Spearman's rho reaches the threshold twice: over all rows with known values, and over those in which at least one of both does
    not have its most frequent value. Over all rows alone, any two counts that are mostly zero look the same; without the common
    ties alone, two rare flags that exclude each other do.
    """
    for name, other in others.items():
        if np.array_equal(ranks.values, other.values, equal_nan=True):
            return name, f"duplicate of {name}"
        rho = _redundant_rho(ranks, other, threshold)
        if rho:
            n_rows = f"{ranks.known.sum():,} training repositories"
            return name, f"redundant with {name}: Spearman's rho {format_rho(rho)} over {n_rows}"
    return "", ""


def _redundant_rho(first: Ranks, second: Ranks, threshold: float) -> float:
    """Return Spearman's rho over all rows if the features are redundant, else 0."""
    if threshold >= TURNED_OFF or not (first.is_number and second.is_number):
        return 0.0
    rho = float(first.scores @ second.scores)
    if abs(rho) < threshold or not np.array_equal(first.known, second.known):
        return 0.0
    is_redundant = abs(rho) >= EXACT or abs(_rho_without_ties(first, second)) >= threshold
    return float(np.clip(rho, -1.0, 1.0)) if is_redundant else 0.0


def _rho_without_ties(first: Ranks, second: Ranks) -> float:
    """Return Spearman's rho over the rows in which at least one feature does not have its most frequent value."""
    rows = first.known & ~(first.is_usual & second.is_usual)
    if rows.sum() < MIN_ROWS:
        return 0.0
    return float(_center(rankdata(first.values[rows])) @ _center(rankdata(second.values[rows])))


def _center(ranks: np.ndarray) -> np.ndarray:
    """Return ranks minus their mean, scaled to length 1, or zeros if all are equal."""
    centered: np.ndarray = ranks - ranks.mean()
    length = float(np.linalg.norm(centered))
    return centered / length if length > 0.0 else centered


def format_rho(rho: float) -> str:
    """Return a correlation with four decimals, or with as many as distinguish it from an exact one.

    >>> format_rho(0.98765), format_rho(-0.99998), format_rho(1.0)
    ('0.9877', '-0.99998', '1.0000')
    """
    if abs(rho) >= EXACT:
        return f"{np.sign(rho):.4f}"
    return next(text for digits in range(4, 13) if abs(float(text := f"{rho:.{digits}f}")) < 1.0)


def rank_correlation(values: pd.Series, target: np.ndarray) -> float:
    """Return Spearman's rho over the rows with a known value, 0 if it is undefined.

    Examples
    --------
    >>> rank_correlation(pd.Series([1.0, 4.0, 9.0, np.nan]), np.array([3.0, 2.0, 1.0, 0.0]))
    -1.0
    """
    known = values.notna().to_numpy()
    if known.sum() < 3:
        return 0.0
    rho = float(_center(rankdata(values.to_numpy()[known])) @ _center(rankdata(target[known])))
    return float(np.clip(round(rho, 15), -1.0, 1.0))
