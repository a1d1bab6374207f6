"""Filters that need no model: features that are missing, constant, leak the target, or repeat another feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.features.matrix import CATALOG

LEAKS = {"watchers": "REST's watchers_count is the number of stars"}
"""Features that are always dropped."""
MIN_ROWS = 30
"""A rank correlation of fewer rows has no meaning."""
MANY_STARS = 10.0
"""Small counts are often equal to the stars by chance: no forks and no stars."""
MAX_EQUAL = 0.2
"""A feature that equals the stars in more of the repositories with many stars is a leak; others reach 0.02 [share]."""


def apply_filters(inputs: pd.DataFrame, target: np.ndarray, section: FeaturesSection) -> dict[str, str]:
    """Return the features that are dropped without fitting a model, each with the reason.

    ``inputs`` (n_training, n_features) and ``target`` (n_training,), log1p(stars) [nat]. Of two similar features, the one whose
    policy comes first stays.
    """
    dropped: dict[str, str] = {}
    remaining: list[str] = []
    ranks = inputs.rank()
    for name in sorted(map(str, inputs), key=lambda item: POLICIES.index(CATALOG[item].policy)):
        reason = f"leaks the target: {LEAKS[name]}" if name in LEAKS else _find_defect(inputs[name], target, section)
        reason = reason or _find_duplicate(name, inputs, ranks, remaining, section)
        if reason:
            dropped[name] = reason
        else:
            remaining.append(name)
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
    name: str, inputs: pd.DataFrame, ranks: pd.DataFrame, others: list[str], section: FeaturesSection
) -> str:
    for other in others:
        if inputs[name].equals(inputs[other].rename(name)):
            return f"duplicate of {other}"
        if CATALOG[name].kind == CATALOG[other].kind == "number":
            rho = _rho_without_ties(inputs[name], inputs[other], ranks[name], ranks[other])
            if abs(rho) >= section.redundant_threshold:
                return f"redundant with {other}: Spearman's rho {rho:.3f}"
    return ""


def _rho_without_ties(first: pd.Series, second: pd.Series, first_rank: pd.Series, second_rank: pd.Series) -> float:
    """Return Spearman's rho over the rows in which at least one feature does not have its most frequent value.

    Most repositories have no forks and no releases: with these ties, any two such features would look the same.
    """
    if (first.isna() ^ second.isna()).any():
        return 0.0
    is_usual = (first == first.mode().iloc[0]) & (second == second.mode().iloc[0])
    rows = first.notna() & ~is_usual
    if rows.sum() < MIN_ROWS or first_rank[rows].nunique() < 2 or second_rank[rows].nunique() < 2:
        return 0.0
    return float(np.corrcoef(first_rank[rows], second_rank[rows])[0, 1])


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
