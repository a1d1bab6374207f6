"""The search over families and their parameters, without Ray around it."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.tuning.families import FAMILIES, Choice, Range
from stargaze.tuning.search import FamilySearch

FINALISTS = ["lightgbm", "ridge", "nearest-neighbours"]


def searched(search: FamilySearch, trials: int) -> list[dict[str, Any]]:
    """Ask and tell one after the other; ridge with a small penalty is the best there is."""
    found = []
    for number in range(trials):
        asked = search.suggest(str(number))
        error = asked["parameters"]["alpha"] / 1e4 if asked["family"] == "ridge" else 2.0
        search.on_trial_complete(str(number), {"rmsle": error})
        found.append({**asked, "rmsle": error})
    return found


def test_the_defaults_of_every_finalist_come_first() -> None:
    first = searched(FamilySearch(FINALISTS, seed=0), 3)

    assert [trial["family"] for trial in first] == FINALISTS
    for trial in first:
        assert trial["parameters"] == {
            name: FAMILIES[trial["family"]].defaults[name] for name in FAMILIES[trial["family"]].space
        }


def test_what_is_tried_lies_in_the_space() -> None:
    for trial in searched(FamilySearch(list(FAMILIES)[1:], seed=0), 40):
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
    assert searched(FamilySearch(FINALISTS, seed=1), 15) == searched(FamilySearch(FINALISTS, seed=1), 15)
    assert searched(FamilySearch(FINALISTS, seed=1), 15) != searched(FamilySearch(FINALISTS, seed=2), 15)


def test_it_learns_which_family_is_best() -> None:
    late = searched(FamilySearch(FINALISTS, seed=0), 40)[20:]

    assert sum(trial["family"] == "ridge" for trial in late) > 10


def test_a_resumed_search_repeats_no_finished_defaults() -> None:
    finished = searched(FamilySearch(FINALISTS, seed=0), 2)

    resumed = searched(FamilySearch(FINALISTS, seed=0, finished=finished), 10)

    assert resumed[0]["family"] == "nearest-neighbours"
    assert not [trial for trial in resumed if trial["parameters"] in [one["parameters"] for one in finished]]


def test_a_resumed_search_knows_what_the_stopped_one_found() -> None:
    """Twenty finished trials are more than the ten that it begins with at random."""
    finished = searched(FamilySearch(FINALISTS, seed=0), 25)

    resumed = searched(FamilySearch(FINALISTS, seed=0, finished=finished), 10)

    assert sum(trial["family"] == "ridge" for trial in resumed) > 5


@pytest.mark.parametrize("result", [None, {}, {"seconds": 1.0}])
def test_a_failed_trial_does_not_stop_the_search(result: dict[str, Any] | None) -> None:
    search = FamilySearch(FINALISTS, seed=0)
    search.suggest("0")
    search.on_trial_complete("0", result, error=result is None)
    search.on_trial_complete("never asked", {"rmsle": 1.0})

    assert len(searched(search, 5)) == 5
