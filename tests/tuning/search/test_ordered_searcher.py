"""The search does not depend on the number of concurrent trials or on the order in which they end."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest

from stargaze.tuning.search.optuna_searcher import OptunaSearcher
from stargaze.tuning.search.ordered_searcher import ATTEMPTS, MIN_LOOKAHEAD, OrderedSearcher, OtherSearchError
from stargaze.tuning.search.ray_runtime import Searcher


class RecordingSearcher(Searcher):
    """Record the suggestions and the reported results."""

    def __init__(self) -> None:
        super().__init__(metric="rmsle", mode="min")
        self.log = list[str]()

    def suggest(self, trial_id: str) -> dict[str, Any]:
        self.log.append(f"suggest {trial_id}")
        return config(int(trial_id))

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT002 - as Ray calls it
        self.log.append(f"{'failed' if error else 'done'} {trial_id}")

    def save(self, checkpoint_path: str) -> None: ...

    def restore(self, checkpoint_path: str) -> None: ...


def config(number: int) -> dict[str, Any]:
    """Return a suggestion of the recording searcher."""
    return {"number": number, "family": "", "parameters": {}}


def run(
    searcher: Searcher,
    trials: int,
    max_concurrent: int,
    seed: int = 0,
    lost: float = 0.0,
    ended: list[dict[str, Any]] | None = None,
    stop_after: int = 10**9,
) -> list[dict[str, Any]]:
    """Run trials that end in a random order and may be lost; return the ended ones, at most ``stop_after``."""
    rng = random.Random(seed)
    known = {trial["number"]: trial for trial in ended or []}
    order = OrderedSearcher(searcher, trials, max_concurrent, known)
    running, finished, started = dict[str, dict[str, Any]](), list[dict[str, Any]](), 0
    while True:
        config = order.suggest(f"trial {started}")
        if config == Searcher.FINISHED or len(finished) >= stop_after:
            return [*(ended or []), *finished]
        if config is not None:
            running[f"trial {started}"] = config
            started += 1
            continue
        name = rng.choice(list(running))
        config = running.pop(name)
        if rng.random() < lost:
            order.on_trial_complete(name, error=True)
            continue
        alpha = config.get("parameters", {}).get("alpha", 1.0)
        if config["number"] % 7 == 3:
            result: dict[str, Any] = {"failed": "ValueError: no", "rmsle": math.nan}
        else:
            result = {"rmsle": alpha, "folds": [alpha, alpha + 0.1, alpha], "stopped": "done"}
        finished.append(json.loads(json.dumps({**config, **result})))  # as the journal holds it
        order.on_trial_complete(name, result | {"family": config.get("family")})


def key(config: dict[str, Any]) -> str:
    return str(sorted(config.items()))


def number(trial: dict[str, Any]) -> int:
    return int(trial["number"])


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


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(8))
def test_a_search_that_is_stopped_and_resumed_runs_the_same_trials(seed: int) -> None:
    """At any moment, several times, on other numbers of cores, with failed and lost trials."""
    finalists, rng = ["ridge", "lightgbm", "nearest-neighbors"], random.Random(seed)
    undisturbed = run(OptunaSearcher(finalists, 1), 40, 2)

    ended: list[dict[str, Any]] = []
    while len(ended) < 40:
        ended = run(
            OptunaSearcher(finalists, 1), 40, rng.randint(1, 4), rng.random(), 0.2, ended, stop_after=rng.randint(0, 12)
        )

    assert sorted(ended, key=number) == sorted(undisturbed, key=number)


def test_the_rounds_that_a_trial_found_do_not_change_the_resumed_search() -> None:
    trials = run(OptunaSearcher(["lightgbm"], 0), 12, 1)
    ended = [{**trial, "parameters": {**trial["parameters"], "n_estimators": 77}} for trial in trials[:10]]

    assert run(OptunaSearcher(["lightgbm"], 0), 12, 1, ended=ended)[10:] == trials[10:]


@pytest.mark.parametrize("change", [{"family": "lightgbm"}, {"parameters": {"alpha": 1.5}}])
def test_trials_of_another_search_are_refused(change: dict[str, Any]) -> None:
    trials = run(OptunaSearcher(["ridge"], 0), 5, 1)

    with pytest.raises(OtherSearchError, match="trial 4"):
        OrderedSearcher(OptunaSearcher(["ridge"], 0), 9, 1, dict(enumerate([*trials[:4], {**trials[4], **change}])))


def test_a_recorded_lookahead_replaces_that_of_this_machine() -> None:
    assert OrderedSearcher(RecordingSearcher(), 9, 1, {}, 32).lookahead == 32


def test_a_trial_is_suggested_before_the_last_seven_are_reported() -> None:
    searcher = RecordingSearcher()

    run(searcher, MIN_LOOKAHEAD + 2, 1)

    assert searcher.log[:MIN_LOOKAHEAD] == [f"suggest {number}" for number in range(MIN_LOOKAHEAD)]
    assert searcher.log[MIN_LOOKAHEAD:] == ["done 0", "suggest 8", "done 1", "suggest 9"]


def test_a_lost_trial_runs_again_at_most_three_times() -> None:
    order = OrderedSearcher(RecordingSearcher(), 2, 1)
    for attempt in range(ATTEMPTS):
        assert order.suggest(f"{attempt}") == config(0)
        order.on_trial_complete(f"{attempt}", error=True)

    assert [order.is_abandoned(f"{attempt}") for attempt in range(ATTEMPTS)] == [False] * (ATTEMPTS - 1) + [True]
    assert order.suggest("next") == config(1)


def test_a_failed_configuration_is_reported_and_not_repeated() -> None:
    searcher = RecordingSearcher()
    order = OrderedSearcher(searcher, MIN_LOOKAHEAD + 1, 1)
    for number in range(MIN_LOOKAHEAD):
        order.suggest(f"{number}")
        order.on_trial_complete(f"{number}", {"failed": "ValueError: no", "rmsle": float("nan")})

    assert order.suggest("last") == config(MIN_LOOKAHEAD)
    assert searcher.log[-2:] == ["failed 0", f"suggest {MIN_LOOKAHEAD}"]


def test_the_search_finishes_after_the_last_running_trial() -> None:
    order = OrderedSearcher(RecordingSearcher(), 2, 2)
    order.suggest("a")
    order.suggest("b")

    assert order.suggest("c") is None
    order.on_trial_complete("a", {"rmsle": 1.0})
    assert order.suggest("d") is None
    order.on_trial_complete("b", error=True)
    assert order.suggest("e") == config(1)
    order.on_trial_complete("e", {"rmsle": 1.0})
    assert order.suggest("f") == Searcher.FINISHED
