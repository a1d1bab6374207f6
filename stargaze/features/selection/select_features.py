"""Select the features of each policy, with the reason for each that is dropped, and list all features."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.dataset import (
    Dataset,
    FeatureSet,
    describe_test_set,
    read_dataset,
    read_repositories,
    write_feature_set,
)
from stargaze.features.encoding.encoder import EMBEDDED
from stargaze.features.extract import extract
from stargaze.features.matrix import Catalog, allowed_features, build_matrix, build_vocabulary, catalog_with
from stargaze.features.own_columns import read_own_columns
from stargaze.features.selection.embedding_choice import choose_embeddings, explain_no_embeddings
from stargaze.features.selection.feature_groups import requested_features
from stargaze.features.selection.filters import apply_filters
from stargaze.features.selection.leak_guard import check_collection
from stargaze.features.selection.permutation_importance import TrainingRows
from stargaze.features.selection.redundancy import rank_correlation
from stargaze.features.selection.stability import choose_stable
from stargaze.features.split import read_split
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

SELECTED = "selected"
NO_OWNERS = 'not computed: the owner of a held-out repository is unknown (features.split_by = "owner")'
FETCH_MORE = "fetch records with more fields: stargaze fetch --from FILE..."
EXCLUDE_LESS = "exclude fewer features in features.exclude"
MAX_BARS = 25
"""Bars per policy; more are illegible."""
COLUMNS = ["feature", "source", "unit", "policy", "meaning", "missing", *POLICIES]


@dataclass(frozen=True)
class Selection:
    """The feature set, the table of reasons with one row per feature, and lines about a test set that a file lists."""

    feature_set: FeatureSet
    reasons: pd.DataFrame
    test_set: str = ""

    def as_rows(self) -> list[dict[str, Any]]:
        """Return one row per feature; a selected one shows its importance."""
        rows = self.reasons.to_dict("records")
        for row in rows:
            for policy in self.feature_set.policies:
                if row[policy] == SELECTED:
                    row[policy] = f"selected, {row[f'importance_{policy}']:.2g}"
        return [{str(name): value for name, value in row.items()} for row in rows]


def select_features(section: FeaturesSection, store: Store, report: Report = lambda _what, _done: None) -> Selection:
    """Read the repositories, select, and write the feature set, the table of reasons and its plot."""
    split = read_split(section)
    dataset = read_dataset(store, split)
    selection = dataclasses.replace(select(dataset, split, report), test_set=describe_test_set(dataset, split))
    with atomic_write(store.selection) as reasons, atomic_write(store.selection_plot) as plot:
        selection.reasons.to_csv(reasons, index=False)
        draw_selection(selection.reasons, plot)
        write_feature_set(store, selection.feature_set)  # inside the block: all three files are replaced, or none
    return selection


def select(dataset: Dataset, section: FeaturesSection, report: Report = lambda _what, _done: None) -> Selection:
    """Select the features of each policy, on the training folds only.

    A feature is dropped if it is excluded, missing, constant, a leak, a duplicate, redundant by Spearman's rho, or no better than
    random probes in most runs over folds and seeds (:func:`stargaze.features.selection.stability.choose_stable`). ``reasons``
    has for each feature: policy, unit, missing [share], rho with the stars, and for each policy ``selected`` or the reason
    against it, the importance [nat²] and the stability [share of runs].

    Raise MissingInputError if a policy has no features left, ConfigError if the config names unknown features or includes
    unusable ones.
    """
    requested = requested_features(section, catalog_with(dataset.own_columns))
    training, vocabularies, not_computed = _prepare(dataset, section, requested.excluded)
    catalog = training.catalog
    report("filters", 0.0)
    filtered = apply_filters(training.inputs, training.target, section, catalog, requested.included)
    checked = check_collection(dataset, training.inputs, catalog, filtered.reasons.keys() - filtered.repeated.keys())
    if checked.reasons:  # a feature that repeats a refused one is not dropped for that
        inputs = training.inputs.drop(columns=list(checked.reasons))
        filtered = apply_filters(inputs, training.target, section, catalog, requested.included)
    not_computed |= checked.reasons
    static = [item.name for item in allowed_features("static", catalog)]
    usable = [name for name in static if name not in not_computed | filtered.reasons]
    not_computed |= choose_embeddings(training, usable, section, requested.included)
    dropped = not_computed | filtered.reasons
    usable_by_any = {item.name for item in allowed_features(section.policies[-1], catalog)}
    needs_other = {
        name: f"needs policy {item.policy}, which is not in features.policies"
        for name, item in catalog.items()
        if name not in usable_by_any
    }
    requested.check(needs_other | dropped)
    reasons = _describe_features(training)
    selected: dict[str, list[str]] = {}
    scores: dict[str, dict[str, float]] = {}
    for i, policy in enumerate(section.policies):
        report(f"importance under policy {policy}", (i + 0.1) / len(section.policies))
        allowed = [item.name for item in allowed_features(policy, catalog)]
        candidates = [name for name in allowed if name not in dropped]
        if not candidates or (_are_learned(candidates, catalog) and not requested.excluded):
            message = f"policy {policy}: no usable feature is left: {_example_of(dropped, catalog)}"
            raise MissingInputError(message, hint=EXCLUDE_LESS if requested.excluded else FETCH_MORE)
        choice = choose_stable(training, candidates, section, requested.included)
        selected[policy], scores[policy] = choice.selected, choice.errors
        all_reasons = not_computed | filtered.as_selected(choice.selected, choice.reasons)
        results = {
            name: all_reasons.get(name, SELECTED) if name in allowed else f"needs policy {item.policy}"
            for name, item in catalog.items()
        }
        reasons[policy] = pd.Series(results)
        reasons[f"importance_{policy}"] = pd.Series(choice.importances.increase).reindex(reasons.index).round(6)
        reasons[f"stability_{policy}"] = pd.Series(choice.importances.win_rate).reindex(reasons.index).round(3)
    report("done", 1.0)
    found = (dataset.fingerprint, scores, dataset.own_columns, checked.scores)
    return Selection(FeatureSet(selected, vocabularies, section, *found), reasons.reset_index())


def _are_learned(names: Sequence[str], catalog: Catalog) -> bool:
    """Return whether all features are encodings: without other features, those of names alone have no information."""
    return all(catalog[name].learned for name in names)


def _prepare(
    dataset: Dataset, section: FeaturesSection, excluded: Mapping[str, str]
) -> tuple[TrainingRows, dict[str, list[str]], dict[str, str]]:
    """Compute all features of the training rows; return also the vocabularies, and why some features are not computed."""
    rows = dataset.training
    no_embeddings = explain_no_embeddings(dataset, section, excluded)
    repositories, encodings = dataset.repositories.iloc[rows], dataset.encodings(section, embeddings=not no_embeddings)
    catalog = catalog_with(dataset.own_columns)
    vocabularies = {
        name: build_vocabulary(repositories[name])
        for name, item in catalog.items()
        if item.kind == "category" and name in repositories
    }
    dropped = {name: NO_OWNERS for name, item in catalog.items() if item.learned and name not in encodings.values}
    dropped |= dict.fromkeys(EMBEDDED, no_embeddings) if no_embeddings else {}
    dropped |= excluded
    names = [name for name in catalog if name not in dropped]
    inputs = build_matrix(repositories, names, vocabularies, encodings.values.iloc[rows], catalog)
    data = (inputs, dataset.target[rows], dataset.folds[rows])
    training = TrainingRows(*data, lambda fold: encodings.excluding_fold(fold).iloc[rows], catalog)
    return training, vocabularies, dropped


def _describe_features(training: TrainingRows) -> pd.DataFrame:
    """Return one row per feature: policy, unit, share of missing values, and rank correlation with the stars."""
    inputs, catalog = training.inputs, training.catalog
    numbers = [name for name in inputs if catalog[str(name)].kind == "number"]
    rho = pd.Series({name: round(rank_correlation(inputs[name], training.target), 4) for name in numbers})
    columns = {
        "policy": [item.policy for item in catalog.values()],
        "unit": [item.unit for item in catalog.values()],
        "missing": inputs.isna().mean().round(4).reindex(list(catalog)).to_numpy(),
        "rho": rho.reindex(list(catalog)).to_numpy(),
    }
    return pd.DataFrame(columns, index=pd.Index(list(catalog), name="feature"))


def _example_of(dropped: dict[str, str], catalog: Catalog) -> str:
    """Return the first dropped feature that every repository has, with the reason."""
    return next(
        f"{name}: {reason}"
        for name, reason in dropped.items()
        if "full_name" in catalog[name].source and not catalog[name].learned
    )


def draw_selection(reasons: pd.DataFrame, path: Path) -> None:
    """Write a bar chart of the importances [nat²] with one panel per policy, as SVG with selectable text."""
    from matplotlib import style
    from matplotlib.figure import Figure

    own = {"svg.fonttype": "none", "svg.hashsalt": "stargaze", "font.size": 9}
    # "default": without the matplotlibrc of the working directory
    with style.context(["default", own]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the viewer's fonts are used, not matplotlib's
        policies = [policy for policy in POLICIES if policy in reasons]
        figure = Figure(figsize=(1 + 4 * len(policies), 7), layout="constrained")
        for axes, policy in zip(figure.subplots(1, len(policies), squeeze=False)[0], policies, strict=True):
            selected = reasons[reasons[policy] == "selected"]
            shown = selected.nlargest(MAX_BARS, f"importance_{policy}").iloc[::-1]
            names = shown["feature"].str.replace("$", r"\$")  # else it would begin a formula
            axes.barh(names, shown[f"importance_{policy}"], color="#2a6f97")
            axes.set_xscale("symlog", linthresh=1e-3)
            axes.set_title(f"{policy}: {len(selected)} features selected")
            axes.set_xlabel("increase of the squared error when shuffled [nat²]")
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def list_features(store: Store) -> list[dict[str, Any]]:
    """Return one row per feature; raise ExternalError if the selection or the repositories cannot be read.

    ``missing`` is the share of the repositories, None without repositories. Each policy has the increase of the squared error
    when the feature is shuffled [nat²], or the reason against it, None without a selection for the policy.
    """
    selection, catalog = _read_selection(store), _read_catalog(store)
    missing = selection["missing"] if "missing" in selection else _missing_shares(store, catalog)
    return [
        {
            "feature": name,
            "source": " ".join(item.source) + (" (learned)" if item.learned else ""),
            "unit": item.unit,
            "policy": item.policy,
            "meaning": item.meaning,
            "missing": _round(missing.get(name)),
            **{policy: _importance_or_reason(selection, name, policy) for policy in POLICIES},
        }
        for name, item in catalog.items()
    ]


def _read_selection(store: Store) -> pd.DataFrame:
    if not store.selection.exists():
        return pd.DataFrame()
    try:
        selection = pd.read_csv(store.selection).set_index("feature")
    except (ValueError, KeyError, OSError) as error:
        raise ExternalError(f"{store.selection}: cannot be read: {error}", hint="stargaze select-features") from error
    if (selection == "kept").any(axis=None):  # earlier versions wrote this for a selected feature
        raise ExternalError(f"{store.selection}: was written by another version", hint="stargaze select-features")
    return selection


def _read_catalog(store: Store) -> Catalog:
    """Return the features of the repositories, with their own columns."""
    try:
        return catalog_with(read_own_columns(store.repositories) if store.repositories.exists() else ())
    except (ValueError, OSError) as error:
        hint = "stargaze fetch creates it again"
        raise ExternalError(f"{store.repositories}: cannot be read: {error}", hint=hint) from error


def _missing_shares(store: Store, catalog: Catalog) -> pd.Series:
    if not store.repositories.exists():
        return pd.Series(dtype="float64")
    names = [name for name, item in catalog.items() if not item.learned]
    return extract(read_repositories(store), names, catalog).isna().mean()


def _importance_or_reason(selection: pd.DataFrame, name: str, policy: str) -> float | str | None:
    """Return the importance of a selected feature, or the reason against it."""
    if name not in selection.index or not {policy, f"importance_{policy}"} <= set(selection):
        return None
    row = selection.loc[name]
    return _round(row[f"importance_{policy}"]) if row[policy] == SELECTED else str(row[policy])


def _round(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 6)
