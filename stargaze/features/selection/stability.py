"""Which of a policy's columns stay: those that beat random probes in most runs, and others if the folds are worse without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stargaze.config import FeaturesSection
from stargaze.features.selection.permutation_importance import (
    Importances,
    TrainingRows,
    fold_errors,
    permutation_importances,
)

STABLE = 0.5
"""A column that beats the probes in more of the runs is stable [share]."""
DOUBTFUL = 0.25
"""One that beats them in more, but not in most, is doubtful; one of noise does in a sixth [share]."""
CLEARLY = 2.0
"""Columns of noise come back with all the others only if a shorter list is worse by more than this [standard errors]."""


@dataclass(frozen=True)
class ErrorIncrease:
    """How much the error of the same folds grows when columns are dropped, and the standard error of that [nat]."""

    mean: float
    noise: float

    @classmethod
    def of(cls, gaps: np.ndarray) -> ErrorIncrease:
        """Sum up the gaps of the paired folds; shape (n_folds,)."""
        mean = float(gaps.mean())
        return cls(mean, float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if np.isfinite(mean) else 0.0)

    def exceeds(self, errors: float) -> bool:
        """Tell whether it is more than so many standard errors."""
        return self.mean > errors * self.noise


@dataclass(frozen=True)
class Choice:
    """The kept columns of one policy, why each of the others went, what each is worth, and the errors of all and of the kept."""

    kept: list[str]
    reasons: dict[str, str]
    worth: Importances
    errors: dict[str, float]


def choose_stable(evidence: TrainingRows, candidates: Sequence[str], section: FeaturesSection) -> Choice:
    """Choose among columns by stability and by what dropping costs.

    Parameters
    ----------
    evidence : TrainingRows
        Training rows only.
    candidates : sequence of str
    section : FeaturesSection
        Seeds a fold, and the seed.

    Returns
    -------
    Choice
        The stable columns; with the doubtful, if the error grows by more than a standard error of the paired folds without them;
        with those that won at all, if it clearly grows. All, if what is left is clearly worse than all.
    """
    worth = permutation_importances(evidence, candidates, section)
    whole = worth.errors
    kept, errors, costs = list[str](), np.full(len(whole), np.inf), dict[float, ErrorIncrease]()
    for least, much in ((STABLE, 0.0), (DOUBTFUL, 1.0), (0.0, CLEARLY)):
        wider = [name for name in candidates if worth.wins[name] > least and worth.gain[name] > 0.0]
        if len(wider) == len(kept):
            continue
        with_them = fold_errors(evidence, wider, section)
        costs[least] = ErrorIncrease.of(errors - with_them)
        if costs[least].exceeds(much):
            kept, errors = wider, with_them
    if ErrorIncrease.of(errors - whole).exceeds(CLEARLY):
        kept, errors = list(candidates), whole
    reasons = {name: _reason(name, worth, costs) for name in candidates if name not in kept}
    means = {"rmsle_candidates": round(float(whole.mean()), 5), "rmsle_kept": round(float(errors.mean()), 5)}
    return Choice(kept, reasons, worth, means)


def _reason(name: str, worth: Importances, costs: dict[float, ErrorIncrease]) -> str:
    told = f"beats the random probes in {worth.wins[name]:.0%} of {worth.runs} runs"
    least = next((least for least in (DOUBTFUL, 0.0) if worth.wins[name] > least and worth.gain[name] > 0.0), None)
    if least is None:
        return f"useless: {told}, importance {worth.gain[name]:.2g}"
    cost = costs[least]
    return f"doubtful: {told}; without its like the error grows by {cost.mean:.4f} ± {cost.noise:.4f} nat"
