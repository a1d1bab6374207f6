"""What a column is worth to a model that has not seen the fold it is judged on, measured against random probes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import lightgbm
import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.matrix import categories

T = TypeVar("T")
N_PROBES = 3
ROUNDS = 120
PARAMETERS: dict[str, Any] = {
    "objective": "l2",
    "learning_rate": 0.08,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}


def importances(
    inputs: pd.DataFrame, target: np.ndarray, folds: np.ndarray, section: FeaturesSection
) -> tuple[dict[str, float], float]:
    """Measure how much the squared error grows when a column is shuffled, on folds the model has not seen.

    Parameters
    ----------
    inputs : DataFrame, shape (n_training, n_features)
    target : array, shape (n_training,)
        log1p of the stars [nat].
    folds : array of int, shape (n_training,)
    section : FeaturesSection
        ``repeats`` shufflings per column and fold; ``seed``.

    Returns
    -------
    gain : dict
        Mean growth of the squared error [nat²] for each column.
    probe : float
        The largest growth among random columns, at least 0: what a column must beat.

    References
    ----------
    Breiman, Random Forests, 2001 (permutation importance); Kursa and Rudnicki, Boruta, 2010 (random probes).
    """
    random = np.random.default_rng(section.seed)
    probes = {f"__probe_{place}": random.normal(size=len(inputs)).astype("float32") for place in range(N_PROBES)}
    widened = inputs.assign(**probes)

    def one_fold(fold: int) -> np.ndarray:
        model = _fit(widened[folds != fold], target[folds != fold], list(inputs.columns), section.seed)
        shuffler = np.random.default_rng([section.seed, int(fold)])
        return _growth(model, widened[folds == fold].to_numpy(), target[folds == fold], section.repeats, shuffler)

    growth = np.mean(_each_fold(one_fold, folds), axis=0)
    mean = dict(zip(map(str, widened.columns), growth.tolist(), strict=True))
    return {str(name): mean[str(name)] for name in inputs}, max(0.0, *(mean[name] for name in probes))


def fold_errors(inputs: pd.DataFrame, target: np.ndarray, folds: np.ndarray, section: FeaturesSection) -> np.ndarray:
    """Cross-validate a list of columns; return the RMSLE [nat] of each fold, shape (n_folds,)."""

    def one_fold(fold: int) -> float:
        model = _fit(inputs[folds != fold], target[folds != fold], list(inputs.columns), section.seed)
        residual = _predict(model, inputs[folds == fold].to_numpy()) - target[folds == fold]
        return float(np.sqrt(np.mean(residual**2)))

    return np.array(_each_fold(one_fold, folds))


def _each_fold(work: Callable[[int], T], folds: np.ndarray) -> list[T]:
    """Do the folds side by side, one thread each: LightGBM's own threads cost more than they bring on so few rows."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, np.unique(folds).tolist()))


def _fit(inputs: pd.DataFrame, target: np.ndarray, names: list[str], seed: int) -> lightgbm.Booster:
    data = lightgbm.Dataset(inputs, target, categorical_feature=[names[place] for place in categories(names)])
    return lightgbm.train({**PARAMETERS, "seed": seed}, data, ROUNDS)


def _growth(
    model: lightgbm.Booster, values: np.ndarray, target: np.ndarray, repeats: int, random: np.random.Generator
) -> np.ndarray:
    base = np.mean((_predict(model, values) - target) ** 2)
    growth = np.zeros(values.shape[1])
    for column in np.flatnonzero(model.feature_importance()):  # shuffling what no tree looks at changes nothing
        shuffled = np.tile(values, (repeats, 1))
        for repeat in range(repeats):
            part = slice(repeat * len(values), (repeat + 1) * len(values))
            shuffled[part, column] = random.permutation(values[:, column])
        residual = _predict(model, shuffled) - np.tile(target, repeats)
        growth[column] = np.mean(residual**2) - base
    return growth


def _predict(model: lightgbm.Booster, values: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(values, num_threads=1))
