"""Filters that need no model: features that are missing, constant, leak the target, or repeat another feature."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.features.matrix import CATALOG, Catalog
from stargaze.features.selection.redundancy import MIN_ROWS, Ranks, find_repeated, format_rho, rank_correlation
from stargaze.formatting import format_share

LEAKS_TARGET = "leaks the target"
LEAKS = {"watchers": "REST's watchers_count is the number of stars"}
"""Features that are always dropped."""
MANY_STARS = 10.0
"""Small counts are often equal to the stars by chance: no forks and no stars."""
MAX_EQUAL = 0.2
"""A feature that equals the stars in more of the repositories with many stars is a leak; others reach 0.02 [share]."""


@dataclass(frozen=True)
class Filtered:
    """The reasons against the features that are dropped, and for a feature that repeats another one, which one."""

    reasons: dict[str, str]
    repeated: dict[str, str]

    def as_selected(self, selected: Sequence[str], reasons: Mapping[str, str]) -> dict[str, str]:
        """Return all reasons of a policy, those of its model included.

        A feature that repeats one which the model does not need is not needed for the same reason.
        """
        explained = self.reasons | dict(reasons)
        for name, other in self.repeated.items():
            if other not in selected and other in reasons:
                explained[name] = f"like {other}, {reasons[other]} ({self.reasons[name]})"
        return explained


def apply_filters(
    inputs: pd.DataFrame,
    target: np.ndarray,
    section: FeaturesSection,
    catalog: Catalog = CATALOG,
    included: Collection[str] = (),
) -> Filtered:
    """Find the features that are dropped without fitting a model, each with the reason.

    ``inputs`` (n_training, n_features) and ``target`` (n_training,), log1p(stars) [nat]. Of two similar features, the one whose
    policy comes first stays. Those that are ``included`` are dropped only if they are constant or leak the target.
    """
    reasons: dict[str, str] = {}
    repeated: dict[str, str] = {}
    remaining: dict[str, Ranks] = {}
    order = {str(name): (POLICIES.index(catalog[str(name)].policy), name not in included) for name in inputs}
    for name in sorted(order, key=order.__getitem__):
        is_included = name in included
        reason = _find_defect(name, inputs[name], target, section, is_included=is_included)
        if not reason:
            ranks = Ranks.of(inputs[name], is_number=catalog[name].kind == "number")
            other, reason = ("", "") if is_included else find_repeated(ranks, remaining, section.redundant_threshold)
            if not reason:
                remaining[name] = ranks
                continue
            repeated[name] = other
        reasons[name] = reason
    return Filtered(reasons, repeated)


def _find_defect(
    name: str, values: pd.Series, target: np.ndarray, section: FeaturesSection, *, is_included: bool
) -> str:
    """Return why a feature must not be used; of an included one, the missing values do not matter."""
    if name in LEAKS:
        return f"{LEAKS_TARGET}: {LEAKS[name]}"
    known = values.notna().to_numpy()
    missing = float(np.mean(~known))
    if not known.any() or (missing > section.max_missing and not is_included):
        return f"missing in {format_share(missing)} of the {len(values):,} training repositories"
    if (values == values.iloc[0]).all():
        return "constant"
    n_other = int((values[known] != values.mode().iloc[0]).sum())
    if not known.all() and n_other < MIN_ROWS and not is_included:
        others = f"{n_other} of {known.sum():,} known values differ from the most frequent one"
        return f"too few values: {others}, {(~known).sum():,} are missing"
    return _find_leak(values[known], target[known], section)


def _find_leak(values: pd.Series, target: np.ndarray, section: FeaturesSection) -> str:
    """Check whether known values are the stars: equal or in the same order, in all rows or in a part of them."""
    if len(np.unique(target)) <= 2:
        return ""
    stars = np.round(np.expm1(target))
    is_equal = values.to_numpy() == stars
    equal, rho = float(np.mean(is_equal)), rank_correlation(values, target)
    if equal >= 0.99 or (abs(rho) >= section.leak_threshold and len(values) >= MIN_ROWS):
        rows = f"{len(values):,} training repositories"
        return (
            f"{LEAKS_TARGET}: equal to the stars in {format_share(equal)} of {rows}, Spearman's rho {format_rho(rho)}"
        )
    many = stars >= MANY_STARS
    if many.sum() >= MIN_ROWS and (equal := float(np.mean(is_equal[many]))) >= MAX_EQUAL:
        rows = f"the {many.sum():,} training repositories with {MANY_STARS:.0f} or more"
        return f"{LEAKS_TARGET} in part: equal to the stars in {format_share(equal)} of {rows}"
    unusual = (values != values.mode().iloc[0]).to_numpy()
    if MIN_ROWS <= unusual.sum() < len(values) and len(np.unique(target[unusual])) > 2:
        rho = rank_correlation(values[unusual], target[unusual])
        if abs(rho) >= section.leak_threshold:
            rows = f"the {unusual.sum():,} training repositories without the most frequent value"
            return f"{LEAKS_TARGET} in part: Spearman's rho {format_rho(rho)} in {rows}"
    return ""
