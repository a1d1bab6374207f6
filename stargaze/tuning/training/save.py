"""Refit the best trials under every policy and write the bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.prediction_intervals import AnswerPolicy, append_prediction
from stargaze.bundle.repository_sets import RepositorySets
from stargaze.bundle.write import describe_origin, record_newest, write_bundle
from stargaze.config import TuningSection
from stargaze.features.collection.population import describe_choice, describe_population
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.encoding.encoder import needs_encoder
from stargaze.features.own_columns import declare_own_columns
from stargaze.features.registry import Feature
from stargaze.features.split import split_to_json
from stargaze.store import Store
from stargaze.tuning.training.ensemble import select_candidates
from stargaze.tuning.training.fit_population import fit_population
from stargaze.tuning.training.held_out import find_answering_policies, write_held_out
from stargaze.tuning.training.refit import PolicyPredictor, refit
from stargaze.tuning.training.scoring import find_outliers

N_QUANTILES = 1_001
"""Quantiles of the stars in training, so that a percentile has one decimal."""
PACKAGES = ("lightgbm", "scikit-learn", "numpy", "pandas", "skops")


def save_best(
    section: TuningSection,
    store: Store,
    table: Dataset,
    feature_set: FeatureSet,
    trials: Sequence[dict[str, Any]],
    screened: Sequence[str] = (),
) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Write the bundle of the best trials; return its folder and the scores of each policy.

    ``screened`` are the families of the leaderboard: the defaults of some that were not tuned may join the ensemble too.
    """
    rows = len(table.training)
    chosen = select_candidates(trials, section.ensemble_size, section.seed, screened, section.metric, rows)
    policies = feature_set.policies
    refitted = refit(table, feature_set, policies, chosen, section.coverage, section.metric)
    scores = {policy: predictor.scores for policy, predictor in refitted.items()}
    narrower = policies[: policies.index(section.estimate_policy) + 1]
    used = {policy: refitted[policy] for policy in sorted(narrower)}
    answer_policies = [AnswerPolicy(policy, refitted[policy].calibrated.intervals) for policy in reversed(narrower)]
    meta = {
        **describe_origin(PACKAGES),
        "estimate_policy": section.estimate_policy,
        "metric": section.metric,
        "ensemble": {policy: _ensemble_members(predictor) for policy, predictor in used.items()},
        "trials": len(trials),
        "requested_trials": section.trials,
        "seed": section.seed,
        "coverage": section.coverage,
        "intervals": dataclasses.asdict(refitted[section.estimate_policy].calibrated.intervals.levels[0].intervals),
        "answer_policies": [dataclasses.asdict(item) for item in answer_policies],
        "features": {policy: feature_set.selected[policy] for policy in used},
        "vocabularies": feature_set.vocabularies,
        **({"own_columns": declare_own_columns(feature_set.own_columns)} if feature_set.own_columns else {}),
        "scores": scores,
        "importance": {policy: predictor.importance for policy, predictor in used.items()},
        "outliers": find_outliers(table.repositories, refitted[section.estimate_policy].held_out),
        "split": split_to_json(feature_set.split),
        "background": _background(table, feature_set, list(used)),
        "prototype": _prototype(table, feature_set, used),
        **_data(table, feature_set),
    }
    models = {policy: predictor.model for policy, predictor in used.items()}
    spreads = {policy: refitted[policy].calibrated.spread for policy in narrower}
    has_encoder = any(map(needs_encoder, meta["features"].values()))
    encoder = table.encodings_of(feature_set).encoder if has_encoder else None
    folder = write_bundle(
        store.bundles,
        meta,
        models,
        spreads,
        _known(table.repositories, section.bundled_repositories),
        RepositorySets.of(table.repositories["full_name"], table.folds),
        encoder,
        fit_population(
            table, feature_set, section.estimate_policy, meta["importance"][section.estimate_policy], section.seed
        ),
    )
    held_out = {policy: predictor.held_out for policy, predictor in refitted.items()}
    answering = find_answering_policies(table, feature_set, narrower)
    write_held_out(store.held_out, table, held_out, answering, folder.name)
    record_newest(store.latest, folder)
    return folder, scores


def _ensemble_members(predictor: PolicyPredictor) -> list[dict[str, Any]]:
    return [
        {
            "family": member.family.name,
            "parameters": member.parameters,
            "seed": member.seed,
            "weight": round(weight, 5),
        }
        for member, weight in zip(predictor.members, predictor.model.weights, strict=True)
    ]


def _data(table: Dataset, feature_set: FeatureSet) -> dict[str, Any]:
    training = table.repositories.iloc[table.training]
    return {
        "star_quantiles": np.quantile(training["stars"], np.linspace(0, 1, N_QUANTILES)).round(3).tolist(),
        "data": {
            "rows": len(table.repositories),
            "training_rows": len(training),
            "population": describe_population(table.repositories),
            "choice": describe_choice(table.repositories),
            "fingerprint": table.fingerprint,
            "feature_set": feature_set.digest,
            "earliest": table.repositories["fetched_at"].min().isoformat(),
            "latest": table.repositories["fetched_at"].max().isoformat(),
        },
    }


def _background(table: Dataset, feature_set: FeatureSet, policies: list[str]) -> dict[str, list[float | None]]:
    """Return the typical row of each policy, None where a value is missing."""
    inputs = {policy: table.model_inputs(feature_set, policy).iloc[table.training] for policy in policies}
    typical = {
        policy: [_typical_value(frame[name], feature_set.catalog[name]) for name in map(str, frame)]
        for policy, frame in inputs.items()
    }
    return {policy: [None if np.isnan(value) else value for value in values] for policy, values in typical.items()}


def _typical_value(column: pd.Series, feature: Feature) -> float:
    """Return the median of numbers, the most frequent code of a category; NaN if all are missing."""
    if feature.kind != "category":
        return float(column.median())
    return float(next(iter(column.mode()), np.nan))


def _prototype(table: Dataset, feature_set: FeatureSet, used: dict[str, PolicyPredictor]) -> dict[str, Any]:
    """Return one training repository and the prediction of each model; the receiver repeats them before it serves."""
    stars = table.repositories["stars"].iloc[table.training]
    row = int(table.training[int(np.argsort(stars.to_numpy(), kind="stable")[int(0.95 * (len(stars) - 1))])])
    record, predicted = table.repositories.iloc[[row]], {}
    for policy, predictor in used.items():
        inputs = table.serving_inputs(feature_set, policy, record).to_numpy()
        error_inputs = append_prediction(inputs, np.maximum(predictor.model.predict(inputs), 0.0))
        predicted[policy] = [float(model.predict(inputs)[0]) for model in predictor.model.models]
        predicted[policy].append(float(predictor.calibrated.spread.predict(error_inputs)[0]))
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


def _known(repositories: pd.DataFrame, max_rows: int) -> pd.DataFrame:
    chosen = repositories.sort_values("stars", ascending=False, kind="stable").head(max_rows).sort_index()
    return chosen.dropna(axis="columns", how="all") if len(chosen) else chosen[["full_name", "stars"]]
