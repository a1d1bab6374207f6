"""One trial: cross-validate a configuration fold by fold until all folds are done or its race is lost. No Ray."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family
from stargaze.tuning.lightgbm_estimator import MAX_ROUNDS, BinnedFold, bin_dataset
from stargaze.tuning.retransformation import star_rmse
from stargaze.tuning.search.racing import DONE, Race

EXTRA_ROUNDS = 0.4
"""Extra boosting rounds of a fold over the best of the previous folds [fraction]: later rounds hardly help."""


@dataclass
class TrialData:
    """The data of all trials of a process, with LightGBM's bins cached until the process ends."""

    arrays: Arrays
    _whole: lightgbm.Dataset | None = field(default=None, repr=False)
    _folds: dict[int, BinnedFold] = field(default_factory=dict, repr=False)

    def fold(self, number: int) -> BinnedFold:
        """Return a binned fold; with out-of-fold columns each fold has its own table."""
        if number not in self._folds:
            arrays = self.arrays
            whole = self._whole or bin_dataset(arrays.without(number), arrays.target, arrays.categories)
            self._whole = None if arrays.learned_columns else whole
            self._folds[number] = BinnedFold.split(whole, arrays.folds == number)
        return self._folds[number]


def run_trial(config: Mapping[str, Any], data: TrialData) -> dict[str, Any]:
    """Evaluate a configuration fold by fold; stop as soon as its race is lost.

    ``config`` has ``family``, ``parameters``, ``seed`` and optionally ``metric``, and ``race`` with the fields of :class:`Race`.

    Returns
    -------
    dict
        ``rmsle`` [nat] and, if it is the metric, ``rmse`` [stars]: means over folds, the metric extrapolated for a stopped
        trial; ``folds``, the scores of the metric; ``seconds``; ``stopped``; and ``parameters`` with the best number of
        boosting rounds where the family finds it.
    """
    family, race = FAMILIES[config["family"]], Race(**config["race"]) if config.get("race") else None
    metric, started = config.get("metric", "rmsle"), time.perf_counter()
    scores, found, rounds = list[float](), list[dict[str, float]](), list[int]()
    for score, best_round in _scores(family, config, data, rounds, bounded=race is not None):
        found.append(score)
        scores.append(score[metric])
        rounds += [] if best_round is None else [best_round]
        if race is not None and race.is_lost(scores):
            break
    whole = len(scores) == len(np.unique(data.arrays.folds))
    best_rounds = {"n_estimators": int(np.median(rounds))} if rounds else {}
    return {
        "family": family.name,
        "parameters": {**config["parameters"], **best_rounds},
        **{name: float(np.mean([score[name] for score in found])) for name in found[0]},
        metric: float(np.mean(scores)) if whole or race is None else race.expected(scores),
        "folds": scores,
        "seconds": time.perf_counter() - started,
        "stopped": DONE if whole else f"lost after fold {len(scores)}",
    }


def _scores(
    family: Family, config: Mapping[str, Any], data: TrialData, rounds: list[int], *, bounded: bool
) -> Iterator[tuple[dict[str, float], int | None]]:
    """Yield the scores of each fold, and its best number of rounds if the family boosts on binned folds."""
    metric, target = config.get("metric", "rmsle"), data.arrays.target
    if not family.finds_rounds:
        for fold in cross_validate(family, config["parameters"], data.arrays, config["seed"]):
            stars = {"rmse": star_rmse(target[fold.rows], fold.raw)} if metric == "rmse" else {}
            yield {"rmsle": fold.rmsle, **stars}, None
        return
    parameters = {**family.at(len(data.arrays.target)).defaults, **config["parameters"]}
    for number in np.unique(data.arrays.folds).tolist():
        most = math.ceil((1 + EXTRA_ROUNDS) * max(rounds)) if bounded and rounds else MAX_ROUNDS
        yield data.fold(number).boost(parameters, config["seed"], min(most, MAX_ROUNDS), metric)
