"""Refit the best configuration, calibrate its intervals, judge it on rows that nothing has seen, and write the bundle."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import stargaze
from stargaze.artifacts import Store, replacing
from stargaze.bundle import Intervals, Step, write_bundle
from stargaze.config import POLICIES, TuningSection
from stargaze.features.catalogue import CATALOGUE
from stargaze.features.encode import needed
from stargaze.features.matrix import categories
from stargaze.features.table import FeatureSet, Table
from stargaze.tuning.families import FAMILIES, Family
from stargaze.tuning.folds import cross_validate, fit, policy_arrays
from stargaze.tuning.intervals import calibrate, covered
from stargaze.tuning.metrics import scores

RARE = 0.01
"""A column that is missing more seldom than this in training counts as always known [share]."""
WEIGHTY = 0.1
"""A column whose shuffling costs at least this part of what the weightiest costs has to be known [share]."""
CATEGORIES = frozenset(name for name, item in CATALOGUE.items() if item.kind == "category")
PACKAGES = ("lightgbm", "scikit-learn", "numpy", "pandas", "skops")


def save_best(
    section: TuningSection,
    store: Store,
    table: Table,
    feature_set: FeatureSet,
    best: dict[str, Any],
    n_trials: int,
    now: datetime,
) -> tuple[Path, dict[str, dict[str, float]]]:
    """Write the bundle of the best trial; return its folder and the scores of every policy."""
    family = FAMILIES[best["family"]]
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        judged = dict(
            zip(
                POLICIES,
                pool.map(lambda policy: _judge(section, table, feature_set, policy, family, best), POLICIES),
                strict=True,
            )
        )
    figures = {policy: scored for policy, (_, _, scored) in judged.items()}
    reach = POLICIES[: POLICIES.index(section.estimate) + 1]
    wanted = sorted({*reach, section.explain})
    models = {policy: judged[policy][0] for policy in wanted}
    steps = [_step(table, feature_set, policy, *judged[policy][:2], section.seed) for policy in reversed(reach)]
    training = table.repositories.iloc[table.training]
    meta = {
        "made_at": now.isoformat(timespec="seconds"),
        "version": stargaze.__version__,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "estimate": section.estimate,
        "explain": section.explain,
        "family": family.name,
        "parameters": {**family.defaults, **best["parameters"]},
        "trials": n_trials,
        "asked": section.trials,
        "coverage": section.coverage,
        "intervals": dataclasses.asdict(judged[section.estimate][1]),
        "steps": [step.as_dict() for step in steps],
        "features": {policy: feature_set.kept[policy] for policy in wanted},
        "vocabularies": feature_set.vocabularies,
        "scores": figures,
        "split": dataclasses.asdict(feature_set.split),
        "star_quantiles": np.quantile(training["stars"], np.linspace(0, 1, 101)).round(3).tolist(),
        "background": _background(table, feature_set, wanted),
        "data": {
            "rows": len(table.repositories),
            "training_rows": len(training),
            "fingerprint": table.fingerprint,
            "feature_set": feature_set.digest,
            "latest": table.repositories["fetched_at"].max().isoformat(),
        },
        "prototype": _prototype(table, feature_set, models, steps),
    }
    known = _known(table.repositories, section.known)
    encoder = table.learned(feature_set.split).encoder if any(map(needed, meta["features"].values())) else None
    folder = write_bundle(store.bundles, meta, models, known, encoder)
    with replacing(store.latest) as temporary:
        temporary.write_text(folder.name + "\n", encoding="utf-8")
    return folder, figures


def _judge(
    section: TuningSection, table: Table, feature_set: FeatureSet, policy: str, family: Family, best: dict[str, Any]
) -> tuple[Any, Intervals, dict[str, float]]:
    """Cross-validate and fit on training rows, calibrate on validation rows, score on test rows."""
    arrays = policy_arrays(table, feature_set, policy, np.arange(len(table.target)))
    inputs, rows = arrays.inputs, table.training
    folds = best["folds"]
    if policy != section.estimate:  # under the policy of the estimate the trial has told already
        inside = policy_arrays(table, feature_set, policy)
        folds = [fold.rmsle for fold in cross_validate(family, best["parameters"], inside, section.seed)]
    model = fit(family, best["parameters"], arrays, rows, section.seed)
    predicted = np.maximum(model.predict(inputs), 0.0)
    held, test = table.validation, table.test
    intervals = calibrate(predicted[held], table.target[held], section.coverage)
    figures = scores(np.expm1(table.target[test]), np.expm1(predicted[test]))
    figures |= {
        "coverage": covered(intervals, predicted[test], table.target[test]),
        "cv_rmsle": float(np.mean(folds)),
        "cv_spread": float(np.std(folds, ddof=1)),
    }
    return model, intervals, {name: round(value, 5) for name, value in figures.items()}


def _step(table: Table, feature_set: FeatureSet, policy: str, model: Any, intervals: Intervals, seed: int) -> Step:
    """Find what a policy's model must be told: columns always known in training whose shuffling costs it most."""
    inputs = table.inputs(feature_set, policy)
    training, held = inputs.iloc[table.training], inputs.iloc[table.validation]
    told = [str(name) for name in inputs if not CATALOGUE[str(name)].learned]  # what is learned, nobody needs to tell
    always = [name for name in told if training[name].isna().mean() < RARE]
    typical = {
        name: float(training[name].mode().iloc[0] if name in CATEGORIES else training[name].median()) for name in always
    }
    values, target = held.to_numpy(), table.target[table.validation]
    random = np.random.default_rng(seed)
    base, cost = _squared(model, values, target), {}
    for name in always:
        shuffled = values.copy()
        place = inputs.columns.get_loc(name)
        shuffled[:, place] = random.permutation(values[:, place])
        cost[name] = _squared(model, shuffled, target) - base
    most = max(cost.values(), default=0.0)
    needs = tuple(name for name in always if most > 0 and cost[name] >= WEIGHTY * most)
    return Step(policy, needs, {name: typical[name] for name in always if name not in needs}, intervals)


