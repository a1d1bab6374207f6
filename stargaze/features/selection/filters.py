"""Columns that need no model to be dropped: missing, constant, holding the stars, or saying what another says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.catalog import CATALOG

NEVER = {"watchers": "REST's watchers_count is their number under another name"}
"""Refused whatever the data look like."""
LEAST_ROWS = 30
"""Fewer rows than this tell nothing about a rank correlation."""
MANY_STARS = 10.0
"""Counts of fewer stars are often equal by chance: no fork and no star."""
PART = 0.2
"""Share of the repositories with many stars in which a column is equal to them: the honest ones reach 0.02 [share]."""


def apply_filters(inputs: pd.DataFrame, target: np.ndarray, section: FeaturesSection) -> dict[str, str]:
    """Return the columns that need no model to be dropped, each with its reason.

    Parameters
    ----------
    inputs : DataFrame, shape (n_training, n_features)
    target : array, shape (n_training,)
        log1p of the stars [nat].
    section : FeaturesSection
        Thresholds.

    Returns
    -------
    dict
        Reason by name: missing, constant, holding the stars, duplicate or redundant.
    """
    dropped: dict[str, str] = {}
    kept: list[str] = []
    ranks = inputs.rank()
    order = ("static", "activity", "all")
    for name in sorted(map(str, inputs), key=lambda item: order.index(CATALOG[item].policy)):
        reason = _never(name) or _looks(inputs[name], target, section) or _twin(name, inputs, ranks, kept, section)
        if reason:
            dropped[name] = reason
        else:
            kept.append(name)
    return dropped


def _never(name: str) -> str:
    return f"holds the stars: {NEVER[name]}" if name in NEVER else ""


def _looks(values: pd.Series, target: np.ndarray, section: FeaturesSection) -> str:
    missing = float(values.isna().mean())
    if missing > section.max_missing:
        return f"missing in {missing:.1%} of the repositories"
    if values.isna().all() or (values == values.iloc[0]).all():
        return "constant"
    known = values.notna().to_numpy()
    apart = int((values[known] != values.mode().iloc[0]).sum())
    if not known.all() and apart < LEAST_ROWS:  # what is left is whether it was collected
        return f"constant but for {apart} repositories, and not known of others: tells how the record was collected"
    return _holds_stars(values[known], target[known], section)


def _holds_stars(values: pd.Series, target: np.ndarray, section: FeaturesSection) -> str:
    """Tell whether known values are the stars: equal, of the same order, or either in a part of the rows."""
    if len(np.unique(target)) <= 2:
        return ""
    stars = np.round(np.expm1(target))
    equal = values.to_numpy() == stars
    same, rho = float(np.mean(equal)), rank_correlation(values, target)
    if same >= 0.99 or abs(rho) >= section.leak_threshold:
        return f"holds the stars: equal in {same:.0%}, Spearman's rho {rho:.3f}"
    many = stars >= MANY_STARS
    if many.sum() >= LEAST_ROWS and float(np.mean(equal[many])) >= PART:
        return f"holds the stars of some: equal in {np.mean(equal[many]):.0%} of those with {MANY_STARS:.0f} or more"
    unusual = (values != values.mode().iloc[0]).to_numpy()
    if LEAST_ROWS <= unusual.sum() < len(values) and len(np.unique(target[unusual])) > 2:
        rho = rank_correlation(values[unusual], target[unusual])
        if abs(rho) >= section.leak_threshold:
            return (
                f"holds the stars of some: Spearman's rho {rho:.3f} in the {np.mean(unusual):.0%} that it tells apart"
            )
    return ""


def _twin(name: str, inputs: pd.DataFrame, ranks: pd.DataFrame, kept: list[str], section: FeaturesSection) -> str:
    for other in kept:
        if inputs[name].equals(inputs[other].rename(name)):
            return f"duplicate of {other}"
        if CATALOG[name].kind == CATALOG[other].kind == "number":
            rho = _rho_apart_from_ties(inputs[name], inputs[other], ranks[name], ranks[other])
            if abs(rho) >= section.redundant_threshold:
                return f"redundant with {other}: Spearman's rho {rho:.3f}"
    return ""


def _rho_apart_from_ties(first: pd.Series, second: pd.Series, first_rank: pd.Series, second_rank: pd.Series) -> float:
    """Return Spearman's rho over the rows in which at least one column leaves its most frequent value.

    Most repositories have no fork and no release: counting those ties would make any two such columns look the same.
    """
    if (first.isna() ^ second.isna()).any():
        return 0.0
    usual = (first == first.mode().iloc[0]) & (second == second.mode().iloc[0])
    rows = first.notna() & ~usual
    if rows.sum() < LEAST_ROWS or first_rank[rows].nunique() < 2 or second_rank[rows].nunique() < 2:
        return 0.0
    return float(np.corrcoef(first_rank[rows], second_rank[rows])[0, 1])


def rank_correlation(values: pd.Series, target: np.ndarray) -> float:
    """Return Spearman's rho over the rows whose value is known; 0 where there is no telling."""
    known = values.notna().to_numpy()
    if known.sum() < 3 or values[known].nunique() < 2 or len(np.unique(target[known])) < 2:
        return 0.0
    return float(np.corrcoef(values[known].rank(), pd.Series(target[known]).rank())[0, 1])
