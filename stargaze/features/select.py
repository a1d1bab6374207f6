"""Decide which features stay, and give the reason for each that goes; only training rows are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.artifacts import Store, replacing
from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import MissingInputError
from stargaze.features.catalogue import CATALOGUE, allowed
from stargaze.features.importance import fold_errors, importances
from stargaze.features.matrix import matrix, vocabulary
from stargaze.features.plot import draw_selection
from stargaze.features.table import FeatureSet, Table, read_table, write_feature_set

KEPT = "kept"
NEVER = {"watchers": "REST's watchers_count is their number under another name"}
"""Refused whatever the data look like."""
LEAST_ROWS = 30
"""Fewer rows than this tell nothing about a rank correlation."""
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Selection:
    """The feature set and the table of reasons, one line a feature."""

    feature_set: FeatureSet
    reasons: pd.DataFrame

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a row a feature; a kept one shows what it is worth."""
        rows = self.reasons.to_dict("records")
        for row in rows:
            for policy in POLICIES:
                if row[policy] == KEPT:
                    row[policy] = f"kept, {row[f'importance_{policy}']:.2g}"
        return [{str(name): value for name, value in row.items()} for row in rows]


def select_features(section: FeaturesSection, store: Store, report: Report = lambda _what, _done: None) -> Selection:
    """Read the repositories, select, and write the feature set, the table of reasons and its picture."""
    selection = select(read_table(store, section), section, report)
    with replacing(store.selection) as reasons, replacing(store.selection_plot) as picture:
        selection.reasons.to_csv(reasons, index=False)
        draw_selection(selection.reasons, picture)
        write_feature_set(store, selection.feature_set)  # inside: all three are new, or all three stay
    return selection


def select(table: Table, section: FeaturesSection, report: Report = lambda _what, _done: None) -> Selection:
    """Choose the features of each policy.

    Rules, in this order: missing, constant, holding the stars, duplicate, redundant by Spearman's rho, and no better than
    random probes by permutation importance under cross-validation. What the last rule drops comes back if the model without
    it is worse by more than one standard error.

    Parameters
    ----------
    table : Table
        Repositories with sides; only the training folds are used.
    section : FeaturesSection
        Thresholds, folds and seed.
    report : callable
        Told what is being done and the share done.

    Returns
    -------
    Selection
        ``reasons`` has for each feature: policy, unit, missing [share], rho with the stars, and per policy ``kept`` or why not
        and the importance [nat²].
    """
    rows = table.training
    training, target, folds = table.repositories.iloc[rows], table.target[rows], table.side[rows]
    vocabularies = {
        name: vocabulary(training[name])
        for name, item in CATALOGUE.items()
        if item.kind == "category" and name in training
    }
    inputs = matrix(training, list(CATALOGUE), vocabularies)
    report("columns that cannot help", 0.0)
    dropped = drop_by_looks(inputs, target, section)
    reasons = pd.DataFrame(
        {
            "feature": list(CATALOGUE),
            "policy": [item.policy for item in CATALOGUE.values()],
            "unit": [item.unit for item in CATALOGUE.values()],
            "missing": inputs.isna().mean().round(4).to_numpy(),
            "rho": [_rho_of(name, inputs, target) for name in CATALOGUE],
        }
    ).set_index("feature")
    kept: dict[str, list[str]] = {}
    scores: dict[str, dict[str, float]] = {}
    for place, policy in enumerate(POLICIES):
        report(f"importance under policy {policy}", (place + 0.1) / len(POLICIES))
        candidates = [item.name for item in allowed(policy) if item.name not in dropped]
        if not candidates:
            raise MissingInputError(
                f"policy {policy}: no column is left to learn from: {_why_none(dropped)}",
                hint="fetch repositories with more fields: stargaze fetch --from FILE...",
            )
        gain, probe = importances(inputs[candidates], target, folds, section)
        kept[policy], scores[policy] = _confirm(inputs, target, folds, candidates, gain, probe, section)
        reasons[policy] = _verdicts(policy, kept[policy], dropped, gain, probe)
        reasons[f"importance_{policy}"] = pd.Series(gain).reindex(reasons.index).round(6)
    report("done", 1.0)
    return Selection(FeatureSet(kept, vocabularies, section, table.fingerprint, scores), reasons.reset_index())


