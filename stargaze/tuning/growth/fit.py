"""Fit the model of one horizon: boosting on the difference from the drift, with rounds and intervals from forward chaining."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import HorizonModel, compress_growth, drift
from stargaze.bundle.serialization import deserialize_model
from stargaze.errors import BadDataError
from stargaze.features.history.features import LANGUAGE
from stargaze.tuning.growth.examples import MAX_COUNT_GAP, Examples

BLOCK, BLOCKS = 91, 3
"""Length of a validation block [day], and the number of consecutive blocks before the training ends."""
MIN_EXAMPLES = 200
"""Minimum number of examples to fit a model or to score a block."""
ROUNDS = (25, 50, 75, 100, 150, 200)
"""Numbers of boosting rounds from which forward chaining chooses."""
DIFFICULTY_ROUNDS = 60
MILESTONE_COVERAGE = 0.8
"""Nominal coverage of the dates of a milestone [share]: a wider range is often without end."""
MIN_ERROR = 0.02
"""The number that is added to an error before its logarithm is taken, because an error may be 0."""
FIXED: dict[str, Any] = {
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "bagging_freq": 1,
    "bagging_fraction": 0.7,
    "feature_fraction": 0.7,
    "lambda_l2": 5.0,
}
GROWTH = {"objective": "regression_l1", "learning_rate": 0.08, "num_leaves": 31}
"""The L1 objective predicts the median, which bursts of stars do not change. On the last validation block, the L2 objective
increased the median error by .005 to .01 and growth that is not compressed by .02 to .03; 15 to 63 leaves differ by .003."""
DIFFICULTY = {"objective": "regression", "learning_rate": 0.08, "num_leaves": 15}


@dataclass(frozen=True)
class FittedHorizon:
    """A fitted horizon: its model, the serialized boosters of growth and difficulty, boosting rounds and number of blocks."""

    model: HorizonModel
    growth_booster: bytes
    difficulty_booster: bytes
    rounds: int
    blocks: int


def fit_horizon(train: Examples, train_until: float, coverage: float, seed: int) -> FittedHorizon:
    """Choose the number of rounds, fit and calibrate one horizon.

    Raise BadDataError if there are too few examples to fit a model or to score a block.

    Parameters
    ----------
    train : Examples
        All examples that were known on the day ``train_until``.
    train_until : float
        The first day that is not used [days since 1970].
    coverage : float
        Nominal coverage of the prediction intervals [share], which are conformal and scaled by the predicted error.
    seed : int

    References
    ----------
    Papadopoulos, Gammerman, Vovk, Normalized nonconformity measures for regression conformal prediction, 2008.
    """
    blocks = list(_forward_chaining_blocks(train, train_until))
    if not blocks:
        raise BadDataError(
            f"only {len(train):,} examples of {train.days} days end before growth.train_until, too few to fit and validate",
            hint="a longer history, a later growth.train_until, or smaller growth.horizons or growth.history_weeks",
        )
    errors = []  # of each block, shape (n_rounds, n)
    for before, block in blocks:
        booster = _boost(before.features, _excess(before), GROWTH, ROUNDS[-1], seed)
        by_rounds = [
            booster.predict(block.features.to_numpy(), num_iteration=rounds, num_threads=1) for rounds in ROUNDS
        ]
        errors.append(_excess(block)[None, :] - np.asarray(by_rounds))
    best = int(np.argmin(np.mean([np.abs(values).mean(axis=1) for values in errors], axis=0)))
    features = pd.concat([block.features for _, block in blocks], ignore_index=True)
    # Not the numbers of the series: repositories that first appear later would shift them.
    repositories = pd.factorize(np.concatenate([block.origins.names for _, block in blocks]))[0]
    error = np.concatenate([values[best] for values in errors])
    scaled = _scale_errors(features, error, repositories, seed)
    growth = _serialize(_boost(train.features, _excess(train), GROWTH, ROUNDS[best], seed))
    difficulty = _serialize(_fit_difficulty(features, error, seed))
    model = HorizonModel(
        train.days,
        deserialize_model("lightgbm", growth),
        deserialize_model("lightgbm", difficulty),
        _quantiles(scaled, coverage),
        _quantiles(scaled, MILESTONE_COVERAGE),
    )
    return FittedHorizon(model, growth, difficulty, ROUNDS[best], len(blocks))


def _forward_chaining_blocks(train: Examples, train_until: float) -> Iterator[tuple[Examples, Examples]]:
    """Yield each validation block after the examples that were known when it began."""
    last = train_until - train.days - MAX_COUNT_GAP
    for number in range(BLOCKS, 0, -1):
        begin = last - BLOCK * number
        before, block = train.before(begin), train.since(begin)
        block = block.subset(block.origins.day < begin + BLOCK)
        if min(len(before), len(block)) >= MIN_EXAMPLES:
            yield before, block


def _excess(examples: Examples) -> np.ndarray:
    """Return the difference of growth and drift on the compressed scale."""
    return np.asarray(compress_growth(examples.growth) - compress_growth(drift(examples.origins, examples.days)))


def _fit_difficulty(features: pd.DataFrame, error: np.ndarray, seed: int) -> lightgbm.Booster:
    """Fit the model of the logarithm of the absolute error."""
    return _boost(features, np.log(np.abs(error) + MIN_ERROR), DIFFICULTY, DIFFICULTY_ROUNDS, seed)


def _scale_errors(features: pd.DataFrame, error: np.ndarray, repositories: np.ndarray, seed: int) -> np.ndarray:
    """Return the errors in units of the expected error, which is predicted without the same repository; shape (n,)."""
    scaled = np.empty(len(error))
    for half in (0, 1):
        inside = repositories % 2 == half
        if inside.all() or not inside.any():  # a single repository
            return np.asarray(error / _expected_error(_fit_difficulty(features, error, seed), features))
        booster = _fit_difficulty(features[~inside], error[~inside], seed)
        scaled[inside] = error[inside] / _expected_error(booster, features[inside])
    return scaled


def _expected_error(difficulty: lightgbm.Booster, features: pd.DataFrame) -> np.ndarray:
    return np.asarray(np.exp(np.asarray(difficulty.predict(features.to_numpy(), num_threads=1))))


def _quantiles(scaled: np.ndarray, coverage: float) -> tuple[float, float]:
    """Return the offsets between which a share of the scaled errors lies, and beyond each the same number."""
    ascending = np.sort(scaled)
    index = min(math.ceil((len(ascending) + 1) * (1 + coverage) / 2) - 1, len(ascending) - 1)
    return float(ascending[len(ascending) - 1 - index]), float(ascending[index])


def _boost(
    features: pd.DataFrame, target: np.ndarray, parameters: dict[str, Any], rounds: int, seed: int
) -> lightgbm.Booster:
    leaf = int(np.clip(len(target) // 200, 5, 100))
    names = list(features.columns)
    data = lightgbm.Dataset(
        features.to_numpy(), target, feature_name=names, categorical_feature=[names.index(LANGUAGE)]
    )
    return lightgbm.train({**FIXED, **parameters, "seed": seed, "min_data_in_leaf": leaf}, data, rounds)


def _serialize(booster: lightgbm.Booster) -> bytes:
    return str(booster.model_to_string()).encode()
