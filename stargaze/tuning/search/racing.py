"""Racing: compare a trial with the best one fold by fold and stop it once it is unlikely to win.

Scores differ more between folds than between configurations on one fold, so gaps are paired: one fold of five gives
almost as much information as all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DONE = "done"
"""The value of ``stopped`` for a trial that was evaluated on every fold."""
CAUTION = 0.5
"""Tolerance for a trial in standard errors of its mean gap [1]."""
MARGIN = 0.25
"""The smallest improvement worth searching for, as a fraction of the spread [1]: smaller ones are a few hundredths of the
standard error of a cross-validated score, and searching for them would double the time."""
BEST_TRIALS = 12
"""The number of best finished trials from which the spread of gaps over folds is estimated."""
MIN_FINISHED = 3
"""No trial is stopped before this many are finished: the spread is unknown."""


@dataclass(frozen=True)
class Race:
    """The best trial's score of each fold and the spread of paired gaps over folds [nat]."""

    best: tuple[float, ...]
    spread: float

    def gap(self, folds: Sequence[float]) -> float:
        """Return the mean gap to the best trial on the evaluated folds [nat]."""
        return float(np.mean(np.subtract(folds, self.best[: len(folds)])))

    def is_lost(self, folds: Sequence[float]) -> bool:
        """Return whether the trial is unlikely to beat the best one by a relevant amount.

        The standard error of the mean gap over ``k`` of ``n`` folds is spread × √(1/k - 1/n) (without replacement).

        Examples
        --------
        >>> race = Race((0.50, 0.52, 0.48, 0.51, 0.49), spread=0.002)
        >>> race.is_lost([0.500]), race.is_lost([0.501]), race.is_lost([0.500, 0.521]), race.is_lost([0.499, 0.520])
        (False, True, True, False)
        """
        done, total = len(folds), len(self.best)
        if not 0 < done < total:
            return False
        tolerance = CAUTION * math.sqrt(1 / done - 1 / total)
        return self.gap(folds) > (tolerance - MARGIN) * self.spread

    def expected(self, folds: Sequence[float]) -> float:
        """Return the mean score over all folds, extrapolated with a constant gap [nat]."""
        return float(np.mean(self.best)) + self.gap(folds)


def next_race(finished: Sequence[Mapping[str, Any]]) -> Race | None:
    """Return the race of the next trial, or None while too few trials are finished.

    The spread is the median over the best trials, because it is larger for worse configurations.
    """
    complete = sorted((trial["folds"] for trial in finished if trial["stopped"] == DONE), key=np.mean)[:BEST_TRIALS]
    if len(complete) < MIN_FINISHED or len(complete[0]) < 2:
        return None
    best, others = np.asarray(complete[0]), np.asarray(complete[1:])
    spreads = np.std(others - best, axis=1, ddof=1)
    return Race(tuple(best.tolist()), float(np.median(spreads)))
