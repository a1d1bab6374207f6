"""Decide which features stay, and give the reason for each that goes; only training rows are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import MissingInputError
from stargaze.features.catalog import CATALOG, allowed_features
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset, write_feature_set
from stargaze.features.matrix import build_matrix, build_vocabulary
from stargaze.features.selection.filters import apply_filters, rank_correlation
from stargaze.features.selection.permutation_importance import TrainingRows
from stargaze.features.selection.plot import draw_selection
from stargaze.features.selection.stability import choose_stable
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

SELECTED = "kept"
NOT_LEARNED = 'not learned: no owner stands on two sides (features.split_by = "owner")'


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
                if row[policy] == SELECTED:
                    row[policy] = f"kept, {row[f'importance_{policy}']:.2g}"
        return [{str(name): value for name, value in row.items()} for row in rows]


def select_features(section: FeaturesSection, store: Store, report: Report = lambda _what, _done: None) -> Selection:
    """Read the repositories, select, and write the feature set, the table of reasons and its picture."""
    selection = select(read_dataset(store, section), section, report)
    with atomic_write(store.selection) as reasons, atomic_write(store.selection_plot) as picture:
        selection.reasons.to_csv(reasons, index=False)
        draw_selection(selection.reasons, picture)
        write_feature_set(store, selection.feature_set)  # inside: all three are new, or all three stay
    return selection


def select(table: Dataset, section: FeaturesSection, report: Report = lambda _what, _done: None) -> Selection:
    """Choose the features of each policy.

    Rules, in this order: missing, constant, holding the stars, duplicate, redundant by Spearman's rho, and no better than
    random probes in most of the runs over folds and seeds (:func:`stargaze.features.selection.stability.choose_stable`).

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
        ``reasons`` has for each feature: policy, unit, missing [share], rho with the stars, and per policy ``kept`` or why not,
        the importance [nat²] and the stability [share of runs].
    """
    evidence, vocabularies, dropped = _evidence(table, section)
    report("columns that cannot help", 0.0)
    dropped |= apply_filters(evidence.inputs, evidence.target, section)
    reasons = _described(evidence)
    kept: dict[str, list[str]] = {}
    scores: dict[str, dict[str, float]] = {}
    for place, policy in enumerate(POLICIES):
        report(f"importance under policy {policy}", (place + 0.1) / len(POLICIES))
        candidates = [item.name for item in allowed_features(policy) if item.name not in dropped]
        if all(CATALOG[name].learned for name in candidates):  # names of one pattern teach nothing
            raise MissingInputError(
                f"policy {policy}: no column is left to learn from: {_why_none(dropped)}",
                hint="fetch repositories with more fields: stargaze fetch --from FILE...",
            )
        choice = choose_stable(evidence, candidates, section)
        kept[policy], scores[policy] = choice.kept, choice.errors
        reasons[policy] = _verdicts(policy, dropped | choice.reasons)
        reasons[f"importance_{policy}"] = pd.Series(choice.worth.gain).reindex(reasons.index).round(6)
        reasons[f"stability_{policy}"] = pd.Series(choice.worth.wins).reindex(reasons.index).round(3)
    report("done", 1.0)
    return Selection(FeatureSet(kept, vocabularies, section, table.fingerprint, scores), reasons.reset_index())


def _evidence(table: Dataset, section: FeaturesSection) -> tuple[TrainingRows, dict[str, list[str]], dict[str, str]]:
    """Compute every column of the training rows; return the vocabularies, and why some columns cannot be learned."""
    rows = table.training
    training, told = table.repositories.iloc[rows], table.learned(section)
    vocabularies = {
        name: build_vocabulary(training[name])
        for name, item in CATALOG.items()
        if item.kind == "category" and name in training
    }
    unknown = {name: NOT_LEARNED for name, item in CATALOG.items() if item.learned and name not in told.values}
    names = [name for name in CATALOG if name not in unknown]
    inputs = build_matrix(training, names, vocabularies, told.values.iloc[rows])
    evidence = TrainingRows(inputs, table.target[rows], table.side[rows], lambda fold: told.unseen(fold).iloc[rows])
    return evidence, vocabularies, unknown


def _described(evidence: TrainingRows) -> pd.DataFrame:
    """Return a row a feature: policy, unit, what is missing and how it goes with the stars."""
    inputs = evidence.inputs
    numbers = [name for name in inputs if CATALOG[str(name)].kind == "number"]
    rho = pd.Series({name: round(rank_correlation(inputs[name], evidence.target), 4) for name in numbers})
    return pd.DataFrame(
        {
            "policy": [item.policy for item in CATALOG.values()],
            "unit": [item.unit for item in CATALOG.values()],
            "missing": inputs.isna().mean().round(4).reindex(list(CATALOG)).to_numpy(),
            "rho": rho.reindex(list(CATALOG)).to_numpy(),
        },
        index=pd.Index(list(CATALOG), name="feature"),
    )


def _why_none(dropped: dict[str, str]) -> str:
    """Name one of the columns that a repository always has, and why it does not help."""
    always = (name for name in dropped if "full_name" in CATALOG[name].source and not CATALOG[name].learned)
    return next(f"{name}: {dropped[name]}" for name in always)


def _verdicts(policy: str, dropped: dict[str, str]) -> pd.Series:
    permitted = {item.name for item in allowed_features(policy)}
    return pd.Series(
        {
            name: dropped.get(name, SELECTED) if name in permitted else f"only from policy {item.policy} on"
            for name, item in CATALOG.items()
        }
    )
