"""A deterministic search order: the suggestions do not depend on the number of concurrent trials or on their timing.

Trial n is suggested when the first ``n - lookahead + 1`` trials have ended; exactly these results are reported to the
searcher, in order. A trial that was lost with its machine runs again under its number. A resumed search suggests all trials
from the first on again and takes the results of those that have ended, so it continues exactly as it would have without the stop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stargaze.tuning.search.ray_runtime import Searcher

ATTEMPTS = 4
"""Starts of a trial whose process or machine dies before the trial is abandoned."""
MIN_LOOKAHEAD = 8
"""Trials suggested before the first result is reported, on one to four cores: of fifty, the search uses forty-two."""


def lookahead(max_concurrent: int) -> int:
    """Return the number of trials that are suggested before the first result is reported.

    It is at least twice the number of concurrent trials, so that cores do not wait for the slowest, and a power of two
    times the minimum, so that one node more or less does not change the search.

    Examples
    --------
    >>> [lookahead(cores) for cores in (1, 2, 4, 5, 8, 9)]
    [8, 8, 8, 16, 16, 32]
    """
    number = MIN_LOOKAHEAD
    while number < 2 * max_concurrent:
        number *= 2
    return number


class OtherSearchError(ValueError):
    """The ended trials are not those that this search suggests."""


class OrderedSearcher(Searcher):
    """Query another searcher in order, repeat lost trials, and finish when every trial has a result."""

    def __init__(
        self,
        searcher: Searcher,
        trials: int,
        max_concurrent: int,
        ended: Mapping[int, Mapping[str, Any]] | None = None,
        trials_ahead: int = 0,
    ) -> None:
        """Replay the ended trials by number; raise OtherSearchError if the search suggests others."""
        super().__init__(metric=searcher.metric, mode="min")
        self._searcher = searcher
        self._trials = trials
        self._max_concurrent = max_concurrent
        self.lookahead = trials_ahead or lookahead(max_concurrent)
        self._configs = list[dict[str, Any]]()
        self._running = dict[str, int]()
        self._lost = list[int]()
        self._attempts = dict[int, int]()
        self._results = dict[int, tuple[dict[str, Any] | None, bool]]()
        self._reported = 0
        self._abandoned = set[str]()
        self._replay(ended or {})

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, lost ones first; None while none may start; FINISHED when all have ended."""
        number = self._next_number()
        if number is None:
            is_finished = not self._running and not self._lost and len(self._configs) >= self._trials
            return Searcher.FINISHED if is_finished else None
        if number == len(self._configs):
            config: Any = self._searcher.suggest(str(number))
            if config is None or config == Searcher.FINISHED:
                return config
            self._configs.append({**config, "number": number})
        self._running[trial_id] = number
        self._attempts[number] = self._attempts.get(number, 0) + 1
        return self._configs[number]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's signature
        """Store a result until it is reported in order; a lost trial waits for its next start."""
        number = self._running.pop(trial_id, None)
        if number is None:
            return
        if error and self._attempts[number] < ATTEMPTS:
            self._lost.append(number)
            return
        if error:
            self._abandoned.add(trial_id)
        self._results[number] = (result, error or bool(result and result.get("failed")))

    def is_abandoned(self, trial_id: str) -> bool:
        """Return whether a lost trial will not run again."""
        return trial_id in self._abandoned

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: a resumed search replays the trials of the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`save`."""

    def _replay(self, ended: Mapping[int, Mapping[str, Any]]) -> None:
        """Suggest every trial up to the last that has ended; those without a result run first."""
        for number in range(max(ended, default=-1) + 1):
            config = self._searcher.suggest(str(number)) if self._report_until(number) else None
            trial = ended.get(number)
            if not isinstance(config, dict) or (trial is not None and not _is_trial_of(config, trial)):
                raise OtherSearchError(f"trial {number} is not the one that this search suggests")
            self._configs.append({**config, "number": number})
            if trial is None:
                self._lost.append(number)
            else:
                self._results[number] = (dict(trial), "failed" in trial)

    def _next_number(self) -> int | None:
        """Return the number of the trial that may start now; the results before it are reported first."""
        if len(self._running) >= self._max_concurrent:
            return None
        if self._lost:
            return self._lost.pop(0)
        number = len(self._configs)
        return number if number < self._trials and self._report_until(number) else None

    def _report_until(self, number: int) -> bool:
        """Report the results that the suggestion of a trial may use, in order; return whether all of them are there."""
        while self._reported <= number - self.lookahead:
            if self._reported not in self._results:
                return False
            result, failed = self._results[self._reported]
            self._searcher.on_trial_complete(str(self._reported), result, failed)
            self._reported += 1
        return True


def _is_trial_of(config: Mapping[str, Any], trial: Mapping[str, Any]) -> bool:
    """Return whether a trial has the family and the parameters of a suggestion; the number of rounds is a result."""
    suggested = {name: value for name, value in config["parameters"].items() if name != "n_estimators"}
    found = {name: trial.get("parameters", {}).get(name) for name in suggested}
    return config["family"] == trial.get("family") and json.dumps(suggested) == json.dumps(found)
