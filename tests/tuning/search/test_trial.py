"""A trial without Ray around it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from stargaze.tuning.cross_validation import Arrays, cross_validate
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.lightgbm_estimator import MAX_ROUNDS
from stargaze.tuning.search.racing import DONE, Race
from stargaze.tuning.search.trial import EXTRA_ROUNDS, TrialData, run_trial

SMALL = {"learning_rate": 0.1, "num_leaves": 7, "min_child_samples": 5}


def config(family: str, race: Race | None = None, **parameters: Any) -> dict[str, Any]:
    """Ask for a trial as the search does."""
    return {"family": family, "parameters": parameters, "seed": 0, "race": None if race is None else asdict(race)}


def test_a_trial_is_a_cross_validation(arrays: Arrays) -> None:
    found = run_trial(config("ridge", alpha=3.0), TrialData(arrays))

    errors = [fold.rmsle for fold in cross_validate(FAMILIES["ridge"], {"alpha": 3.0}, arrays, 0)]
    assert found["folds"] == errors
    assert found["rmsle"] == pytest.approx(sum(errors) / 3)
    assert (found["family"], found["parameters"], found["stopped"]) == ("ridge", {"alpha": 3.0}, DONE)
    assert found["seconds"] > 0


def test_a_trial_that_lost_ends_after_the_fold_that_shows_it(arrays: Arrays) -> None:
    unbeatable = Race((0.01, 0.01, 0.01), spread=0.001)

    found = run_trial(config("ridge", unbeatable, alpha=3.0), TrialData(arrays))

    assert len(found["folds"]) == 1
    assert found["stopped"] == "lost after fold 1"
    assert found["rmsle"] == pytest.approx(found["folds"][0])


def test_a_trial_that_wins_runs_to_its_end(arrays: Arrays) -> None:
    found = run_trial(config("ridge", Race((9.0, 9.0, 9.0), spread=0.001), alpha=3.0), TrialData(arrays))

    assert (len(found["folds"]), found["stopped"]) == (3, DONE)


def test_boosting_finds_its_rounds_and_scores_as_a_fit_with_as_many_would(arrays: Arrays) -> None:
    """But for the rounds, which each fold chose for itself, and the bins, which know the fold's inputs."""
    found = run_trial(config("lightgbm", **SMALL), TrialData(arrays))

    rounds = found["parameters"]["n_estimators"]
    refitted = [fold.rmsle for fold in cross_validate(FAMILIES["lightgbm"], found["parameters"], arrays, 0)]
    assert 0 < rounds < MAX_ROUNDS
    assert found["rmsle"] == pytest.approx(np.mean(refitted), rel=0.02)


def test_in_a_race_later_folds_boost_little_longer_than_the_first(
    arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stargaze.tuning.lightgbm_estimator import BinnedFold

    bounds = list[int]()
    boost = BinnedFold.boost

    def watched(self: BinnedFold, parameters: Any, seed: int, most: int) -> tuple[float, int]:
        bounds.append(most)
        return boost(self, parameters, seed, most)

    monkeypatch.setattr(BinnedFold, "boost", watched)

    run_trial(config("lightgbm", Race((9.0, 9.0, 9.0), 0.001), **SMALL), TrialData(arrays))
    run_trial(config("lightgbm", **SMALL), TrialData(arrays))

    first, second, third, *free = bounds
    assert first == MAX_ROUNDS
    assert third >= second
    assert second < math.ceil((1 + EXTRA_ROUNDS) * MAX_ROUNDS)
    assert second < MAX_ROUNDS
    assert free == [MAX_ROUNDS] * 3


def test_what_is_binned_once_serves_every_trial_of_a_process(arrays: Arrays) -> None:
    ground = TrialData(arrays)
    run_trial(config("lightgbm", **SMALL), ground)
    folds = [ground.fold(number) for number in range(3)]

    again = run_trial(config("lightgbm", **{**SMALL, "min_child_samples": 60, "num_leaves": 31}), ground)

    assert [ground.fold(number) for number in range(3)] == folds
    alone = run_trial(config("lightgbm", **{**SMALL, "min_child_samples": 60, "num_leaves": 31}), TrialData(arrays))
    assert again["folds"] == alone["folds"]


def test_a_learned_column_is_binned_as_whoever_has_not_seen_the_fold_knows_it(arrays: Arrays) -> None:
    """Where it tells the target to all rows but those outside the fold, it must not help."""
    inputs = arrays.inputs.copy()
    inputs[:, 2] = arrays.target
    blind = np.zeros((3, len(arrays.target), 1), dtype="float32")
    honest = Arrays(inputs, arrays.target, arrays.folds, arrays.categories, blind, (2,))
    cheating = Arrays(inputs, arrays.target, arrays.folds, arrays.categories)

    told = run_trial(config("lightgbm", **SMALL), TrialData(cheating))["rmsle"]

    assert run_trial(config("lightgbm", **SMALL), TrialData(honest))["rmsle"] > 2 * told
