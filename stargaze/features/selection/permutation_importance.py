"""What a column is worth to models that have not seen the fold they are judged on, measured against random probes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar

import lightgbm
import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.catalog import CATALOG

S = TypeVar("S")
T = TypeVar("T")
PROBES = ("number", "number", "number", "category", "category")
"""Kinds of the random columns of a run: one of noise beats them all once in six runs."""
N_CODES = 40
"""Values of a random category, as many as the largest vocabulary has."""
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
    """Training rows: inputs (n, n_features), log1p(stars) [nat] (n,) and folds (n,).

    ``unseen`` gives the learned columns of all rows as the rows outside a fold teach them.
    """

    inputs: pd.DataFrame
    target: np.ndarray
    folds: np.ndarray
    unseen: Callable[[int], pd.DataFrame] | None = None

    def without(self, fold: int, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns of all rows as they are known to whoever has not seen a fold."""
        inputs = self.inputs[list(columns)]
        if self.unseen is None:
            return inputs
        told = self.unseen(fold)
        return inputs.assign(**{name: told[name].to_numpy() for name in columns if name in told})


@dataclass(frozen=True)
class Importances:
    """Of each column: the mean growth of the squared error when it is shuffled [nat²], and the share of runs that it wins.

    ``errors`` are those of the models with all of them, as :func:`fold_errors` has them.
    """

    gain: dict[str, float]
    wins: dict[str, float]
    runs: int
    errors: np.ndarray


def permutation_importances(evidence: TrainingRows, columns: Sequence[str], section: FeaturesSection) -> Importances:
    """Measure how much the squared error grows when a column is shuffled, in every fold and with several seeds.

    Columns of one group are shuffled together, and each is worth what the group is.

    Parameters
    ----------
    evidence : TrainingRows
    columns : sequence of str
        The columns to be compared.
    section : FeaturesSection
        ``repeats`` seeds a fold, each a model, random probes and a shuffling of its own; ``seed``.

    Returns
    -------
    Importances

    References
    ----------
    Breiman, Random Forests, 2001 (permutation importance); Kursa and Rudnicki, Boruta, 2010 (random probes); Meinshausen and
    Bühlmann, Stability selection, 2010 (how often over resampled fits).
    """
    names = list(columns)

    def one_run(run: tuple[int, int]) -> np.ndarray:
        model, inputs, target, random = _run(evidence, names, section, *run)
        squared = float(np.mean((_predict(model, inputs.to_numpy()) - target) ** 2))
        return np.append(_growth(model, inputs, target, squared, random), np.sqrt(squared))

    runs = _runs(evidence, section)
    *columns_growth, errors = np.array(_side_by_side(one_run, runs)).T
    growth = np.array(columns_growth).T
    best = np.maximum(growth[:, len(names) :].max(axis=1), 0.0)
    gain, wins = growth[:, : len(names)].mean(axis=0), (growth[:, : len(names)] > best[:, None]).mean(axis=0)
    return Importances(
        dict(zip(names, gain.tolist(), strict=True)),
        dict(zip(names, wins.tolist(), strict=True)),
        len(runs),
        errors.reshape(-1, section.importance_repeats).mean(axis=1),
    )


def fold_errors(evidence: TrainingRows, columns: Sequence[str], section: FeaturesSection) -> np.ndarray:
    """Cross-validate a list of columns; return the RMSLE [nat] of each fold, the mean over the seeds, shape (n_folds,).

    The models are as those of :func:`permutation_importances`, random probes and all: errors of two lists are paired run by run.
    """
    names = list(columns)

    def one_run(run: tuple[int, int]) -> float:
        model, inputs, target, _ = _run(evidence, names, section, *run)
        return float(np.sqrt(np.mean((_predict(model, inputs.to_numpy()) - target) ** 2)))

    errors = np.array(_side_by_side(one_run, _runs(evidence, section)))
    means: np.ndarray = errors.reshape(-1, section.importance_repeats).mean(axis=1)
    return means


def _runs(evidence: TrainingRows, section: FeaturesSection) -> list[tuple[int, int]]:
    return list(product(np.unique(evidence.folds).tolist(), range(section.importance_repeats)))


def _run(
    evidence: TrainingRows, names: list[str], section: FeaturesSection, fold: int, seed: int
) -> tuple[lightgbm.Booster, pd.DataFrame, np.ndarray, np.random.Generator]:
    """Fit on all folds but one, with probes; return the model, that fold's inputs and target, and what shuffles them."""
    random = np.random.default_rng([section.seed, fold, seed])
    widened = evidence.without(fold, names).assign(**_probes(len(evidence.target), random))
    out = evidence.folds == fold
    model = _fit(widened[~out], evidence.target[~out], section.seed + seed)
    return model, widened[out], evidence.target[out], random


def _side_by_side(work: Callable[[S], T], items: Iterable[S]) -> list[T]:
    """Work on a core each, one thread a fit: LightGBM's own threads cost more than they bring on so few rows."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(work, items))


def _probes(rows: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    columns = {}
    for place, kind in enumerate(PROBES):
        values = random.normal(size=rows) if kind == "number" else random.integers(0, N_CODES, rows)
        columns[f"__{kind}_{place}"] = values.astype("float32")
    return columns


def _fit(inputs: pd.DataFrame, target: np.ndarray, seed: int) -> lightgbm.Booster:
    chosen = [name for name in map(str, inputs) if name.startswith("__category") or _is_category(name)]
    return lightgbm.train(
        {**PARAMETERS, "seed": seed}, lightgbm.Dataset(inputs, target, categorical_feature=chosen), ROUNDS
    )


def _is_category(name: str) -> bool:
    return name in CATALOG and CATALOG[name].kind == "category"


def _growth(
    model: lightgbm.Booster, inputs: pd.DataFrame, target: np.ndarray, base: float, random: np.random.Generator
) -> np.ndarray:
    values = inputs.to_numpy()
    growth = np.zeros(values.shape[1])
    used = model.feature_importance() > 0
    shuffled = values.copy()
    for group in _groups(inputs):
        if used[group].any():  # shuffling what no tree looks at changes nothing
            shuffled[:, group] = values[random.permutation(len(values))][:, group]
            growth[group] = np.mean((_predict(model, shuffled) - target) ** 2) - base
            shuffled[:, group] = values[:, group]
    return growth


def _groups(inputs: pd.DataFrame) -> list[list[int]]:
    """Return the places of the columns that are shuffled together."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(map(str, inputs)):
        group = CATALOG[name].group if name in CATALOG else ""
        places.setdefault(group or name, []).append(place)
    return list(places.values())


def _predict(model: lightgbm.Booster, values: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(values, num_threads=1))
