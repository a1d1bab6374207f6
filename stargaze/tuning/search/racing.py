"""When a trial has lost: its folds are compared with the best trial's, fold by fold, and it ends once it cannot win.

Folds differ far more among themselves than two configurations differ on the same fold, so a gap is measured in pairs: after one
fold of five it is known almost as well as after all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DONE = "done"
"""What ``stopped`` says of a trial that was judged on every fold."""
CAUTION = 0.5
"""How many standard errors of its mean gap a trial is given the benefit of [1]."""
MARGIN = 0.25
"""By how much a trial must promise to win, as a part of the spread [1]: wins below it are a few hundredths of the standard error
of a cross-validated score, and searching for them would double the time."""
CONTENDERS = 12
"""The best finished trials, whose gaps tell how far the gap of one that is as good spreads from fold to fold."""
FEWEST = 3
"""Nothing is stopped before so many trials are finished: of fewer the spread is not known."""


@dataclass(frozen=True)
class Race:
    """What a trial runs against: the best trial's score of each fold and the spread of paired gaps over folds [nat]."""

    best: tuple[float, ...]
    spread: float

    def gap(self, folds: Sequence[float]) -> float:
        """Return how far behind the best a trial is on the folds it was judged on [nat]."""
        return float(np.mean(np.subtract(folds, self.best[: len(folds)])))

    def is_lost(self, folds: Sequence[float]) -> bool:
        """Tell whether the mean over all folds would hardly come out below the best's by what is worth having.

        The mean gap over ``k`` of ``n`` folds misses that over all by spread × √(1/k - 1/n): folds are drawn without return.

        Examples
        --------
        >>> race = Race((0.50, 0.52, 0.48, 0.51, 0.49), spread=0.002)
        >>> race.is_lost([0.500]), race.is_lost([0.501]), race.is_lost([0.500, 0.521]), race.is_lost([0.499, 0.520])
        (False, True, True, False)
        """
        seen, every = len(folds), len(self.best)
        if not 0 < seen < every:
            return False
        doubt = CAUTION * math.sqrt(1 / seen - 1 / every)
        return self.gap(folds) > (doubt - MARGIN) * self.spread

    def expected(self, folds: Sequence[float]) -> float:
        """Return the mean over all folds that a trial would have if its gap stayed what it is [nat]."""
        return float(np.mean(self.best)) + self.gap(folds)


def race_against(finished: Sequence[Mapping[str, Any]]) -> Race | None:
    """Return the race that the next trial runs, or None while too few trials are finished.

    Parameters
    ----------
    finished : sequence of mapping
        Trials with ``folds``, their score of each fold [nat], and ``stopped``.

    Returns
    -------
    Race or None
        The spread is pooled over the best trials, as it is wider where a configuration is worse.
    """
    whole = sorted((trial["folds"] for trial in finished if trial["stopped"] == DONE), key=np.mean)[:CONTENDERS]
    if len(whole) < FEWEST or len(whole[0]) < 2:
        return None
    best, others = np.asarray(whole[0]), np.asarray(whole[1:])
    spreads = np.std(others - best, axis=1, ddof=1)
    return Race(tuple(best.tolist()), float(np.median(spreads)))
