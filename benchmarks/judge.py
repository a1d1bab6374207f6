"""Judge the default model on one table of repositories, for the benchmarks: out-of-fold scores and coverage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection
from stargaze.features.catalogue import CATALOGUE, allowed
from stargaze.features.learn import learn
from stargaze.features.looks import drop_by_looks
from stargaze.features.matrix import categories, matrix, vocabulary
from stargaze.features.split import TEST
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


@dataclass(frozen=True)
class Split:
    """One outer fold: rows that are fitted, that calibrate and that are predicted, and what the first, and both first, teach."""

    train: np.ndarray
    held: np.ndarray
    test: np.ndarray
    apart: pd.DataFrame
    both: pd.DataFrame


def splits(repositories: pd.DataFrame, by: str, seed: int = 0) -> list[Split]:
    """Cut the repositories into outer folds and learn inside each, of owners only where they stand on two sides."""
    target, group = np.log1p(repositories["stars"].to_numpy()), groups(repositories, by)
    inner = parts(group, N_FOLDS, seed + 2)

    def learned(rows: np.ndarray) -> pd.DataFrame:
        side = np.full(len(target), TEST)
        side[rows] = inner[rows]
        return learn(repositories, target, side, seed=seed, owners=by == "repository", nested=False).values

    return [
        Split(train, held, test, learned(train), learned(np.concatenate([train, held])))
        for train, held, test in _folds(group, seed)
    ]


def judge(repositories: pd.DataFrame, policy: str, outer: list[Split], seed: int = 0) -> dict[str, float]:
    """Cross-validate LightGBM at its defaults under a policy; inside each fold a fifth of the training part calibrates.

    Columns are chosen, categories are numbered, texts and owners are learned and intervals are calibrated inside the training
    part of each fold: no out-of-fold row has a say in anything that is used on it.
    """
    target = np.log1p(repositories["stars"].to_numpy())
    predicted, inside = np.zeros(len(target)), np.zeros(len(target), dtype=bool)
    for fold in outer:
        both = np.concatenate([fold.train, fold.held])
        predicted[fold.test] = _fitted(repositories, target, policy, both, fold.both, seed)[fold.test]
        apart = _fitted(repositories, target, policy, fold.train, fold.apart, seed)
        low, high = calibrate(apart[fold.held], target[fold.held], COVERAGE).around(apart[fold.test])
        stars = repositories["stars"].to_numpy()[fold.test]
        inside[fold.test] = (low <= stars) & (stars <= high)
    return {**scores(repositories["stars"], np.expm1(predicted)), "coverage": float(inside.mean())}


def _fitted(
    repositories: pd.DataFrame, target: np.ndarray, policy: str, rows: np.ndarray, learned: pd.DataFrame, seed: int
) -> np.ndarray:
    """Predict all rows by a model that was fitted on some."""
    inputs, places = columns(repositories, target, policy, rows, learned)
    model = FAMILIES["lightgbm"].build({**FAMILIES["lightgbm"].defaults, **ROUNDS}, places, seed)
    return np.maximum(model.fit(inputs[rows], target[rows]).predict(inputs), 0.0)


def dummy(repositories: pd.DataFrame) -> dict[str, float]:
    """Score the median: what any model must beat."""
    stars = repositories["stars"].to_numpy()
    return {**scores(stars, np.full(len(stars), np.median(stars))), "coverage": float("nan")}


def columns(
    repositories: pd.DataFrame, target: np.ndarray, policy: str, train: np.ndarray, learned: pd.DataFrame | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the inputs of all rows and the places of the categories; chosen by looking at the training rows alone."""
    training = repositories.iloc[train]
    names = [
        item.name for item in allowed(policy) if not item.learned or (learned is not None and item.name in learned)
    ]
    vocabularies = {name: vocabulary(training[name]) for name in names if CATALOGUE[name].kind == "category"}
    inputs = matrix(repositories, names, vocabularies, learned)
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
