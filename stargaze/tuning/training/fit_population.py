"""The reference of a bundle's population: training repositories, and how far honest held-out ones are from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from stargaze.bundle.population_density import (
    HONEST,
    LEVELS,
    MAX_FEATURES,
    MAX_REFERENCE,
    MIN_FEATURES,
    N_QUANTILES,
    PopulationDensity,
    level_thresholds,
)
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.extract import extract
from stargaze.features.matrix import Catalog

MAX_USED = 8
"""Features that are compared: the most important ones; distances in more dimensions differ less."""
MIN_VALUES = 20
"""A feature with fewer different values is no measure of a distance."""
MIN_KNOWN = 0.5
"""The least share of the training repositories that have a feature."""
LEAST_WEIGHT = 0.005
"""Added to each importance: a repository can be far from the others in an unimportant number too [share]."""
MIN_HELD_OUT = 50
"""Fewer held-out repositories say nothing of a distance that one of a hundred exceeds."""
COPIES = 6
"""Copies of each held-out repository with missing numbers, as look-ups and entered ones have them."""


def fit_population(
    table: Dataset, feature_set: FeatureSet, policy: str, importance: Mapping[str, float], seed: int
) -> PopulationDensity | None:
    """Return the reference of the training repositories in the most important numbers of a policy; None if there are too few.

    ``importance`` is that of each record field [share]. Thresholds come from the repositories for calibration.
    """
    catalog = feature_set.catalog
    training = extract(table.repositories.iloc[table.training], _candidates(feature_set, policy), catalog)
    names = _choose_features(training, importance, catalog)
    if len(names) < MIN_FEATURES or len(training) < MAX_FEATURES:
        return None
    values = training[names].to_numpy(dtype="float64")
    chosen = np.random.default_rng(seed).permutation(len(values))[:MAX_REFERENCE]
    weights = np.sqrt([_importance_of(name, importance, catalog) + LEAST_WEIGHT for name in names])
    quantiles = np.nanquantile(values, np.linspace(0.0, 1.0, N_QUANTILES), axis=0)
    unlimited, nobody = np.full(LEVELS, np.inf, dtype="float32"), np.zeros((0, len(names)), dtype="float32")
    scale = (weights / weights.max()).astype("float32")
    density = PopulationDensity(tuple(names), scale, quantiles.astype("float32"), nobody, unlimited)
    density = dataclasses.replace(density, reference=density.to_scores(values[chosen]).astype("float32"))
    held_out = extract(table.repositories.iloc[table.validation], names, catalog).to_numpy(dtype="float64")
    copies = [held_out, *(_remove_values(held_out, seed + copy) for copy in range(COPIES))]
    distances = [density.distances(rows) for rows in copies]
    found, known = (np.concatenate(parts) for parts in zip(*distances, strict=True))
    thresholds = level_thresholds(found, known, HONEST, MIN_HELD_OUT).astype("float32")
    return dataclasses.replace(density, thresholds=thresholds)


def _remove_values(values: np.ndarray, seed: int) -> np.ndarray:
    """Return rows of which each keeps another share of its values; shape (n, d)."""
    random = np.random.default_rng(seed)
    kept = random.random(values.shape) < random.uniform(0.2, 1.0, (len(values), 1))
    return np.where(kept, values, np.nan)


def _candidates(feature_set: FeatureSet, policy: str) -> list[str]:
    """Return the numbers that a policy's models read and that one field gives; the name's say nothing of a population."""
    catalog = feature_set.catalog
    return [
        name
        for name in feature_set.selected[policy]
        if catalog[name].kind == "number"
        and not catalog[name].learned
        and len(catalog[name].fields) == 1
        and catalog[name].fields != ("full_name",)
    ]


def _choose_features(training: pd.DataFrame, importance: Mapping[str, float], catalog: Catalog) -> list[str]:
    """Return the most important features that most repositories have with different values, one for each field."""
    usable = [
        name
        for name in map(str, training)
        if training[name].notna().mean() >= MIN_KNOWN and training[name].nunique() >= MIN_VALUES
    ]
    ordered = sorted(usable, key=lambda name: -_importance_of(name, importance, catalog))
    by_field: dict[str, str] = {}
    for name in ordered:
        by_field.setdefault(catalog[name].fields[0], name)
    return list(by_field.values())[:MAX_USED]


def _importance_of(name: str, importance: Mapping[str, float], catalog: Catalog) -> float:
    return importance.get(catalog[name].fields[0], 0.0)
