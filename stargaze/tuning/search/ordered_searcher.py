"""The order of a search: the same trials in the same order of knowledge, however many run at once and whichever ends first.

A searcher that is asked as soon as a core is free knows, on two cores, other trials than on one, and finds others. Here the trial
of number n is asked when the first ``n - ahead + 1`` have ended, is told of these in their order, and of no other. A trial
that its machine lost is run again under its number.
"""

from __future__ import annotations

from typing import Any

from ray.tune.search import Searcher

ATTEMPTS = 4
"""So often a trial is begun whose process or machine dies; what kills every process that takes it is given up."""
LEAST_AHEAD = 8
"""Trials that are asked for before the first of them is told, on one core to four: of fifty, the search could use forty-two."""


def ahead(at_once: int) -> int:
    """Return how many trials are asked for before the first of them is told.

    At least twice as many as run at once, or cores would wait for the slowest; in steps, so that a node more or less leaves the
    search what it is.

    Examples
    --------
    >>> [ahead(cores) for cores in (1, 2, 4, 5, 8, 9)]
    [8, 8, 8, 16, 16, 32]
    """
    found = LEAST_AHEAD
    while found < 2 * at_once:
        found *= 2
    return found


class InOrder(Searcher):
    """Ask another searcher in order, run again what was lost, and end when every number has an outcome."""

    def __init__(self, searcher: Searcher, trials: int, at_once: int) -> None:
        super().__init__(metric="rmsle", mode="min")
        self._searcher = searcher
        self._trials = trials
        self._at_once = at_once
        self._ahead = ahead(at_once)
        self._configs = list[dict[str, Any]]()
        self._running = dict[str, int]()
        self._lost = list[int]()
        self._attempts = dict[int, int]()
        self._outcomes = dict[int, tuple[dict[str, Any] | None, bool]]()
        self._told = 0
        self._given_up = set[str]()

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, a lost one first; None while none may begin, and that it is over when all have ended."""
        number = self._next()
        if number is None:
            over = not self._running and not self._lost and len(self._configs) == self._trials
            return Searcher.FINISHED if over else None
        if number == len(self._configs):
            config: Any = self._searcher.suggest(str(number))
            if config is None or config == Searcher.FINISHED:
                return config
            self._configs.append(config)
        self._running[trial_id] = number
        self._attempts[number] = self._attempts.get(number, 0) + 1
        return self._configs[number]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - as Ray calls it
        """Keep what became of a trial until its turn to be told; one that was lost waits to be run again."""
        number = self._running.pop(trial_id, None)
        if number is None:
            return
        if error and self._attempts[number] < ATTEMPTS:
            self._lost.append(number)
            return
        if error:
            self._given_up.add(trial_id)
        self._outcomes[number] = (result, error or bool(result and result.get("failed")))

    def is_given_up(self, trial_id: str) -> bool:
        """Tell whether a trial that was lost will not be run again."""
        return trial_id in self._given_up

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: finished trials live in the journal, from which a resumed search begins."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing, see :meth:`save`."""

    def _next(self) -> int | None:
        """Return the number that may begin now; what it may know is told before."""
        if len(self._running) >= self._at_once:
            return None
        if self._lost:
            return self._lost.pop(0)
        number = len(self._configs)
        if number == self._trials:
            return None
        while self._told <= number - self._ahead:
            if self._told not in self._outcomes:
                return None
            result, failed = self._outcomes[self._told]
            self._searcher.on_trial_complete(str(self._told), result, failed)
            self._told += 1
        return number
