"""Filters that need no model: features that are missing, constant, leak the target, or repeat another feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.features.matrix import CATALOG, Catalog

LEAKS = {"watchers": "REST's watchers_count is the number of stars"}
"""Features that are always dropped."""
MIN_ROWS = 30
"""A rank correlation of fewer rows has no meaning."""
MANY_STARS = 10.0
"""Small counts are often equal to the stars by chance: no forks and no stars."""
MAX_EQUAL = 0.2
"""A feature that equals the stars in more of the repositories with many stars is a leak; others reach 0.02 [share]."""


@dataclass(frozen=True)
class _Column:
    """What is compared of each pair of features: values, where they are known and the most frequent one, ranks; shapes (n,)."""

    values: np.ndarray
    known: np.ndarray
    is_usual: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, values: pd.Series) -> _Column:
        """Return them for a feature, of which some values are known."""
        is_usual = (values == values.mode().iloc[0]).to_numpy()
        return cls(values.to_numpy(), values.notna().to_numpy(), is_usual, values.rank().to_numpy())


def apply_filters(
    inputs: pd.DataFrame, target: np.ndarray, section: FeaturesSection, catalog: Catalog = CATALOG
) -> dict[str, str]:
    """Return the features that are dropped without fitting a model, each with the reason.

    ``inputs`` (n_training, n_features) and ``target`` (n_training,), log1p(stars) [nat]. Of two similar features, the one whose
    policy comes first stays.
    """
    dropped: dict[str, str] = {}
    remaining: dict[str, _Column] = {}
    for name in sorted(map(str, inputs), key=lambda item: POLICIES.index(catalog[item].policy)):
        reason = f"leaks the target: {LEAKS[name]}" if name in LEAKS else _find_defect(inputs[name], target, section)
        column = None if reason else _Column.of(inputs[name])
        reason = reason if column is None else _find_duplicate(name, column, remaining, section, catalog)
        if column is None or reason:
            dropped[name] = reason
        else:
            remaining[name] = column
    return dropped


def _find_defect(values: pd.Series, target: np.ndarray, section: FeaturesSection) -> str:
    missing = float(values.isna().mean())
    if missing > section.max_missing:
        return f"missing in {missing:.1%} of the repositories"
    if values.isna().all() or (values == values.iloc[0]).all():
        return "constant"
    known = values.notna().to_numpy()
    n_other = int((values[known] != values.mode().iloc[0]).sum())
    if not known.all() and n_other < MIN_ROWS:
        return f"constant except for {n_other} repositories, else missing: depends on how the record was collected"
    return _find_leak(values[known], target[known], section)


def _find_leak(values: pd.Series, target: np.ndarray, section: FeaturesSection) -> str:
    """Check whether known values are the stars: equal or in the same order, in all rows or in a part of them."""
    if len(np.unique(target)) <= 2:
        return ""
    stars = np.round(np.expm1(target))
    is_equal = values.to_numpy() == stars
    equal, rho = float(np.mean(is_equal)), rank_correlation(values, target)
    if equal >= 0.99 or abs(rho) >= section.leak_threshold:
        return f"leaks the target: equal to the stars in {equal:.0%}, Spearman's rho {rho:.3f}"
    many = stars >= MANY_STARS
    if many.sum() >= MIN_ROWS and (equal := float(np.mean(is_equal[many]))) >= MAX_EQUAL:
        return f"leaks the target in part: equal to the stars in {equal:.0%} of those with {MANY_STARS:.0f} or more"
    unusual = (values != values.mode().iloc[0]).to_numpy()
    if MIN_ROWS <= unusual.sum() < len(values) and len(np.unique(target[unusual])) > 2:
        rho = rank_correlation(values[unusual], target[unusual])
        if abs(rho) >= section.leak_threshold:
            share = f"{np.mean(unusual):.0%}"
            return f"leaks the target in part: Spearman's rho {rho:.3f} in the {share} without the most frequent value"
    return ""


def _find_duplicate(
    name: str, column: _Column, others: Mapping[str, _Column], section: FeaturesSection, catalog: Catalog
) -> str:
    for other_name, other in others.items():
        if np.array_equal(column.values, other.values, equal_nan=True):
            return f"duplicate of {other_name}"
        if catalog[name].kind == catalog[other_name].kind == "number":
            rho = _rho_without_ties(column, other)
            if abs(rho) >= section.redundant_threshold:
                return f"redundant with {other_name}: Spearman's rho {rho:.3f}"
    return ""


def _rho_without_ties(first: _Column, second: _Column) -> float:
    """Return Spearman's rho over the rows in which at least one feature does not have its most frequent value.

    Most repositories have no forks and no releases: with these ties, any two such features would look the same.
    """
    if not np.array_equal(first.known, second.known):
        return 0.0
    rows = first.known & ~(first.is_usual & second.is_usual)
    ranks = first.rank[rows], second.rank[rows]
    if rows.sum() < MIN_ROWS or any(np.ptp(rank) == 0.0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def rank_correlation(values: pd.Series, target: np.ndarray) -> float:
    """Return Spearman's rho over the rows with a known value, 0 if it is undefined.

    Examples
    --------
    >>> rank_correlation(pd.Series([1.0, 4.0, 9.0, np.nan]), np.array([3.0, 2.0, 1.0, 0.0]))
    -1.0
    """
    known = values.notna().to_numpy()
    if known.sum() < 3 or values[known].nunique() < 2 or len(np.unique(target[known])) < 2:
        return 0.0
    return float(np.corrcoef(values[known].rank(), pd.Series(target[known]).rank())[0, 1])
