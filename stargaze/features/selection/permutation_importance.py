"""Permutation importance of each feature on held-out folds, compared with random probes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from stargaze.capacity import parameters_for
from stargaze.config import FeaturesSection
from stargaze.features.matrix import CATALOG, Catalog
from stargaze.system.parallel import map_in_threads

PROBES = ("number", "number", "number", "category", "category")
"""Kinds of the random columns of a run: a feature of noise beats them all in one run of six."""
N_CODES = 40
"""Values of a random category, as many as in the largest vocabulary."""
Groups = list[list[int]]
"""The positions of columns that are shuffled together."""
Measure = Callable[[lightgbm.Booster, np.ndarray, np.ndarray, np.random.Generator, Groups], Any]
ROUNDS = 120
PARAMETERS: dict[str, Any] = {
    "objective": "l2",
    "learning_rate": 0.08,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "max_bin": 127,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
OF_FEW_ROWS = {"learning_rate": 0.03, "num_leaves": 5}
"""The parameters that depend on the number of rows, for few rows."""


@dataclass(frozen=True)
class TrainingRows:
    """The training rows: inputs (n, n_features), log1p(stars) [nat] (n,) and folds (n,).

    ``encode_without`` returns the learned columns of all rows, computed without a fold.
    """

    inputs: pd.DataFrame
    target: np.ndarray
    folds: np.ndarray
    encode_without: Callable[[int], pd.DataFrame] | None = None
    catalog: Catalog = CATALOG

    def inputs_without(self, fold: int, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns of all rows for a model that must not see a fold."""
        inputs = self.inputs[list(columns)]
        if self.encode_without is None:
            return inputs
        encoded = self.encode_without(fold)
        return inputs.assign(**{name: encoded[name].to_numpy() for name in columns if name in encoded})


@dataclass(frozen=True)
class Importances:
    """By feature: the mean increase of the squared error when it is shuffled [nat²], and the share of runs above all probes.

    ``errors`` are those of the models with all features, as :func:`fold_errors` returns them.
    """

    increase: dict[str, float]
    win_rate: dict[str, float]
    n_runs: int
    errors: np.ndarray

    def beats_probes(self, name: str, win_rate: float) -> bool:
        """Return whether a feature is useful and beats the probes in more than this share of the runs."""
        return self.win_rate[name] > win_rate and self.increase[name] > 0.0


def permutation_importances(training: TrainingRows, columns: Sequence[str], section: FeaturesSection) -> Importances:
    """Measure how much the squared error increases when a feature is shuffled, in every fold with several seeds.

    Features of the same group are shuffled together and have the same importance. ``importance_repeats`` of the section is the
    number of seeds per fold, each with its own model, probes and shuffling.

    References
    ----------
    Breiman, Random Forests, 2001 (permutation importance); Kursa and Rudnicki, Boruta, 2010 (random probes).
    """
    measured = _map_runs(_measure_increases, training, columns, section)
    increases, errors = measured[:, :-1], measured[:, -1]
    best_probe = np.maximum(increases[:, len(columns) :].max(axis=1), 0.0)
    features = increases[:, : len(columns)]
    return Importances(
        dict(zip(columns, features.mean(axis=0).tolist(), strict=True)),
        dict(zip(columns, (features > best_probe[:, None]).mean(axis=0).tolist(), strict=True)),
        len(measured),
        errors.reshape(-1, section.importance_repeats).mean(axis=1),
    )


def fold_errors(training: TrainingRows, columns: Sequence[str], section: FeaturesSection) -> np.ndarray:
    """Cross-validate a list of features; return the RMSLE [nat] of each fold, averaged over the seeds; shape (n_folds,).

    The models are those of :func:`permutation_importances`, with random probes, so that errors of two lists are paired.
    """
    errors = _map_runs(_measure_error, training, columns, section)
    return np.asarray(errors.reshape(-1, section.importance_repeats).mean(axis=1))


def _map_runs(
    measure: Measure,
    training: TrainingRows,
    columns: Sequence[str],
    section: FeaturesSection,
) -> np.ndarray:
    """Fit with probes on all folds but one, measure on that fold, and stack the results of all folds and seeds."""

    def run(fold_and_seed: tuple[int, int]) -> Any:
        fold, seed = fold_and_seed
        random = np.random.default_rng([section.seed, fold, seed])
        inputs = training.inputs_without(fold, columns).assign(**_draw_probes(len(training.target), random))
        held_out = training.folds == fold
        model = _fit(inputs[~held_out], training.target[~held_out], section.seed + seed, training.catalog)
        groups = _group_columns(inputs, training.catalog)
        return measure(model, inputs[held_out].to_numpy(), training.target[held_out], random, groups)

    runs = list(product(np.unique(training.folds).tolist(), range(section.importance_repeats)))
    n_cores = len(os.sched_getaffinity(0))  # one fit each: LightGBM's own threads cost more than they gain on few rows
    return np.array(map_in_threads(run, runs, n_cores))


def _draw_probes(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    columns = {}
    for i, kind in enumerate(PROBES):
        values = random.normal(size=rows) if kind == "number" else random.integers(0, N_CODES, rows)
        columns[f"__{kind}_{i}"] = values.astype("float32")
    return columns


def _fit(inputs: pd.DataFrame, target: np.ndarray, seed: int, catalog: Catalog) -> lightgbm.Booster:
    categories = [
        position
        for position, name in enumerate(map(str, inputs))
        if name.startswith("__category") or (name in catalog and catalog[name].kind == "category")
    ]
    values = inputs.to_numpy()  # LightGBM refuses some characters in names
    data = lightgbm.Dataset(values, target, categorical_feature=categories)
    parameters = parameters_for(len(target), PARAMETERS, OF_FEW_ROWS)
    return lightgbm.train({**parameters, "seed": seed}, data, ROUNDS)


def _measure_error(
    model: lightgbm.Booster, values: np.ndarray, target: np.ndarray, _random: np.random.Generator, _groups: Groups
) -> float:
    return float(np.sqrt(_squared_error(model, values, target)))


def _measure_increases(
    model: lightgbm.Booster, values: np.ndarray, target: np.ndarray, random: np.random.Generator, groups: Groups
) -> np.ndarray:
    """Return the increase of the squared error for each column, and the error [nat]."""
    squared = _squared_error(model, values, target)
    increases = np.zeros(values.shape[1])
    used = model.feature_importance() > 0
    shuffled = values.copy()
    for group in groups:
        if used[group].any():  # shuffling a column that no tree uses changes nothing
            shuffled[:, group] = values[random.permutation(len(values))][:, group]
            increases[group] = _squared_error(model, shuffled, target) - squared
            shuffled[:, group] = values[:, group]
    return np.append(increases, np.sqrt(squared))


def _group_columns(inputs: pd.DataFrame, catalog: Catalog) -> Groups:
    """Return the positions of the columns that are shuffled together."""
    positions: dict[str, list[int]] = {}
    for i, name in enumerate(map(str, inputs)):
        group = catalog[name].group if name in catalog else ""
        positions.setdefault(group or name, []).append(i)
    return list(positions.values())


def _squared_error(model: lightgbm.Booster, values: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((np.asarray(model.predict(values, num_threads=1)) - target) ** 2))
