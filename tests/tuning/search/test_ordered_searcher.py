"""The search does not depend on the number of concurrent trials or on the order in which they end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stargaze.tuning.search.optuna_searcher import OptunaSearcher
from stargaze.tuning.search.ordered_searcher import ATTEMPTS, MIN_LOOKAHEAD, OrderedSearcher
from stargaze.tuning.search.ray_runtime import Searcher


class RecordingSearcher(Searcher):
    """Record the suggestions and the reported results."""

    def __init__(self) -> None:
        super().__init__(metric="rmsle", mode="min")
        self.log = list[str]()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.log.append(f"suggest {trial_id}")
        return {"number": int(trial_id)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT002 - as Ray calls it
        self.log.append(f"{'failed' if error else 'done'} {trial_id}")

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


def run(searcher: Searcher, trials: int, max_concurrent: int, seed: int = 0, lost: float = 0.0) -> list[dict[str, Any]]:
    """Run trials that end in a random order and may be lost; return the finished configurations."""
    rng, order = random.Random(seed), OrderedSearcher(searcher, trials, max_concurrent)
    running, finished, started = dict[str, dict[str, Any]](), list[dict[str, Any]](), 0
    while True:
        config = order.suggest(f"trial {started}")
        if config == Searcher.FINISHED:
            return finished
        if config is not None:
            running[f"trial {started}"] = config
            started += 1
            continue
        name = rng.choice(list(running))
        config = running.pop(name)
        if rng.random() < lost:
            order.on_trial_complete(name, error=True)
            continue
        finished.append(config)
        alpha = config.get("parameters", {}).get("alpha", 1.0)
        result = {"family": "ridge", "rmsle": alpha, "folds": [alpha] * 3, "stopped": "done"}
        order.on_trial_complete(name, result)


def key(config: dict[str, Any]) -> str:
    return str(sorted(config.items()))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("max_concurrent", [2, 3, 4])
def test_the_search_does_not_depend_on_the_number_of_concurrent_trials(max_concurrent: int, seed: int) -> None:
    sequential, concurrent = RecordingSearcher(), RecordingSearcher()

    run(sequential, 30, 1)
    run(concurrent, 30, max_concurrent, seed, lost=0.1)

    assert sequential.log == concurrent.log


def test_the_trials_are_the_same_on_one_core_and_on_four_that_lose_some() -> None:
    def configurations(max_concurrent: int, lost: float = 0.0) -> list[str]:
        return sorted(map(key, run(OptunaSearcher(["ridge"], 0), 40, max_concurrent, max_concurrent, lost)))

    assert configurations(1) == configurations(2) == configurations(4, 0.2)


def test_a_trial_is_suggested_before_the_last_seven_are_reported() -> None:
    searcher = RecordingSearcher()

    run(searcher, MIN_LOOKAHEAD + 2, 1)

    assert searcher.log[:MIN_LOOKAHEAD] == [f"suggest {number}" for number in range(MIN_LOOKAHEAD)]
    assert searcher.log[MIN_LOOKAHEAD:] == ["done 0", "suggest 8", "done 1", "suggest 9"]


def test_a_lost_trial_runs_again_at_most_three_times() -> None:
    order = OrderedSearcher(RecordingSearcher(), 2, 1)
    for attempt in range(ATTEMPTS):
        assert order.suggest(f"{attempt}") == {"number": 0}
        order.on_trial_complete(f"{attempt}", error=True)

    assert [order.is_abandoned(f"{attempt}") for attempt in range(ATTEMPTS)] == [False] * (ATTEMPTS - 1) + [True]
    assert order.suggest("next") == {"number": 1}


def test_a_failed_configuration_is_reported_and_not_repeated() -> None:
    searcher = RecordingSearcher()
    order = OrderedSearcher(searcher, MIN_LOOKAHEAD + 1, 1)
    for number in range(MIN_LOOKAHEAD):
        order.suggest(f"{number}")
        order.on_trial_complete(f"{number}", {"failed": "ValueError: no", "rmsle": float("nan")})

    assert order.suggest("last") == {"number": MIN_LOOKAHEAD}
    assert searcher.log[-2:] == ["failed 0", f"suggest {MIN_LOOKAHEAD}"]


def test_the_search_finishes_after_the_last_running_trial() -> None:
    order = OrderedSearcher(RecordingSearcher(), 2, 2)
    order.suggest("a")
    order.suggest("b")

    assert order.suggest("c") is None
    order.on_trial_complete("a", {"rmsle": 1.0})
    assert order.suggest("d") is None
    order.on_trial_complete("b", error=True)
    assert order.suggest("e") == {"number": 1}
    order.on_trial_complete("e", {"rmsle": 1.0})
    assert order.suggest("f") == Searcher.FINISHED
