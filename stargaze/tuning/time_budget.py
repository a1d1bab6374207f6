"""The time budget of a tuning: its trials stop early enough that the refit and the calibration end within it too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.capacity import interpolate, share_of_many
from stargaze.config import TuningSection
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import choose_copies
from stargaze.tuning.family import Family
from stargaze.tuning.search.racing import DONE
from stargaze.tuning.training.ensemble import Candidate, select_candidates

POLICY_SECONDS, POLICY_SECONDS_PER_ROW = 3.0, 0.001
"""The time of one core for features of masked copies, calibration and scores of one policy [s]."""
LARGER_MODELS = 1.4
"""How much longer a fit on many rows takes if the model has more leaves and rounds for masked copies."""
COPIES_EXPONENT = 0.5
"""The time of other fits grows with this power of the rows: CatBoost, the slowest of them, takes 1.0 to 1.35 times as long."""
FIT_OF_TRIAL, FIT_OF_ROUND_SEARCH = 0.75, 0.5
"""The time of a fit relative to that of a fold of a trial, and of a trial which also finds the number of rounds."""
PREDICTIONS, FEWER_PREDICTIONS, PREDICTIONS_ROWS = 2.5, 0.3, 9_500
"""The time in which a final model of many leaves, or another one, predicts without each field, relative to that of its fit on so
many training rows. The number of predictions does not depend on the rows. Measured on the Electron sample, on one core."""
STOP_SECONDS = 5.0
"""The time in which Ray starts and stops [s]."""
LEAST_SEARCH = 0.25
"""The least share of the budget for trials: with less, the ensemble has fewer members."""
LEAST_CANDIDATES = 2
"""The candidates that are refitted in any case: the best trial, and the mean of all rows."""


@dataclass(frozen=True)
class RefitCost:
    """What the refit costs: ``fit_seconds`` is the time of one fit of a family's defaults by policy and family [s of a core]."""

    fit_seconds: Mapping[tuple[str, str], float]
    policy: str
    """The policy of the trials."""
    policies: Sequence[str]
    """The policies that are refitted."""
    folds: int
    rows: int
    copies: float
    """Rows with masked copies relative to the rows of a trial."""
    cores: int

    @classmethod
    def of(cls, table: Dataset, feature_set: FeatureSet, board: pd.DataFrame, policy: str, cores: int) -> RefitCost:
        """Return the cost from the fit times of the leaderboard, which may have been measured on fewer rows."""
        rows, screened = len(table.training), board[board["status"] == "ok"]
        copies = np.isin(choose_copies(table.repositories, table.folds).rows, table.training).sum()
        scaled = screened["fit_time"] * rows / screened["rows"].clip(lower=1)
        times = dict(zip(zip(screened["policy"], screened["family"], strict=True), scaled.tolist(), strict=True))
        share = 1 + float(copies) / rows
        return cls(times, policy, feature_set.policies, feature_set.split.folds, rows, share, cores)

    def seconds(self, candidates: Sequence[Candidate], trials: Sequence[Mapping[str, Any]]) -> float:
        """Return the time of a refit of some candidates [s]; ``trials`` have the times of tuned parameters.

        Each candidate is fitted without each fold, one core for all of its folds; then one core for each policy fits all
        candidates on all rows, although some may get no weight, and calibrates the intervals.
        """
        measured = {_key(trial): trial["seconds"] / len(trial["folds"]) for trial in trials}
        out_of_fold, whole = list[float](), list[float]()
        fixed = POLICY_SECONDS + POLICY_SECONDS_PER_ROW * self.rows
        for policy in self.policies:
            fits = [self._growth(item.family) * self._fit(policy, item, measured) for item in candidates]
            out_of_fold += [self.folds * seconds for seconds in fits]
            final = sum(
                (1 + self._predictions(item.family)) * seconds for item, seconds in zip(candidates, fits, strict=True)
            )
            whole.append(fixed + final * self.folds / max(self.folds - 1, 1))
        return self._parallel(out_of_fold) + self._parallel(whole)

    def _parallel(self, seconds: Sequence[float]) -> float:
        """Return how long tasks take on all cores [s]; one task has one core."""
        return max(*seconds, sum(seconds) / self.cores)

    def _growth(self, family: Family) -> float:
        """Return how much longer a fit takes with masked copies."""
        if not family.copy_factors:
            return float(self.copies**COPIES_EXPONENT)
        return self.copies * interpolate(1.0, LARGER_MODELS, share_of_many(self.rows))

    def _predictions(self, family: Family) -> float:
        """Return how long a final model predicts without each field, relative to its fit."""
        relative = PREDICTIONS if family.copy_factors else FEWER_PREDICTIONS
        return relative * min(1.0, PREDICTIONS_ROWS / max(self.rows, 1))

    def _fit(self, policy: str, candidate: Candidate, measured: Mapping[str, float]) -> float:
        name = candidate.family.name
        tried = self.fit_seconds.get((self.policy, name), 0.0)
        default = self.fit_seconds.get((policy, name), tried)
        tuned = measured.get(_key({"family": name, "parameters": candidate.parameters}))
        if tuned is None:
            return default
        fit = tuned * (FIT_OF_ROUND_SEARCH if candidate.family.finds_rounds else FIT_OF_TRIAL)
        return fit * (default / tried if tried else 1.0)


@dataclass(frozen=True)
class TimeBudget:
    """The budget of one command [s], 0 for none, and the time at which it started by the clock."""

    section: TuningSection
    cost: RefitCost
    screened: Sequence[str]
    clock: Callable[[], float]
    started: float

    def search_seconds(self, trials: Sequence[Mapping[str, Any]]) -> float:
        """Return how much longer trials may run [s], negative if too long already; infinity without a budget.

        ``trials`` have ended so far. Before the first one, the finalists count with their defaults.
        """
        section = self.section
        if not section.time_budget:
            return np.inf
        done = [dict(trial) for trial in trials if trial["stopped"] == DONE]
        known = done or [
            {"family": name, "parameters": {}, section.metric: float(place), "stopped": DONE}
            for place, name in enumerate(self.screened[: section.finalists])
        ]
        refit = STOP_SECONDS + self.cost.seconds(self._candidates(known, section.ensemble_size), done)
        most = (1.0 - LEAST_SEARCH) * section.time_budget
        return section.time_budget - min(refit, most) - (self.clock() - self.started)

    def ensemble_size(self, trials: Sequence[dict[str, Any]]) -> int:
        """Return the number of candidates that can be refitted in what is left of the budget.

        They are at least two, of which one is the mean: it costs nothing, and an ensemble of few rows shrinks to it.
        """
        size = self.section.ensemble_size
        if not self.section.time_budget:
            return size
        left = self.section.time_budget - (self.clock() - self.started)
        while size > LEAST_CANDIDATES and self.cost.seconds(self._candidates(trials, size), trials) > left:
            size -= 1
        return size

    def _candidates(self, trials: Sequence[dict[str, Any]], size: int) -> list[Candidate]:
        section = self.section
        return select_candidates(trials, size, section.seed, self.screened, section.metric, self.cost.rows)


def _key(trial: Mapping[str, Any]) -> str:
    return json.dumps([trial["family"], trial["parameters"]], sort_keys=True)
