"""Judge the default model on one table of repositories, for the benchmarks: out-of-fold scores and coverage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.catalogue import CATALOGUE, allowed
from stargaze.features.looks import drop_by_looks
from stargaze.features.matrix import categories, matrix, vocabulary
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.intervals import calibrate
from stargaze.tuning.metrics import scores

N_FOLDS = 5
COVERAGE = 0.9
ROUNDS = {"n_estimators": 500, "learning_rate": 0.03}


def groups(repositories: pd.DataFrame, by: str) -> np.ndarray:
    """Return a number a repository: the same for those that must stay on one side."""
    lower = repositories["full_name"].str.lower()
    codes, _ = pd.factorize(lower.str.partition("/")[0] if by == "owner" else lower)
    return codes


def parts(group: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """Deal whole groups into parts at random; shape (n,)."""
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    return order[group] % n_parts


def judge(repositories: pd.DataFrame, policy: str, by: str, seed: int = 0) -> dict[str, float]:
    """Cross-validate LightGBM at its defaults under a policy; inside each fold a fifth of the training part calibrates.

    Columns are chosen, categories are numbered and intervals are calibrated inside the training part of each fold:
    no out-of-fold row has a say in anything that is used on it.
    """
    target = np.log1p(repositories["stars"].to_numpy())
    group = groups(repositories, by)
    predicted, inside = np.zeros(len(target)), np.zeros(len(target), dtype=bool)
    for train, held, test in _folds(group, seed):
        inputs, places = columns(repositories, target, policy, train)
        model = FAMILIES["lightgbm"].build({**FAMILIES["lightgbm"].defaults, **ROUNDS}, places, seed)
        both = np.concatenate([train, held])
        predicted[test] = np.maximum(model.fit(inputs[both], target[both]).predict(inputs[test]), 0.0)
        apart = np.maximum(model.fit(inputs[train], target[train]).predict(inputs), 0.0)
        low, high = calibrate(apart[held], target[held], COVERAGE).around(apart[test])
        stars = repositories["stars"].to_numpy()[test]
        inside[test] = (low <= stars) & (stars <= high)
    return {**scores(repositories["stars"], np.expm1(predicted)), "coverage": float(inside.mean())}


def dummy(repositories: pd.DataFrame) -> dict[str, float]:
    """Score the median: what any model must beat."""
    stars = repositories["stars"].to_numpy()
    return {**scores(stars, np.full(len(stars), np.median(stars))), "coverage": float("nan")}


def columns(
    repositories: pd.DataFrame, target: np.ndarray, policy: str, train: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the inputs of all rows and the places of the categories; chosen by looking at the training rows alone."""
    training = repositories.iloc[train]
    names = [item.name for item in allowed(policy)]
    vocabularies = {name: vocabulary(training[name]) for name in names if CATALOGUE[name].kind == "category"}
    inputs = matrix(repositories, names, vocabularies)
    dropped = drop_by_looks(inputs.iloc[train], target[train], FeaturesSection())
    kept = [name for name in names if name not in dropped]
    return inputs[kept].to_numpy(), tuple(categories(kept))


def _folds(group: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    fold, fifth = parts(group, N_FOLDS, seed), parts(group, 5, seed + 1)
    for place in range(N_FOLDS):
        yield (
            np.flatnonzero((fold != place) & (fifth != 0)),
            np.flatnonzero((fold != place) & (fifth == 0)),
            np.flatnonzero(fold == place),
        )
