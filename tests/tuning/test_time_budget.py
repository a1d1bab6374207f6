"""The time budget of a tuning, with a fake clock."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.masking import LARGEST_COPIES, LARGEST_SHARE
from stargaze.features.split import TEST
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.time_budget import (
    FEWER_PREDICTIONS,
    FIT_OF_ROUND_SEARCH,
    FIT_OF_TRIAL,
    LARGER_MODELS,
    POLICY_SECONDS,
    POLICY_SECONDS_PER_ROW,
    PREDICTIONS,
    PREDICTIONS_ROWS,
    STOP_SECONDS,
    RefitCost,
    TimeBudget,
)
from stargaze.tuning.training.ensemble import MEAN, Candidate, select_candidates

DEFAULT = Candidate(FAMILIES["ridge"], {}, 0)
TUNED = Candidate(FAMILIES["ridge"], {"alpha": 2.0}, 0)
COST = RefitCost(
    {("all", "ridge"): 2.0, ("activity", "ridge"): 1.0, ("static", "ridge"): 0.5, ("all", "elastic-net"): 8.0},
    policy="all",
    policies=POLICIES,
    folds=3,
    rows=0,
    copies=4.0,
    cores=1,
)
SCREENED = ("ridge", "elastic-net")


def trial(number: int, family: str = "ridge", seconds: float = 6.0) -> dict[str, Any]:
    """Return a finished trial of three folds."""
    parameters = {"alpha": 2.0 + number}
    folds = [0.5 + number] * 3
    return {"family": family, "parameters": parameters, "rmsle": folds[0], "folds": folds, "seconds": seconds} | {
        "number": number,
        "stopped": "done",
    }


def budget(seconds: float, now: float = 0.0, **changed: Any) -> TimeBudget:
    """Return a budget of a command that started at 100 s, ``now`` seconds later."""
    section = TuningSection(time_budget=seconds, **changed)
    return TimeBudget(section, COST, SCREENED, lambda: 100.0 + now, 100.0)


def test_the_cost_is_that_of_all_fits_of_all_policies() -> None:
    # 3 folds, 1.5 on all rows and the predictions, twice as long with copies
    seconds = 2 * (3 + 1.5 * (1 + FEWER_PREDICTIONS)) * (2 + 1 + 0.5)
    assert COST.seconds([DEFAULT], []) == pytest.approx(seconds + len(POLICIES) * POLICY_SECONDS)


def test_a_model_with_more_leaves_for_copies_costs_more_of_many_rows_only() -> None:
    trees = [Candidate(FAMILIES["lightgbm"], {}, 0)]
    costs = [replace(COST, rows=rows, fit_seconds={("all", "lightgbm"): 1.0}) for rows in (300, PREDICTIONS_ROWS)]

    few, many = (
        cost.seconds(trees, []) - 3 * POLICY_SECONDS_PER_ROW * cost.rows - 3 * POLICY_SECONDS for cost in costs
    )

    assert few == pytest.approx(3 * 4 * (3 + 1.5 * (1 + PREDICTIONS)))
    assert many == pytest.approx(LARGER_MODELS * few)


def test_the_number_of_predictions_does_not_grow_with_the_rows() -> None:
    trees = [Candidate(FAMILIES["lightgbm"], {}, 0)]
    cost = replace(COST, fit_seconds={("all", "lightgbm"): 1.0}, policies=["all"])

    few, many = (replace(cost, rows=rows).seconds(trees, []) for rows in (PREDICTIONS_ROWS, 10 * PREDICTIONS_ROWS))

    saved = 0.9 * 1.5 * PREDICTIONS * LARGER_MODELS * 4
    assert many - few == pytest.approx(9 * POLICY_SECONDS_PER_ROW * PREDICTIONS_ROWS - saved)


def test_a_trial_that_finds_the_rounds_takes_longer_than_a_fit() -> None:
    cost = replace(COST, fit_seconds={("all", "lightgbm"): 2.0}, policies=["all"])
    candidate = Candidate(FAMILIES["lightgbm"], {"num_leaves": 9}, 0)
    searched = {**trial(0, "lightgbm", seconds=6.0 / FIT_OF_ROUND_SEARCH), "parameters": {"num_leaves": 9}}

    assert cost.seconds([candidate], [searched]) == pytest.approx(
        cost.seconds([Candidate(FAMILIES["lightgbm"], {}, 0)], [])
    )


def test_the_cost_follows_from_the_leaderboard_and_the_copies() -> None:
    """The families were screened on a part of the rows. One of a hundred rows is not fitted on, and has no copy."""
    folds = np.append(np.arange(99) % 3, TEST)
    table = Dataset(pd.DataFrame({"forks": np.arange(100.0)}), np.zeros(100), folds, "")
    feature_set = FeatureSet({}, {}, FeaturesSection(folds=3), "", {})
    rows = [("all", "ridge", "ok", 2.0, 33), ("static", "ridge", "time", math.nan, 33)]
    board = pd.DataFrame(rows, columns=["policy", "family", "status", "fit_time", "rows"])

    cost = RefitCost.of(table, feature_set, board, "all", cores=2)

    assert (cost.fit_seconds, cost.policy) == ({("all", "ridge"): 6.0}, "all")
    assert (cost.folds, cost.rows, cost.cores) == (3, 99, 2)
    assert cost.copies == pytest.approx(2.0 + LARGEST_COPIES * int(LARGEST_SHARE * 98) / 99)


def test_several_cores_share_the_cost_but_not_one_fit() -> None:
    alone, shared = COST.seconds([DEFAULT] * 6, []), replace(COST, cores=2).seconds([DEFAULT] * 6, [])
    many = replace(COST, cores=1000).seconds([DEFAULT], [])

    assert shared < 0.7 * alone
    assert many == pytest.approx(3 * 2.0 * 2.0 + 1.5 * (1 + FEWER_PREDICTIONS) * 2.0 * 2.0 + POLICY_SECONDS)


def test_tuned_parameters_cost_what_their_trial_took() -> None:
    """A trial of three folds: twice the defaults, under every policy."""
    found = COST.seconds([TUNED], [trial(0, seconds=12.0 / FIT_OF_TRIAL)])

    assert found - 3 * POLICY_SECONDS == pytest.approx(2 * (COST.seconds([DEFAULT], []) - 3 * POLICY_SECONDS))


def test_a_policy_without_the_family_costs_what_the_policy_of_the_trials_does() -> None:
    candidate = Candidate(FAMILIES["elastic-net"], {}, 0)

    assert COST.seconds([candidate], []) == pytest.approx(
        2 * (3 + 1.5 * (1 + FEWER_PREDICTIONS)) * 3 * 8.0 + 3 * POLICY_SECONDS
    )


def test_the_mean_of_all_rows_costs_nothing() -> None:
    assert COST.seconds([DEFAULT, MEAN], []) == COST.seconds([DEFAULT], [])


def test_without_a_budget_nothing_is_limited() -> None:
    unlimited = budget(0.0, now=1e9)

    assert (unlimited.search_seconds([]), unlimited.ensemble_size([trial(0)])) == (float("inf"), 6)


def test_trials_end_before_the_refit() -> None:
    finished = [trial(0)]
    candidates = [Candidate(FAMILIES["ridge"], {"alpha": 2.0}, seed) for seed in (0, 1)]
    refit = STOP_SECONDS + COST.seconds(candidates, finished)

    assert budget(1_000.0, now=10.0).search_seconds(finished) == pytest.approx(1_000.0 - 10.0 - refit)


def test_slower_trials_leave_less_time_for_trials() -> None:
    left = [budget(1_000.0).search_seconds([trial(0, seconds=seconds)]) for seconds in (3.0, 30.0)]

    assert left[1] < left[0] - 100.0


def test_before_the_first_trial_the_defaults_of_the_finalists_count() -> None:
    first, both = (budget(10_000.0, finalists=number).search_seconds([]) for number in (1, 2))

    assert both < first


def test_a_quarter_of_a_short_budget_is_for_trials() -> None:
    assert budget(40.0).search_seconds([trial(0)]) == pytest.approx(10.0)


@pytest.mark.parametrize(("left", "members"), [(1_000.0, 6), (70.0, 3), (1.0, 2), (-50.0, 2)])
def test_the_ensemble_has_as_many_members_as_there_is_time_for(left: float, members: int) -> None:
    finished = [trial(0), trial(1)]

    assert budget(1_000.0, now=1_000.0 - left).ensemble_size(finished) == members


def test_without_time_the_best_trial_and_the_mean_are_left() -> None:
    """With few rows and no signal, one model alone is worse than the mean."""
    late = budget(1_000.0, now=2_000.0)
    finished = [trial(0), trial(1)]

    candidates = select_candidates(finished, late.ensemble_size(finished), 0, SCREENED)

    assert candidates == [Candidate(FAMILIES["ridge"], {"alpha": 2.0}, 0), MEAN]
    assert budget(1_000.0, now=2_000.0, ensemble_size=1).ensemble_size(finished) == 1
