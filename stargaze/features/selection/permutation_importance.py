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

from stargaze.config import FeaturesSection
from stargaze.features.catalog import CATALOG
from stargaze.system.parallel import map_in_threads

PROBES = ("number", "number", "number", "category", "category")
"""Kinds of the random columns of a run: a feature of noise beats them all in one run of six."""
N_CODES = 40
"""Values of a random category, as many as in the largest vocabulary."""
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


@dataclass(frozen=True)
class TrainingRows:
    """The training rows: inputs (n, n_features), log1p(stars) [nat] (n,) and folds (n,).

    ``encode_without`` returns the learned columns of all rows, computed without a fold.
    """

    inputs: pd.DataFrame
    target: np.ndarray
    folds: np.ndarray
    encode_without: Callable[[int], pd.DataFrame] | None = None

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

    Features of the same group are shuffled together and have the same importance.

    Parameters
    ----------
    training : TrainingRows
    columns : sequence of str
        Features to compare.
    section : FeaturesSection
        ``repeats``: seeds per fold, each with its own model, probes and shuffling; ``seed``.

    Returns
    -------
    Importances

    References
    ----------
    Breiman, Random Forests, 2001 (permutation importance); Kursa and Rudnicki, Boruta, 2010 (random probes).
    """
    names = list(columns)

    def measure(run: tuple[int, int]) -> np.ndarray:
        model, inputs, target, random = _fit_run(training, names, section, *run)
        squared = _squared_error(model, inputs.to_numpy(), target)
        return np.append(_error_increases(model, inputs, target, squared, random), np.sqrt(squared))

    runs = _list_runs(training, section)
    measured = np.array(map_in_threads(measure, runs, _n_cores()))
    increases, errors = measured[:, :-1], measured[:, -1]
    best_probe = np.maximum(increases[:, len(names) :].max(axis=1), 0.0)
    features = increases[:, : len(names)]
    return Importances(
        dict(zip(names, features.mean(axis=0).tolist(), strict=True)),
        dict(zip(names, (features > best_probe[:, None]).mean(axis=0).tolist(), strict=True)),
        len(runs),
        errors.reshape(-1, section.importance_repeats).mean(axis=1),
    )


def fold_errors(training: TrainingRows, columns: Sequence[str], section: FeaturesSection) -> np.ndarray:
    """Cross-validate a list of features.

    The models are those of :func:`permutation_importances`, with random probes, so that errors of two lists are paired.

    Parameters
    ----------
    training : TrainingRows
    columns : sequence of str
    section : FeaturesSection

    Returns
    -------
    array, shape (n_folds,)
        RMSLE [nat] of each fold, averaged over the seeds.
    """
    names = list(columns)

    def measure(run: tuple[int, int]) -> float:
        model, inputs, target, _ = _fit_run(training, names, section, *run)
        return float(np.sqrt(_squared_error(model, inputs.to_numpy(), target)))

    errors = np.array(map_in_threads(measure, _list_runs(training, section), _n_cores()))
    return np.asarray(errors.reshape(-1, section.importance_repeats).mean(axis=1))


def _list_runs(training: TrainingRows, section: FeaturesSection) -> list[tuple[int, int]]:
    return list(product(np.unique(training.folds).tolist(), range(section.importance_repeats)))


def _fit_run(
    training: TrainingRows, names: list[str], section: FeaturesSection, fold: int, seed: int
) -> tuple[lightgbm.Booster, pd.DataFrame, np.ndarray, np.random.Generator]:
    """Fit with probes on all folds but one; return the model, that fold's inputs and target, and the random generator."""
    random = np.random.default_rng([section.seed, fold, seed])
    inputs = training.inputs_without(fold, names).assign(**_draw_probes(len(training.target), random))
    held_out = training.folds == fold
    model = _fit(inputs[~held_out], training.target[~held_out], section.seed + seed)
    return model, inputs[held_out], training.target[held_out], random


def _n_cores() -> int:
    """Return how many fits run at once: on so few rows, LightGBM's own threads cost more than they gain."""
    return len(os.sched_getaffinity(0))


def _draw_probes(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    columns = {}
    for i, kind in enumerate(PROBES):
        values = random.normal(size=rows) if kind == "number" else random.integers(0, N_CODES, rows)
        columns[f"__{kind}_{i}"] = values.astype("float32")
    return columns


def _fit(inputs: pd.DataFrame, target: np.ndarray, seed: int) -> lightgbm.Booster:
    categories = [
        name
        for name in map(str, inputs)
        if name.startswith("__category") or (name in CATALOG and CATALOG[name].kind == "category")
    ]
    data = lightgbm.Dataset(inputs, target, categorical_feature=categories)
    return lightgbm.train({**PARAMETERS, "seed": seed}, data, ROUNDS)


def _error_increases(
    model: lightgbm.Booster, inputs: pd.DataFrame, target: np.ndarray, squared: float, random: np.random.Generator
) -> np.ndarray:
    values = inputs.to_numpy()
    increases = np.zeros(values.shape[1])
    used = model.feature_importance() > 0
    shuffled = values.copy()
    for group in _group_columns(inputs):
        if used[group].any():  # shuffling a column that no tree uses changes nothing
            shuffled[:, group] = values[random.permutation(len(values))][:, group]
            increases[group] = _squared_error(model, shuffled, target) - squared
            shuffled[:, group] = values[:, group]
    return increases


def _group_columns(inputs: pd.DataFrame) -> list[list[int]]:
    """Return the positions of the columns that are shuffled together."""
    positions: dict[str, list[int]] = {}
    for i, name in enumerate(map(str, inputs)):
        group = CATALOG[name].group if name in CATALOG else ""
        positions.setdefault(group or name, []).append(i)
    return list(positions.values())


def _squared_error(model: lightgbm.Booster, values: np.ndarray, target: np.ndarray) -> float:
    return float(np.mean((np.asarray(model.predict(values, num_threads=1)) - target) ** 2))
