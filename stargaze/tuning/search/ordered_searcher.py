"""A deterministic search order: the suggestions do not depend on the number of concurrent trials or on their timing.

Trial n is suggested when the first ``n - lookahead + 1`` trials have ended; exactly these results are reported to the
searcher, in order. A trial that was lost with its machine runs again under its number.
"""

from __future__ import annotations

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


class OrderedSearcher(Searcher):
    """Query another searcher in order, repeat lost trials, and finish when every trial has a result."""

    def __init__(self, searcher: Searcher, trials: int, max_concurrent: int) -> None:
        super().__init__(metric="rmsle", mode="min")
        self._searcher = searcher
        self._trials = trials
        self._max_concurrent = max_concurrent
        self._lookahead = lookahead(max_concurrent)
        self._configs = list[dict[str, Any]]()
        self._running = dict[str, int]()
        self._lost = list[int]()
        self._attempts = dict[int, int]()
        self._results = dict[int, tuple[dict[str, Any] | None, bool]]()
        self._reported = 0
        self._abandoned = set[str]()

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, lost ones first; None while none may start; FINISHED when all have ended."""
        number = self._next_number()
        if number is None:
            is_finished = not self._running and not self._lost and len(self._configs) == self._trials
            return Searcher.FINISHED if is_finished else None
        if number == len(self._configs):
            config: Any = self._searcher.suggest(str(number))
            if config is None or config == Searcher.FINISHED:
                return config
            self._configs.append(config)
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
        """Save nothing: a resumed search reads the finished trials from the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`save`."""

    def _next_number(self) -> int | None:
        """Return the number of the trial that may start now; the results before it are reported first."""
        if len(self._running) >= self._max_concurrent:
            return None
        if self._lost:
            return self._lost.pop(0)
        number = len(self._configs)
        if number == self._trials:
            return None
        while self._reported <= number - self._lookahead:
            if self._reported not in self._results:
                return None
            result, failed = self._results[self._reported]
            self._searcher.on_trial_complete(str(self._reported), result, failed)
            self._reported += 1
        return number
