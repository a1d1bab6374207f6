"""What a column is worth to a model that has not seen the fold it is judged on, measured against random probes."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.matrix import categories

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
    growth = np.zeros((len(np.unique(folds)), widened.shape[1]))
    for row, fold in enumerate(np.unique(folds)):
        model = _fit(widened[folds != fold], target[folds != fold], list(inputs.columns), section.seed)
        growth[row] = _growth(model, widened[folds == fold].to_numpy(), target[folds == fold], section.repeats, random)
    mean = dict(zip(map(str, widened.columns), growth.mean(axis=0).tolist(), strict=True))
    return {str(name): mean[str(name)] for name in inputs}, max(0.0, *(mean[name] for name in probes))


def compare(
    inputs: pd.DataFrame,
    target: np.ndarray,
    folds: np.ndarray,
    longer: list[str],
    shorter: list[str],
    section: FeaturesSection,
) -> tuple[float, float, float]:
    """Cross-validate two lists of columns; return both RMSLE [nat] and the standard error of their paired difference."""
    errors = {
        name: np.array([_fold_error(inputs[columns], target, folds, fold, section) for fold in np.unique(folds)])
        for name, columns in (("longer", longer), ("shorter", shorter))
    }
    gap = errors["shorter"] - errors["longer"]
    standard_error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    return float(errors["longer"].mean()), float(errors["shorter"].mean()), standard_error


def _fold_error(
    inputs: pd.DataFrame, target: np.ndarray, folds: np.ndarray, fold: int, section: FeaturesSection
) -> float:
    model = _fit(inputs[folds != fold], target[folds != fold], list(inputs.columns), section.seed)
    residual = np.asarray(model.predict(inputs[folds == fold])) - target[folds == fold]
    return float(np.sqrt(np.mean(residual**2)))


def _fit(inputs: pd.DataFrame, target: np.ndarray, names: list[str], seed: int) -> lightgbm.Booster:
    data = lightgbm.Dataset(inputs, target, categorical_feature=[names[place] for place in categories(names)])
    return lightgbm.train({**PARAMETERS, "seed": seed}, data, ROUNDS)


def _growth(
    model: lightgbm.Booster, values: np.ndarray, target: np.ndarray, repeats: int, random: np.random.Generator
) -> np.ndarray:
    base = np.mean((np.asarray(model.predict(values)) - target) ** 2)
    growth = np.zeros(values.shape[1])
    for column in range(values.shape[1]):
        shuffled = np.tile(values, (repeats, 1))
        for repeat in range(repeats):
            part = slice(repeat * len(values), (repeat + 1) * len(values))
            shuffled[part, column] = random.permutation(values[:, column])
        residual = np.asarray(model.predict(shuffled)) - np.tile(target, repeats)
        growth[column] = np.mean(residual**2) - base
    return growth