def _why_none(dropped: dict[str, str]) -> str:
    """Name one of the columns that a repository always has, and why it does not help."""
    return next(f"{name}: {reason}" for name, reason in dropped.items() if "full_name" in CATALOGUE[name].source)


def drop_by_looks(inputs: pd.DataFrame, target: np.ndarray, section: FeaturesSection) -> dict[str, str]:
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
    for name in sorted(map(str, inputs), key=lambda item: order.index(CATALOGUE[item].policy)):
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
    same = float(np.mean(np.round(np.expm1(target[known])) == values.to_numpy()[known]))
    rho = _rho(values, target)
    distinct = len(np.unique(target[known])) > 2
    if distinct and (same >= 0.99 or abs(rho) >= section.leak):
        return f"holds the stars: equal in {same:.0%}, Spearman's rho {rho:.3f}"
    return ""


def _twin(name: str, inputs: pd.DataFrame, ranks: pd.DataFrame, kept: list[str], section: FeaturesSection) -> str:
    for other in kept:
        if inputs[name].equals(inputs[other].rename(name)):
            return f"duplicate of {other}"
        if CATALOGUE[name].kind == CATALOGUE[other].kind == "number":
            rho = _rho_apart_from_ties(inputs[name], inputs[other], ranks[name], ranks[other])
            if abs(rho) >= section.redundant:
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


def _rho_of(name: str, inputs: pd.DataFrame, target: np.ndarray) -> float:
    return round(_rho(inputs[name], target), 4) if CATALOGUE[name].kind == "number" else np.nan


def _rho(values: pd.Series, target: np.ndarray) -> float:
    known = values.notna().to_numpy()
    if known.sum() < 3 or values[known].nunique() < 2 or len(np.unique(target[known])) < 2:
        return 0.0
    return float(np.corrcoef(values[known].rank(), pd.Series(target[known]).rank())[0, 1])


def _confirm(
    inputs: pd.DataFrame,
    target: np.ndarray,
    folds: np.ndarray,
    candidates: list[str],
    gain: dict[str, float],
    probe: float,
    section: FeaturesSection,
) -> tuple[list[str], dict[str, float]]:
    """Return the shortest list that is not worse than all candidates by more than a standard error of the paired folds."""
    whole = fold_errors(inputs[candidates], target, folds, section)
    for least in (probe, 0.0):
        chosen = [name for name in candidates if gain[name] > least]
        if not chosen or len(chosen) == len(candidates):
            continue
        errors = fold_errors(inputs[chosen], target, folds, section)
        gap = errors - whole
        if gap.mean() <= gap.std(ddof=1) / np.sqrt(len(gap)):
            return chosen, _mean_errors(whole, errors)
    return candidates, _mean_errors(whole, whole)


def _mean_errors(whole: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    return {"rmsle_candidates": round(float(whole.mean()), 5), "rmsle_kept": round(float(kept.mean()), 5)}


def _verdicts(policy: str, kept: list[str], dropped: dict[str, str], gain: dict[str, float], probe: float) -> pd.Series:
    permitted = {item.name for item in allowed(policy)}
    verdicts = {}
    for name, item in CATALOGUE.items():
        if name not in permitted:
            verdicts[name] = f"only from policy {item.policy} on"
        elif name in dropped:
            verdicts[name] = dropped[name]
        elif name in kept:
            verdicts[name] = KEPT
        else:
            verdicts[name] = f"useless: importance {gain[name]:.2g} is not above a random probe's {probe:.2g}"
    return pd.Series(verdicts)
