"""The order in which a searcher is asked and told: it must not show how many trials ran at once, or which ended first."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stargaze.tuning.search.optuna_searcher import OptunaSearcher
from stargaze.tuning.search.ordered_searcher import ATTEMPTS, MIN_LOOKAHEAD, OrderedSearcher
from stargaze.tuning.search.ray_runtime import Searcher


class Heard(Searcher):
    """Write down what is asked and told."""

    def __init__(self) -> None:
        super().__init__(metric="rmsle", mode="min")
        self.log = list[str]()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.log.append(f"ask {trial_id}")
        return {"number": int(trial_id)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT002 - as Ray calls it
        self.log.append(f"{'failed' if error else 'told'} {trial_id}")

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


def run(searcher: Searcher, trials: int, at_once: int, seed: int = 0, lost: float = 0.0) -> list[dict[str, Any]]:
    """Run trials that end in any order, and are lost now and then; return the configurations that ended well."""
    chance, order = random.Random(seed), OrderedSearcher(searcher, trials, at_once)
    running, ended, begun = dict[str, dict[str, Any]](), list[dict[str, Any]](), 0
    while True:
        config = order.suggest(f"trial {begun}")
        if config == Searcher.FINISHED:
            return ended
        if config is not None:
            running[f"trial {begun}"] = config
            begun += 1
            continue
        name = chance.choice(list(running))
        config = running.pop(name)
        if chance.random() < lost:
            order.on_trial_complete(name, error=True)
            continue
        ended.append(config)
        alpha = config.get("parameters", {}).get("alpha", 1.0)
        result = {"family": "ridge", "rmsle": alpha, "folds": [alpha] * 3, "stopped": "done"}
        order.on_trial_complete(name, result)


def key(config: dict[str, Any]) -> str:
    return str(sorted(config.items()))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_once", [2, 3, 4])
def test_the_searcher_hears_the_same_however_many_run_at_once(at_once: int, seed: int) -> None:
    alone, several = Heard(), Heard()

    run(alone, 30, 1)
    run(several, 30, at_once, seed, lost=0.1)

    assert alone.log == several.log


def test_a_search_finds_the_same_trials_on_one_core_and_on_four_of_which_some_die() -> None:
    def found(at_once: int, lost: float = 0.0) -> list[str]:
        return sorted(map(key, run(OptunaSearcher(["ridge"], 0), 40, at_once, at_once, lost)))

    assert found(1) == found(2) == found(4, 0.2)


def test_a_trial_is_asked_for_before_the_last_seven_are_told() -> None:
    heard = Heard()

    run(heard, MIN_LOOKAHEAD + 2, 1)

    assert heard.log[:MIN_LOOKAHEAD] == [f"ask {number}" for number in range(MIN_LOOKAHEAD)]
    assert heard.log[MIN_LOOKAHEAD:] == ["told 0", "ask 8", "told 1", "ask 9"]


def test_what_was_lost_is_run_again_at_once_and_only_so_often() -> None:
    order = OrderedSearcher(Heard(), 2, 1)
    for attempt in range(ATTEMPTS):
        assert order.suggest(f"{attempt}") == {"number": 0}
        order.on_trial_complete(f"{attempt}", error=True)

    assert [order.is_abandoned(f"{attempt}") for attempt in range(ATTEMPTS)] == [False] * (ATTEMPTS - 1) + [True]
    assert order.suggest("next") == {"number": 1}


def test_a_configuration_that_fails_is_told_as_failed_and_not_run_again() -> None:
    heard = Heard()
    order = OrderedSearcher(heard, MIN_LOOKAHEAD + 1, 1)
    for number in range(MIN_LOOKAHEAD):
        order.suggest(f"{number}")
        order.on_trial_complete(f"{number}", {"failed": "ValueError: no", "rmsle": float("nan")})

    assert order.suggest("last") == {"number": MIN_LOOKAHEAD}
    assert heard.log[-2:] == ["failed 0", f"ask {MIN_LOOKAHEAD}"]


def test_the_end_waits_for_what_still_runs() -> None:
    order = OrderedSearcher(Heard(), 2, 2)
    order.suggest("a")
    order.suggest("b")

    assert order.suggest("c") is None
    order.on_trial_complete("a", {"rmsle": 1.0})
    assert order.suggest("d") is None
    order.on_trial_complete("b", error=True)
    assert order.suggest("e") == {"number": 1}
    order.on_trial_complete("e", {"rmsle": 1.0})
    assert order.suggest("f") == Searcher.FINISHED
