"""What a search is, in values that are passed between processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SearchSpec:
    """The search: families, seed, number of trials, time budget [s], number of concurrent trials."""

    finalists: Sequence[str]
    seed: int
    trials: int
    time_budget: float
    max_concurrent: int
    races: bool = True
    """Whether a trial stops as soon as it has lost its race."""
    ended: Sequence[Mapping[str, Any]] = ()
    """The trials that have ended before, finished or failed; they are part of the number of trials."""
    metric: str = "rmsle"
    """What the trials minimize: rmsle or rmse."""
    lookahead: int = 0
    """The number of trials that are suggested before the first result is reported; 0 means by the number of cores."""
