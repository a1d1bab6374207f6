"""A trial without Ray."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.lightgbm_estimator import MAX_ROUNDS
from stargaze.tuning.retransformation import star_rmse
from stargaze.tuning.search.racing import DONE, Race
from stargaze.tuning.search.trial import EXTRA_ROUNDS, TrialData, run_trial

pytestmark = pytest.mark.thorough  # each test fits models

SMALL = {"learning_rate": 0.1, "num_leaves": 7, "min_child_samples": 5, "colsample_bytree": 1.0}


def config(family: str, race: Race | None = None, **parameters: Any) -> dict[str, Any]:
    """Return a configuration as the search suggests it."""
    return {"family": family, "parameters": parameters, "seed": 0, "race": None if race is None else asdict(race)}


def test_a_trial_is_a_cross_validation(arrays: Arrays) -> None:
    result = run_trial(config("ridge", alpha=3.0), TrialData(arrays))

    errors = [fold.rmsle for fold in cross_validate(FAMILIES["ridge"], {"alpha": 3.0}, arrays, 0)]
    assert result["folds"] == errors
    assert result["rmsle"] == pytest.approx(sum(errors) / 3)
    assert (result["family"], result["parameters"], result["stopped"]) == ("ridge", {"alpha": 3.0}, DONE)
    assert result["seconds"] > 0


@pytest.mark.parametrize("family", ["ridge", "lightgbm"])
def test_with_the_metric_rmse_the_folds_are_scored_in_stars(arrays: Arrays, family: str) -> None:
    parameters = {"alpha": 3.0} if family == "ridge" else SMALL

    result = run_trial({**config(family, **parameters), "metric": "rmse"}, TrialData(arrays))

    assert result["rmse"] == pytest.approx(np.mean(result["folds"]))
    assert result["rmsle"] == pytest.approx(run_trial(config(family, **parameters), TrialData(arrays))["rmsle"])
    if family == "ridge":
        folds = cross_validate(FAMILIES["ridge"], parameters, arrays, 0)
        assert result["folds"] == [star_rmse(arrays.target[fold.rows], fold.raw) for fold in folds]


def test_a_trial_stops_after_the_fold_that_loses_the_race(arrays: Arrays) -> None:
    unbeatable = Race((0.01, 0.01, 0.01), spread=0.001)

    result = run_trial(config("ridge", unbeatable, alpha=3.0), TrialData(arrays))

    assert len(result["folds"]) == 1
    assert result["stopped"] == "lost after fold 1"
    assert result["rmsle"] == pytest.approx(result["folds"][0])


def test_a_trial_that_wins_runs_on_all_folds(arrays: Arrays) -> None:
    result = run_trial(config("ridge", Race((9.0, 9.0, 9.0), spread=0.001), alpha=3.0), TrialData(arrays))

    assert (len(result["folds"]), result["stopped"]) == (3, DONE)


def test_boosting_finds_its_rounds_and_scores_like_a_fit_with_that_number(arrays: Arrays) -> None:
    """Except that each fold chooses its own rounds, and the bins include the fold's inputs."""
    result = run_trial(config("lightgbm", **SMALL), TrialData(arrays))

    rounds = result["parameters"]["n_estimators"]
    parameters = {**FAMILIES["lightgbm"].at(len(arrays.target)).defaults, **result["parameters"]}  # not those of a fold
    refitted = [fold.rmsle for fold in cross_validate(FAMILIES["lightgbm"], parameters, arrays, 0)]
    assert 0 < rounds < MAX_ROUNDS
    assert result["rmsle"] == pytest.approx(np.mean(refitted), rel=0.02)


def test_in_a_race_later_folds_have_few_extra_rounds(arrays: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    from stargaze.tuning.lightgbm_estimator import BinnedFold

    bounds = list[int]()
    boost = BinnedFold.boost

    def record(
        self: BinnedFold, parameters: Any, seed: int, max_rounds: int, metric: str
    ) -> tuple[dict[str, float], int]:
        bounds.append(max_rounds)
        return boost(self, parameters, seed, max_rounds, metric)

    monkeypatch.setattr(BinnedFold, "boost", record)

    run_trial(config("lightgbm", Race((9.0, 9.0, 9.0), 0.001), **SMALL), TrialData(arrays))
    run_trial(config("lightgbm", **SMALL), TrialData(arrays))

    first, second, third, *free = bounds
    assert first == MAX_ROUNDS
    assert third >= second
    assert second < math.ceil((1 + EXTRA_ROUNDS) * MAX_ROUNDS)
    assert second < MAX_ROUNDS
    assert free == [MAX_ROUNDS] * 3


def test_binned_folds_are_shared_by_the_trials_of_a_process(arrays: Arrays) -> None:
    data = TrialData(arrays)
    run_trial(config("lightgbm", **SMALL), data)
    folds = [data.fold(number) for number in range(3)]

    again = run_trial(config("lightgbm", **{**SMALL, "min_child_samples": 60, "num_leaves": 31}), data)

    assert [data.fold(number) for number in range(3)] == folds
    separate = run_trial(config("lightgbm", **{**SMALL, "min_child_samples": 60, "num_leaves": 31}), TrialData(arrays))
    assert again["folds"] == separate["folds"]


def test_an_encoded_column_is_binned_out_of_fold(arrays: Arrays) -> None:
    """A column that equals the target, except out-of-fold, must not help."""
    inputs = arrays.inputs.copy()
    inputs[:, 2] = arrays.target
    blind = np.zeros((3, len(arrays.target), 1), dtype="float32")
    out_of_fold = Arrays(inputs, arrays.target, arrays.folds, arrays.categories, blind, (2,))
    leaking = Arrays(inputs, arrays.target, arrays.folds, arrays.categories)

    leaking_score = run_trial(config("lightgbm", **SMALL), TrialData(leaking))["rmsle"]

    assert run_trial(config("lightgbm", **SMALL), TrialData(out_of_fold))["rmsle"] > 2 * leaking_score
