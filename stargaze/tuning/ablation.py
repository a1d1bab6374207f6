"""Ablation: what a policy's model loses without groups of its features, paired by fold, with refitted models and encoders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.errors import UsageError
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset_and_features
from stargaze.features.masking import remove_fields
from stargaze.features.matrix import Catalog
from stargaze.features.selection.feature_groups import KINDS, feature_groups, named_features
from stargaze.store import Store
from stargaze.system.progress import Report
from stargaze.tuning.cross_validation import Arrays, policy_arrays
from stargaze.tuning.families import FAMILIES, select_families
from stargaze.tuning.family import Family
from stargaze.tuning.metrics import scores
from stargaze.tuning.retransformation import find_offset
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.training.ensemble import Candidate, out_of_fold

SCORES = ("rmsle", "r2", "rmse")
NOTHING = "nothing"
"""The name of the row with all features."""
JOIN = "+"
"""Joins names that are removed together."""
BY_FIELD = {"language": frozenset({"language", "languages"}), "license": frozenset({"license"})}
"""Groups of all features that read a field."""
REMOVED_FIELDS = {"topics": ("topics",)}
"""Fields of a group that features of other groups read too, here the words of the text: they are removed from the records."""
NOISE = 2.0
"""A change of more than so many standard errors is called one."""


@dataclass(frozen=True)
class Removal:
    """Features that are removed together, and fields that are removed before encoders are fitted."""

    name: str
    features: frozenset[str]
    fields: tuple[str, ...] = ()


def ablate(
    store: Store,
    policy: str,
    without: Sequence[str] = (),
    *,
    family: str = "lightgbm",
    seeds: int = 3,
    metric: str = "rmsle",
    report: Report = lambda _what, _done: None,
) -> list[dict[str, Any]]:
    """Compare the out-of-fold scores of a policy with those without each group of features; by default without every group.

    ``without`` are names of groups, features and patterns; those joined by ``+`` are removed together. All models are fitted
    with default parameters on the same training folds, once per seed; encoders are fitted inside of each fold. With ``metric``
    rmse, the RMSE is that of the mean, as a bundle of that metric estimates it: the offset is fitted on the other folds.

    Returns
    -------
    list of dict
        First the row with all features; each has ``without``, the number of removed ``features``, and ``rmsle`` [nat], ``r2`` of
        the log and ``rmse`` [stars]: means over folds and seeds. ``rmsle_change`` is what is added without the features, and
        ``rmsle_error`` the standard error of the paired differences over folds; the others likewise. ``beyond_noise`` tells
        whether the change of ``metric`` exceeds two standard errors.

    Raises
    ------
    UsageError
        For a name that means no feature, with a similar one; if no feature would be left; for an unknown family.
    """
    chosen = FAMILIES[select_families([family])[-1]]
    table, feature_set = read_dataset_and_features(store)
    removals = [_parse(text, feature_set.catalog) for text in without] or list_removals(feature_set.catalog)
    feature_set.check_policy(policy)
    selected = feature_set.selected[policy]
    for removal in removals if without else ():
        if removal.features.issuperset(selected):
            hint = f"stargaze ablate --without {KINDS[0]}"
            raise UsageError(f"--without {removal.name} leaves no feature of policy {policy}", hint=hint)
    report(f"with all {len(selected)} features", 0.0)
    whole = _score(chosen, policy_arrays(table, feature_set, policy), seeds, metric)
    rows = [_row(NOTHING, 0, whole, whole, metric)]
    for number, removal in enumerate(removals, start=1):
        report(f"without {removal.name}", number / (len(removals) + 1))
        kept = [name for name in selected if name not in removal.features]
        if not kept:
            continue
        reads_removed = any(set(feature_set.catalog[name].source) & set(removal.fields) for name in kept)
        same = len(kept) == len(selected) and not reads_removed
        arrays = None if same else _arrays_without(table, feature_set, policy, kept, removal)
        changed = whole if arrays is None else _score(chosen, arrays, seeds, metric)
        rows.append(_row(removal.name, len(selected) - len(kept), whole, changed, metric))
    report("done", 1.0)
    return rows


def list_removals(catalog: Catalog) -> list[Removal]:
    """Return the removal of each kind of information that the catalog has features of."""
    groups = _groups(catalog)
    kinds = [name for name in (*KINDS, *BY_FIELD) if name in groups]
    return [Removal(name, frozenset(groups[name]), REMOVED_FIELDS.get(name, ())) for name in kinds]


def _groups(catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Return the groups that the config knows, and those of single fields, which have the name of a feature."""
    by_field = {
        name: tuple(feature.name for feature in catalog.values() if fields.intersection(feature.source))
        for name, fields in BY_FIELD.items()
    }
    return {**feature_groups(catalog), **by_field}


def _parse(text: str, catalog: Catalog) -> Removal:
    """Return the removal that a text means; a group precedes a feature of the same name."""
    groups, members, fields = _groups(catalog), set[str](), list[str]()
    for part in [text] if text in catalog else text.split(JOIN):
        members |= set(groups.get(part) or named_features([part], catalog, "--without"))
        fields += REMOVED_FIELDS.get(part, ())
    return Removal(text, frozenset(members), tuple(fields))


def _arrays_without(table: Dataset, feature_set: FeatureSet, policy: str, kept: list[str], removal: Removal) -> Arrays:
    reduced = dataclasses.replace(feature_set, selected={**feature_set.selected, policy: kept})
    if removal.fields:
        none = np.zeros((len(table.target), len(removal.fields)), dtype=bool)
        table = dataclasses.replace(table, repositories=remove_fields(table.repositories, removal.fields, none))
    return policy_arrays(table, reduced, policy)


def _score(family: Family, arrays: Arrays, seeds: int, metric: str) -> np.ndarray:
    """Return the scores of each fold, means over the seeds; shape (n_folds, n_scores)."""
    rows = parallel_map(score_folds_of, [(family.name, arrays, seed, metric) for seed in range(seeds)])
    return np.asarray(np.mean(rows, axis=0))


def score_folds_of(family: str, arrays: Arrays, seed: int, metric: str) -> np.ndarray:
    """Return the scores of each fold of one seed; shape (n_folds, n_scores)."""
    predicted, rows = out_of_fold(Candidate(FAMILIES[family], {}, seed), arrays), []
    for fold in np.unique(arrays.folds):
        out = arrays.folds == fold
        stars = np.expm1(arrays.target[out])
        found = scores(stars, np.expm1(np.maximum(predicted[out], 0.0)))
        if metric == "rmse":
            mean = predicted[out] + find_offset(predicted[~out], arrays.target[~out])
            found["rmse"] = scores(stars, np.expm1(np.maximum(mean, 0.0)))["rmse"]
        rows.append([found[name] for name in SCORES])
    return np.array(rows)


def _row(name: str, n_removed: int, whole: np.ndarray, changed: np.ndarray, metric: str) -> dict[str, Any]:
    gaps = changed - whole
    errors = gaps.std(axis=0, ddof=1) / np.sqrt(len(gaps))
    row: dict[str, Any] = {"without": name, "features": n_removed}
    for place, score in enumerate(SCORES):
        row[score] = float(changed[:, place].mean())
        if name != NOTHING:
            row |= {f"{score}_change": float(gaps[:, place].mean()), f"{score}_error": float(errors[place])}
    if name != NOTHING:
        row["beyond_noise"] = bool(abs(row[f"{metric}_change"]) > NOISE * row[f"{metric}_error"])
    return row
