"""One trial: a configuration judged fold after fold until it is through or has lost. No Ray in here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES, Family
from stargaze.tuning.lightgbm_estimator import MOST_ROUNDS, BinnedFold, binned
from stargaze.tuning.search.racing import DONE, Race

SLACK = 0.4
"""How many more rounds than in the folds before a fold may boost [share]: what would come later would hardly help."""


@dataclass
class Ground:
    """The data of all trials of a process; what LightGBM has binned of it stays until the process ends."""

    arrays: Arrays
    _whole: lightgbm.Dataset | None = field(default=None, repr=False)
    _folds: dict[int, BinnedFold] = field(default_factory=dict, repr=False)

    def fold(self, number: int) -> BinnedFold:
        """Return a fold in bins; columns that are learned outside it make its table one of its own."""
        if number not in self._folds:
            arrays = self.arrays
            whole = self._whole
            if whole is None:
                whole = binned(arrays.without(number), arrays.target, arrays.categories)
            if not arrays.learned_places:
                self._whole = whole
            self._folds[number] = BinnedFold.cut(whole, arrays.folds == number)
        return self._folds[number]


def run_trial(config: Mapping[str, Any], ground: Ground) -> dict[str, Any]:
    """Judge a configuration on one fold after the other; end it as soon as it has lost its race.

    Parameters
    ----------
    config : mapping
        ``family``, ``parameters``, ``seed`` and, if others may end it, ``race`` with the fields of :class:`Race`.
    ground : Ground

    Returns
    -------
    dict
        ``rmsle``, the mean over all folds [nat], or what it would be for a trial that was ended; ``folds``, the scores [nat];
        ``seconds``; ``stopped``; and ``parameters`` with the boosting rounds that were found best, where a family boosts.
    """
    family, race = FAMILIES[config["family"]], Race(**config["race"]) if config.get("race") else None
    begun = time.perf_counter()
    scores, rounds = list[float](), list[int]()
    for score, best_round in _scores(family, config, ground, rounds, bounded=race is not None):
        scores.append(score)
        rounds += [] if best_round is None else [best_round]
        if race is not None and race.is_lost(scores):
            break
    whole = len(scores) == len(np.unique(ground.arrays.folds))
    found = {"n_estimators": int(np.median(rounds))} if rounds else {}
    return {
        "family": family.name,
        "parameters": {**config["parameters"], **found},
        "rmsle": float(np.mean(scores)) if whole or race is None else race.expected(scores),
        "folds": scores,
        "seconds": time.perf_counter() - begun,
        "stopped": DONE if whole else f"lost after fold {len(scores)}",
    }


def _scores(
    family: Family, config: Mapping[str, Any], ground: Ground, rounds: list[int], *, bounded: bool
) -> Iterator[tuple[float, int | None]]:
    """Yield the score of each fold, and its best number of rounds if the family boosts on binned folds."""
    if not family.finds_rounds:
        yield from (
            (fold.rmsle, None) for fold in cross_validate(family, config["parameters"], ground.arrays, config["seed"])
        )
        return
    parameters = {**family.defaults, **config["parameters"]}
    for number in np.unique(ground.arrays.folds).tolist():
        most = math.ceil((1 + SLACK) * max(rounds)) if bounded and rounds else MOST_ROUNDS
        yield ground.fold(number).boosted(parameters, config["seed"], min(most, MOST_ROUNDS))