def _squared(model: Any, values: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((np.maximum(model.predict(values), 0.0) - target) ** 2))


def _background(table: Table, feature_set: FeatureSet, policies: list[str]) -> dict[str, list[float | None]]:
    """Return each policy's typical row: the median of numbers, the most frequent code of categories; None where missing."""
    typical: dict[str, list[float | None]] = {}
    for policy in policies:
        inputs = table.inputs(feature_set, policy).iloc[table.training]
        places = categories(feature_set.kept[policy])
        values = inputs.median()
        for place in places:
            modes = inputs.iloc[:, place].mode()
            values.iloc[place] = modes.iloc[0] if len(modes) else np.nan
        typical[policy] = [None if np.isnan(value) else float(value) for value in values]
    return typical


def _prototype(table: Table, feature_set: FeatureSet, models: dict[str, Any], steps: list[Step]) -> dict[str, Any]:
    """Return one training repository and what each model predicts for it: what the receiving end repeats before it serves."""
    stars = table.repositories["stars"].iloc[table.training]
    place = int(table.training[int(np.argsort(stars.to_numpy(), kind="stable")[int(0.95 * (len(stars) - 1))])])
    record = table.repositories.iloc[[place]]
    typical = {step.policy: dict(step.typical) for step in steps}
    predicted = {}
    for policy, model in models.items():
        inputs = table.served(feature_set, policy, [place]).fillna(typical.get(policy, {}))
        predicted[policy] = float(np.maximum(model.predict(inputs.to_numpy()), 0.0)[0])
    return {"record": _plain(record), "predicted": predicted}


def _plain(record: pd.DataFrame) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in record.iloc[0].items():
        if isinstance(value, (list, np.ndarray)):
            row[str(name)] = [str(item) for item in value]
        elif value is not None and not pd.isna(value):
            row[str(name)] = (
                value.isoformat() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda v=value: v)()
            )
    return row


def _known(repositories: pd.DataFrame, most: int) -> pd.DataFrame:
    chosen = repositories.sort_values("stars", ascending=False, kind="stable").head(most).sort_index()
    return chosen.dropna(axis="columns", how="all")
