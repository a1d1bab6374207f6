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
from stargaze.bundle import Intervals, write_bundle
from stargaze.config import POLICIES, TuningSection
from stargaze.features.matrix import categories
from stargaze.features.table import FeatureSet, Table
from stargaze.tuning.families import FAMILIES, Family
from stargaze.tuning.folds import Arrays, cross_validate, fit
from stargaze.tuning.intervals import calibrate, covered
from stargaze.tuning.metrics import scores

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
    models = {policy: model for policy, (model, _, _) in judged.items()}
    figures = {policy: scored for policy, (_, _, scored) in judged.items()}
    wanted = {section.estimate, section.explain}
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
        "coverage": section.coverage,
        "intervals": _as_dict(judged[section.estimate][1]),
        "features": {policy: feature_set.kept[policy] for policy in sorted(wanted)},
        "vocabularies": feature_set.vocabularies,
        "scores": figures,
        "split": dataclasses.asdict(feature_set.split),
        "star_quantiles": np.quantile(training["stars"], np.linspace(0, 1, 101)).round(3).tolist(),
        "background": _background(table, feature_set, sorted(wanted)),
        "data": {
            "rows": len(table.repositories),
            "training_rows": len(training),
            "fingerprint": table.fingerprint,
            "feature_set": feature_set.digest,
            "latest": table.repositories["fetched_at"].max().isoformat(),
        },
        "prototype": _prototype(table, feature_set, {policy: models[policy] for policy in wanted}),
    }
    known = _known(table.repositories, section.known)
    folder = write_bundle(store.bundles, meta, {policy: models[policy] for policy in sorted(wanted)}, known)
    with replacing(store.latest) as temporary:
        temporary.write_text(folder.name + "\n", encoding="utf-8")
    return folder, figures


def _judge(
    section: TuningSection, table: Table, feature_set: FeatureSet, policy: str, family: Family, best: dict[str, Any]
) -> tuple[Any, Intervals, dict[str, float]]:
    """Cross-validate and fit on training rows, calibrate on validation rows, score on test rows."""
    inputs = table.inputs(feature_set, policy).to_numpy()
    arrays = Arrays(inputs, table.target, table.side, tuple(categories(feature_set.kept[policy])))
    rows = table.training
    folds = best["folds"]
    if policy != section.estimate:  # under the policy of the estimate the trial has told already
        inside = Arrays(inputs[rows], table.target[rows], table.side[rows], arrays.categories)
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


def _as_dict(intervals: Intervals) -> dict[str, Any]:
    return {
        "coverage": intervals.coverage,
        "edges": list(intervals.edges),
        "lower": list(intervals.lower),
        "upper": list(intervals.upper),
    }


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


def _prototype(table: Table, feature_set: FeatureSet, models: dict[str, Any]) -> dict[str, Any]:
    """Return one training repository and what each model predicts for it: what the receiving end repeats before it serves."""
    stars = table.repositories["stars"].iloc[table.training]
    place = int(table.training[int(np.argsort(stars.to_numpy(), kind="stable")[int(0.95 * (len(stars) - 1))])])
    record = table.repositories.iloc[[place]]
    predicted = {
        policy: float(np.maximum(model.predict(table.inputs(feature_set, policy).to_numpy()[[place]]), 0.0)[0])
        for policy, model in models.items()
    }
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
