"""Fit one horizon of growth: boosting on what exceeds the drift, its length and its intervals from forward chaining."""

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
"""Length of a validation block [day], and how many follow each other up to the cut."""
MIN_EXAMPLES = 200
"""Examples below which nothing is fitted, and no block is judged."""
ROUNDS = (25, 50, 75, 100, 150, 200)
"""Lengths of boosting that forward chaining chooses from."""
DIFFICULTY_ROUNDS = 60
MIN_ERROR = 0.02
"""Added to an error before its log is taken, so that a lucky hit is not infinitely easy."""
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
"""The median of the factor, not its mean: a burst of stars is not the rule. On the last block before the cut,
squared errors cost .005 to .01 of the median error, and growth that is not squeezed .02 to .03;
leaves from 15 to 63 differ by .003."""
DIFFICULTY = {"objective": "regression", "learning_rate": 0.08, "num_leaves": 15}


@dataclass(frozen=True)
class FittedHorizon:
    """An outlook, the bytes of its two models, and how its length was chosen."""

    outlook: HorizonModel
    model: bytes
    difficulty: bytes
    rounds: int
    blocks: int


def fit_horizon(train: Examples, cut: float, coverage: float, seed: int) -> FittedHorizon:
    """Choose the length, fit, and calibrate one horizon on examples that were over before the cut.

    Parameters
    ----------
    train : Examples
        All that was known before the cut.
    cut : float
        The day [days since 1970] from which on nothing may be looked at.
    coverage : float
        How often the interval shall hold the true growth [share].
    seed : int
        Fixes the boosting.

    Returns
    -------
    FittedHorizon
        The interval is conformal, scaled by how far off the model is expected to be.

    Raises
    ------
    BadDataError
        If there are too few examples for a model, or for a block to judge it on.

    References
    ----------
    Papadopoulos, Gammerman, Vovk, Normalized nonconformity measures for regression conformal prediction, 2008.
    """
    blocks = list(_forward_chaining_blocks(train, cut))
    if not blocks:
        raise BadDataError(
            f"only {len(train):,} examples of {train.days} days are over before the cut, too few to train and to judge on",
            hint="a longer history, a later growth.train_until, or smaller growth.horizons or growth.history_weeks",
        )
    errors = []
    for before, block in blocks:
        booster = _boost(before.features, _excess(before), GROWTH, ROUNDS[-1], seed)
        staged = [booster.predict(block.features.to_numpy(), num_iteration=rounds, num_threads=1) for rounds in ROUNDS]
        errors.append(_excess(block)[None, :] - np.asarray(staged))
    chosen = int(np.argmin([np.mean([np.abs(one[place]).mean() for one in errors]) for place in range(len(ROUNDS))]))
    held = pd.concat([block.features for _, block in blocks], ignore_index=True)
    # Not the numbers of the series: repositories that first appear after the cut would shift them.
    repositories = pd.factorize(np.concatenate([block.origins.names for _, block in blocks]))[0]
    off = np.concatenate([one[chosen] for one in errors])
    offsets = _calibrate_offsets(held, off, repositories, coverage, seed)
    model = _serialize(_boost(train.features, _excess(train), GROWTH, ROUNDS[chosen], seed))
    difficulty = _serialize(_fit_difficulty(held, off, seed))
    outlook = HorizonModel(
        train.days, deserialize_model("lightgbm", model), deserialize_model("lightgbm", difficulty), offsets
    )
    return FittedHorizon(outlook, model, difficulty, ROUNDS[chosen], len(blocks))


def _forward_chaining_blocks(train: Examples, cut: float) -> Iterator[tuple[Examples, Examples]]:
    """Yield what was over before each block, and the block: always a model that has seen nothing of what it is judged on."""
    last = cut - train.days - MAX_COUNT_GAP
    for number in range(BLOCKS, 0, -1):
        begin = last - BLOCK * number
        before, block = train.before(begin), train.since(begin)
        block = block.part(block.origins.day < begin + BLOCK)
        if len(before) >= MIN_EXAMPLES and len(block) >= MIN_EXAMPLES:
            yield before, block


def _excess(examples: Examples) -> np.ndarray:
    """Return what the growth exceeds the drift by, as a factor [nat]."""
    return np.asarray(compress_growth(examples.growth) - compress_growth(drift(examples.origins, examples.days)))


def _fit_difficulty(features: pd.DataFrame, off: np.ndarray, seed: int) -> lightgbm.Booster:
    """Learn how far off a forecast will be [nat, as a log]."""
    return _boost(features, np.log(np.abs(off) + MIN_ERROR), DIFFICULTY, DIFFICULTY_ROUNDS, seed)


def _calibrate_offsets(
    features: pd.DataFrame, off: np.ndarray, repositories: np.ndarray, coverage: float, seed: int
) -> tuple[float, float]:
    """Find the offsets in units of the expected error; a difficulty is taken from a model that has not seen the repository."""
    scaled = np.empty(len(off))
    for side in (0, 1):
        here = repositories % 2 == side
        if here.all() or not here.any():  # a single side: the difficulty is taken as it is
            return _quantiles(off / _expected_error(_fit_difficulty(features, off, seed), features), coverage)
        booster = _fit_difficulty(features[~here], off[~here], seed)
        scaled[here] = off[here] / _expected_error(booster, features[here])
    return _quantiles(scaled, coverage)


def _expected_error(difficulty: lightgbm.Booster, features: pd.DataFrame) -> np.ndarray:
    logs = np.asarray(difficulty.predict(features.to_numpy(), num_threads=1))
    return np.asarray(np.exp(logs))


def _quantiles(scaled: np.ndarray, coverage: float) -> tuple[float, float]:
    ascending = np.sort(scaled)
    place = min(math.ceil((len(ascending) + 1) * (1 + coverage) / 2) - 1, len(ascending) - 1)
    return float(ascending[len(ascending) - 1 - place]), float(ascending[place])


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
