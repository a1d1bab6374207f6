"""Stability selection: keep the features that beat random probes in most runs, and others if the error is higher without."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from stargaze.capacity import interpolate, share_of_many
from stargaze.config import FeaturesSection
from stargaze.features.selection.permutation_importance import (
    Importances,
    TrainingRows,
    fold_errors,
    permutation_importances,
)

STABLE = 0.5
"""A feature that beats the probes in more of the runs is stable [share]."""
UNCERTAIN = 0.25
"""One that beats them in more, but is not stable, is uncertain; noise beats them in a sixth of the runs [share]."""
CLEAR_INCREASE = 2.0
"""The remaining features are added only if the error is higher without them by more than this [standard errors]."""
TOLERATED_DECREASE = 1.0
"""Of few rows, features are added unless the error is lower without them by more than this: it is measured on the rows that
selected the others, and so few cannot show which features are useful [standard errors]."""


@dataclass(frozen=True)
class ErrorIncrease:
    """The mean increase of the folds' errors when features are dropped, and its standard error [nat]."""

    mean: float
    standard_error: float

    @classmethod
    def from_differences(cls, differences: np.ndarray) -> ErrorIncrease:
        """Summarize the paired differences of the folds; shape (n_folds,)."""
        mean = float(differences.mean())
        standard_error = float(differences.std(ddof=1) / np.sqrt(len(differences))) if np.isfinite(mean) else 0.0
        return cls(mean, standard_error)

    def as_text(self) -> str:
        """Return both numbers.

        >>> ErrorIncrease(0.01234, 0.00222).as_text()
        '0.0123 ± 0.0022'
        """
        return f"{self.mean:.4f} ± {self.standard_error:.4f}"

    def exceeds(self, standard_errors: float) -> bool:
        """Return whether the increase is larger than so many standard errors."""
        return self.mean > standard_errors * self.standard_error


@dataclass(frozen=True)
class Choice:
    """The selected features of one policy, the reasons against the others, all importances, and the errors [nat]."""

    selected: list[str]
    reasons: dict[str, str]
    importances: Importances
    errors: dict[str, float]


def choose_stable(
    training: TrainingRows, candidates: Sequence[str], section: FeaturesSection, included: Collection[str] = ()
) -> Choice:
    """Select features by stability and by the error without them.

    These are the stable features; also the uncertain ones, if the error is higher without them by more than one standard error of
    the paired folds; also those that beat the probes at all, if it is clearly higher. If the error is still clearly higher than
    with all candidates, all are selected. Few rows need less (:func:`needed_increase`). Those that are ``included`` are always
    among them.

    References
    ----------
    Meinshausen and Bühlmann, Stability selection, 2010.
    """
    importances = permutation_importances(training, candidates, section)
    all_errors = importances.errors
    selected, errors = list[str](), np.full(len(all_errors), np.inf)
    increases = dict[float, ErrorIncrease]()
    n_rows = len(training.target)
    for win_rate, standard_errors in ((STABLE, 0.0), (UNCERTAIN, 1.0), (0.0, CLEAR_INCREASE)):
        wider = [name for name in candidates if name in included or importances.beats_probes(name, win_rate)]
        if len(wider) == len(selected):
            continue
        wider_errors = fold_errors(training, wider, section)
        increases[win_rate] = ErrorIncrease.from_differences(errors - wider_errors)
        if increases[win_rate].exceeds(needed_increase(standard_errors, n_rows)):
            selected, errors = wider, wider_errors
    if ErrorIncrease.from_differences(errors - all_errors).exceeds(needed_increase(CLEAR_INCREASE, n_rows)):
        selected, errors = list(candidates), all_errors
    reasons = {name: _explain(name, importances, increases) for name in candidates if name not in selected}
    means = {"rmsle_candidates": round(float(all_errors.mean()), 5), "rmsle_selected": round(float(errors.mean()), 5)}
    return Choice(selected, reasons, importances, means)


def needed_increase(standard_errors: float, rows: int) -> float:
    """Return by how much the error must increase without features to select them: less for fewer rows [standard errors].

    Examples
    --------
    >>> [needed_increase(2.0, rows) for rows in (300, 10_000)]
    [-1.0, 2.0]
    """
    return interpolate(-TOLERATED_DECREASE, standard_errors, share_of_many(rows))


def _explain(name: str, importances: Importances, increases: dict[float, ErrorIncrease]) -> str:
    n_wins = round(importances.win_rate[name] * importances.n_runs)
    wins = f"beats the random probes in {n_wins} of {importances.n_runs} runs"
    for win_rate in (UNCERTAIN, 0.0):
        if importances.beats_probes(name, win_rate):
            increase = increases[win_rate]
            change = "increases" if increase.mean >= 0.0 else "decreases"
            error = f"{abs(increase.mean):.4f} ± {increase.standard_error:.4f} nat"
            return f"uncertain: {wins}; without all such features the error {change} by {error}"
    return f"no better than a random probe: {wins}, importance {importances.increase[name]:.2g}"
