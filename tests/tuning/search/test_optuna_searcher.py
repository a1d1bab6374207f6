"""The search over families and their parameters, without Ray."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Choice, Range
from stargaze.tuning.search.optuna_searcher import OptunaSearcher

FINALISTS = ["lightgbm", "ridge", "nearest-neighbors"]


def run_search(search: OptunaSearcher, trials: int) -> list[dict[str, Any]]:
    """Run trials one after the other; ridge with a small penalty is the best configuration."""
    finished = []
    for number in range(trials):
        config = search.suggest(str(number))
        error = config["parameters"]["alpha"] / 1e4 if config["family"] == "ridge" else 2.0
        trial = {**config, "rmsle": error, "folds": [error - 0.1, error, error + 0.1], "stopped": "done"}
        search.on_trial_complete(str(number), trial)
        finished.append(trial)
    return finished


def test_the_defaults_of_every_finalist_come_first() -> None:
    first = run_search(OptunaSearcher(FINALISTS, seed=0), 3)

    assert [trial["family"] for trial in first] == FINALISTS
    for trial in first:
        assert trial["parameters"] == {
            name: FAMILIES[trial["family"]].defaults[name] for name in FAMILIES[trial["family"]].space
        }


def test_configurations_that_often_perform_well_come_next() -> None:
    family = FAMILIES["lightgbm"]

    first = run_search(OptunaSearcher(["lightgbm"], seed=0), 1 + len(family.starts))

    expected = [{**family.defaults, **start} for start in ({}, *family.starts)]
    assert [trial["parameters"] for trial in first] == [
        {name: values[name] for name in family.space} for values in expected
    ]


def test_each_configuration_contains_the_best_trial_before_it() -> None:
    trials = run_search(OptunaSearcher(["ridge"], seed=0), 8)

    assert [trial["race"] for trial in trials[:3]] == [None] * 3
    for number, trial in enumerate(trials[3:], start=3):
        best = min(trials[:number], key=lambda trial: float(trial["rmsle"]))
        assert trial["race"]["best"] == tuple(best["folds"])


def test_a_family_races_against_its_own_trials_only() -> None:
    """A worse family may still improve the ensemble."""
    search = OptunaSearcher(["ridge", "nearest-neighbors"], seed=0)
    trials = run_search(search, 30)

    others = [trial["race"] for trial in trials if trial["family"] == "nearest-neighbors"]
    assert others[0] is None
    assert {race["best"] for race in others if race} <= {(1.9, 2.0, 2.1)}


def test_without_racing_no_configuration_has_a_race() -> None:
    trials = run_search(OptunaSearcher(["ridge"], seed=0, races=False), 8)

    assert [trial["race"] for trial in trials] == [None] * 8


def test_suggestions_lie_in_the_search_space() -> None:
    for trial in run_search(OptunaSearcher(list(FAMILIES)[1:], seed=0), 40):
        space = FAMILIES[trial["family"]].space
        assert set(trial["parameters"]) == set(space)
        for name, value in trial["parameters"].items():
            match space[name]:
                case Range(low, high, kind):
                    assert low <= value <= high
                    assert isinstance(value, int if kind == "int" else float)
                case Choice(values):
                    assert value in values


def test_the_same_seed_gives_the_same_search() -> None:
    assert run_search(OptunaSearcher(FINALISTS, seed=1), 15) == run_search(OptunaSearcher(FINALISTS, seed=1), 15)
    assert run_search(OptunaSearcher(FINALISTS, seed=1), 15) != run_search(OptunaSearcher(FINALISTS, seed=2), 15)


def test_the_search_prefers_the_best_family() -> None:
    late = run_search(OptunaSearcher(FINALISTS, seed=0), 40)[20:]

    assert sum(trial["family"] == "ridge" for trial in late) > 10


@pytest.mark.parametrize("result", [None, {}, {"seconds": 1.0}])
def test_a_failed_trial_does_not_stop_the_search(result: dict[str, Any] | None) -> None:
    search = OptunaSearcher(FINALISTS, seed=0)
    search.suggest("0")
    search.on_trial_complete("0", result, error=result is None)
    search.on_trial_complete("unknown", {"rmsle": 1.0})

    assert len(run_search(search, 5)) == 5
