"""Models answer together only where that wins by more than its noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stargaze.bundle.serialization import Ensemble
from stargaze.tuning.cross_validation import Arrays, cross_validate, fit
from stargaze.tuning.training.ensemble import MIN_WEIGHT, fit_weights, out_of_fold, select_candidates

ROWS = 1_500
FOLDS = np.arange(ROWS) % 5
TARGET = np.linspace(0, 8, ROWS)


def trial(family: str, rmsle: float, stopped: str = "done", **parameters: Any) -> dict[str, Any]:
    """Make a trial as the search leaves it."""
    return {"family": family, "parameters": parameters, "rmsle": rmsle, "folds": [rmsle], "stopped": stopped}


def told(*noises: float, seed: int = 0) -> np.ndarray:
    """Make predictions that are off by independent noises."""
    return TARGET[:, None] + np.random.default_rng(seed).normal(size=(ROWS, len(noises))) * noises


def named(*trials: dict[str, Any], most: int = 4) -> list[tuple[str, dict[str, Any], int]]:
    """Return what would be blended, as plain values."""
    return [(one.family.name, one.parameters, one.seed) for one in select_candidates(trials, most, 7)]


def test_the_best_comes_first_then_other_families_another_seed_and_the_second_best() -> None:
    found = named(
        trial("ridge", 0.7, alpha=1.0),
        trial("lightgbm", 0.5, num_leaves=9),
        trial("lightgbm", 0.4, num_leaves=7),
        trial("ridge", 0.6, alpha=2.0),
        trial("lightgbm", 0.6, num_leaves=8),
    )

    assert found == [
        ("lightgbm", {"num_leaves": 7}, 7),
        ("ridge", {"alpha": 2.0}, 7),
        ("lightgbm", {"num_leaves": 7}, 8),
        ("lightgbm", {"num_leaves": 9}, 9),
    ]


def test_a_trial_that_was_stopped_early_has_no_say() -> None:
    """Its score is of fewer folds than the others'."""
    assert named(trial("ridge", 0.1, "race", alpha=1.0), trial("ridge", 0.6, alpha=2.0), most=1) == [
        ("ridge", {"alpha": 2.0}, 7)
    ]


def test_the_same_configuration_twice_is_not_its_own_second() -> None:
    found = named(trial("ridge", 0.6, alpha=2.0), trial("ridge", 0.6, alpha=2.0))

    assert found == [("ridge", {"alpha": 2.0}, 7), ("ridge", {"alpha": 2.0}, 8)]


def test_no_trial_that_ran_to_its_end_is_a_programming_mistake() -> None:
    with pytest.raises(ValueError, match="no trial"):
        select_candidates([trial("ridge", 0.1, "race")], 4, 0)


def test_every_row_is_predicted_by_who_has_not_seen_its_fold(arrays: Arrays) -> None:
    one = select_candidates([trial("ridge", 0.1)], 1, 0)[0]

    predicted = out_of_fold(one, arrays)

    for fold in cross_validate(one.family, one.parameters, arrays, 0):
        assert np.array_equal(np.maximum(predicted[fold.rows], 0.0), fold.predicted)


def test_what_models_say_out_of_fold_adds_up_as_it_does_when_they_are_served(arrays: Arrays) -> None:
    """One that says less than no star takes something off what the other says; only their sum is clipped."""
    whole = np.arange(len(arrays.target))
    pair = select_candidates([trial("ridge", 0.1), trial("elastic-net", 0.2)], 2, 0)
    served = Ensemble((0.5, 0.5), tuple(fit(one.family, one.parameters, arrays, whole, one.seed) for one in pair))

    told = np.column_stack([out_of_fold(one, arrays) for one in pair]).mean(axis=1)

    low = served.predict(arrays.inputs) < -0.1
    assert low.any()
    assert (told[low] < 0.0).mean() > 0.9


def test_less_than_no_star_is_judged_as_none() -> None:
    """Both say of a starless repository what counts as nothing: neither is better for it."""
    target = np.zeros(ROWS)

    found = fit_weights(np.column_stack([np.full(ROWS, -2.0), np.full(ROWS, -1.0)]), target, FOLDS)

    assert (found.gain, found.weights.tolist()) == (0.0, [1.0, 0.0])


def test_two_that_are_wrong_in_different_places_answer_together() -> None:
    found = fit_weights(told(0.5, 0.5), TARGET, FOLDS)

    assert found.weights == pytest.approx([0.5, 0.5], abs=0.05)
    assert found.gain == pytest.approx(0.5 - 0.5 / 2**0.5, abs=0.03)
    assert found.gain > found.error


def test_the_better_one_weighs_more() -> None:
    """Of independent noises the best shares are as one over their squares."""
    assert fit_weights(told(0.5, 1.0), TARGET, FOLDS).weights == pytest.approx([0.8, 0.2], abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_one_that_only_adds_noise_is_left_out(seed: int) -> None:
    first = told(0.5, seed=seed)
    noisy = first + np.random.default_rng(seed + 100).normal(size=first.shape)

    found = fit_weights(np.hstack([first, noisy]), TARGET, FOLDS)

    assert found.weights.tolist() == [1.0, 0.0]


def test_the_same_twice_gains_nothing_and_stays_alone() -> None:
    first = told(0.5)

    found = fit_weights(np.hstack([first, first]), TARGET, FOLDS)

    assert found.weights.tolist() == [1.0, 0.0]
    assert found.gain == pytest.approx(0.0, abs=1e-6)


def test_shares_are_of_a_whole_and_none_is_small() -> None:
    shares = fit_weights(told(0.5, 0.5, 3.9, 0.6, 9.0), TARGET, FOLDS).weights

    assert shares.sum() == pytest.approx(1.0)
    assert all(share == 0.0 or share >= MIN_WEIGHT for share in shares)
    assert shares[4] == 0.0


def test_a_gain_on_one_fold_alone_is_noise() -> None:
    """The second is perfect on one fold and useless on the others: what the others want does not help there."""
    first = told(0.5)
    second = np.where(FOLDS == 0, TARGET, 0.0)[:, None]

    found = fit_weights(np.hstack([first, second]), TARGET, FOLDS)

    assert found.weights.tolist() == [1.0, 0.0]
    assert found.gain <= found.error


def test_one_candidate_is_all_there_is() -> None:
    assert fit_weights(told(0.5), TARGET, FOLDS).weights.tolist() == [1.0]
