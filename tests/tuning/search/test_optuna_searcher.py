"""The search over families and their parameters, without Ray around it."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.tuning.families import FAMILIES, Choice, Range
from stargaze.tuning.search.optuna_searcher import OptunaSearcher

FINALISTS = ["lightgbm", "ridge", "nearest-neighbors"]


def searched(search: OptunaSearcher, trials: int) -> list[dict[str, Any]]:
    """Ask and tell one after the other; ridge with a small penalty is the best there is."""
    found = []
    for number in range(trials):
        asked = search.suggest(str(number))
        error = asked["parameters"]["alpha"] / 1e4 if asked["family"] == "ridge" else 2.0
        trial = {**asked, "rmsle": error, "folds": [error - 0.1, error, error + 0.1], "stopped": "done"}
        search.on_trial_complete(str(number), trial)
        found.append(trial)
    return found


def test_the_defaults_of_every_finalist_come_first() -> None:
    first = searched(OptunaSearcher(FINALISTS, seed=0), 3)

    assert [trial["family"] for trial in first] == FINALISTS
    for trial in first:
        assert trial["parameters"] == {
            name: FAMILIES[trial["family"]].defaults[name] for name in FAMILIES[trial["family"]].space
        }


def test_configurations_that_often_do_well_come_next() -> None:
    family = FAMILIES["lightgbm"]

    first = searched(OptunaSearcher(["lightgbm"], seed=0), 1 + len(family.starts))

    wanted = [{**family.defaults, **start} for start in ({}, *family.starts)]
    assert [trial["parameters"] for trial in first] == [{name: one[name] for name in family.space} for one in wanted]


def test_each_configuration_is_told_the_best_that_was_finished_before_it() -> None:
    trials = searched(OptunaSearcher(["ridge"], seed=0), 8)

    assert [trial["race"] for trial in trials[:3]] == [None] * 3
    for number, trial in enumerate(trials[3:], start=3):
        best = min(trials[:number], key=lambda one: float(one["rmsle"]))
        assert trial["race"]["best"] == tuple(best["folds"])


def test_a_family_races_against_itself_alone() -> None:
    """The best nearest neighbours may be worth their place in a blend, though ridge is far ahead."""
    search = OptunaSearcher(["ridge", "nearest-neighbors"], seed=0)
    trials = searched(search, 30)

    others = [trial["race"] for trial in trials if trial["family"] == "nearest-neighbors"]
    assert others[0] is None
    assert {race["best"] for race in others if race} <= {(1.9, 2.0, 2.1)}


def test_a_resumed_search_races_against_the_finished_trials() -> None:
    finished = searched(OptunaSearcher(["ridge"], seed=0), 5)

    resumed = OptunaSearcher(["ridge"], seed=0, finished=finished).suggest("0")

    assert resumed["race"]["best"] == tuple(min(finished, key=lambda one: float(one["rmsle"]))["folds"])


def test_without_races_nothing_is_told() -> None:
    trials = searched(OptunaSearcher(["ridge"], seed=0, races=False), 8)

    assert [trial["race"] for trial in trials] == [None] * 8


def test_rounds_that_a_trial_found_are_no_question_of_a_resumed_search() -> None:
    finished = searched(OptunaSearcher(["lightgbm"], seed=0), 3)
    for trial in finished:
        trial["parameters"] = {**trial["parameters"], "n_estimators": 77}

    asked = OptunaSearcher(["lightgbm"], seed=0, finished=finished).suggest("0")

    assert "n_estimators" not in asked["parameters"]


def test_what_is_tried_lies_in_the_space() -> None:
    for trial in searched(OptunaSearcher(list(FAMILIES)[1:], seed=0), 40):
        space = FAMILIES[trial["family"]].space
        assert set(trial["parameters"]) == set(space)
        for name, value in trial["parameters"].items():
            match space[name]:
                case Range(low, high, kind):
                    assert low <= value <= high
                    assert isinstance(value, int if kind == "int" else float)
                case Choice(values):
                    assert value in values


def test_the_same_seed_asks_the_same_questions() -> None:
    assert searched(OptunaSearcher(FINALISTS, seed=1), 15) == searched(OptunaSearcher(FINALISTS, seed=1), 15)
    assert searched(OptunaSearcher(FINALISTS, seed=1), 15) != searched(OptunaSearcher(FINALISTS, seed=2), 15)


def test_it_learns_which_family_is_best() -> None:
    late = searched(OptunaSearcher(FINALISTS, seed=0), 40)[20:]

    assert sum(trial["family"] == "ridge" for trial in late) > 10


def test_a_resumed_search_repeats_no_finished_defaults() -> None:
    finished = searched(OptunaSearcher(FINALISTS, seed=0), 2)

    resumed = searched(OptunaSearcher(FINALISTS, seed=0, finished=finished), 10)

    assert resumed[0]["family"] == "nearest-neighbors"
    assert not [trial for trial in resumed if trial["parameters"] in [one["parameters"] for one in finished]]


@pytest.mark.parametrize("before", [1, 3, 4])
def test_a_resumed_search_tries_what_the_stopped_one_was_about_to_try(before: int) -> None:
    """Also what often does well, where the defaults of its family were finished already."""
    whole = searched(OptunaSearcher(FINALISTS, seed=0), 5)

    resumed = searched(OptunaSearcher(FINALISTS, seed=0, finished=whole[:before]), 5 - before)

    assert [trial["parameters"] for trial in resumed] == [trial["parameters"] for trial in whole[before:]]


def test_a_resumed_search_knows_what_the_stopped_one_found() -> None:
    """Twenty finished trials are more than the ten that it begins with at random."""
    finished = searched(OptunaSearcher(FINALISTS, seed=0), 25)

    resumed = searched(OptunaSearcher(FINALISTS, seed=0, finished=finished), 10)

    assert sum(trial["family"] == "ridge" for trial in resumed) > 5


@pytest.mark.parametrize("result", [None, {}, {"seconds": 1.0}])
def test_a_failed_trial_does_not_stop_the_search(result: dict[str, Any] | None) -> None:
    search = OptunaSearcher(FINALISTS, seed=0)
    search.suggest("0")
    search.on_trial_complete("0", result, error=result is None)
    search.on_trial_complete("never asked", {"rmsle": 1.0})

    assert len(searched(search, 5)) == 5
