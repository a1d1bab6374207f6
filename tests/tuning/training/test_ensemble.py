"""An ensemble is used if it predicts held-out folds better than its best model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stargaze.bundle.serialization import Ensemble
from stargaze.tuning.cross_validation import Arrays, cross_validate, fit
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.training.ensemble import MIN_WEIGHT, Candidate, fit_weights, out_of_fold, select_candidates

ROWS = 1_500
FOLDS = np.arange(ROWS) % 5
TARGET = np.linspace(0, 8, ROWS)
MEAN_ROW = ("dummy", {"strategy": "mean"}, 0)


def trial(family: str, rmsle: float, stopped: str = "done", **parameters: Any) -> dict[str, Any]:
    """Return a trial as the search stores it."""
    return {"family": family, "parameters": parameters, "rmsle": rmsle, "folds": [rmsle], "stopped": stopped}


def noisy_predictions(*noises: float, seed: int = 0) -> np.ndarray:
    """Return predictions with independent errors of these standard deviations; shape (n, n_noises)."""
    return TARGET[:, None] + np.random.default_rng(seed).normal(size=(ROWS, len(noises))) * noises


def selected(*trials: dict[str, Any], most: int = 4) -> list[tuple[str, dict[str, Any], int]]:
    """Return the candidates of an ensemble as plain values."""
    return [(item.family.name, item.parameters, item.seed) for item in select_candidates(trials, most, 7)]


def test_the_best_comes_first_then_other_families_another_seed_and_the_second_best() -> None:
    candidates = selected(
        trial("ridge", 0.7, alpha=1.0),
        trial("lightgbm", 0.5, num_leaves=9),
        trial("lightgbm", 0.4, num_leaves=7),
        trial("ridge", 0.6, alpha=2.0),
        trial("lightgbm", 0.6, num_leaves=8),
        most=6,
    )

    assert candidates == [
        ("lightgbm", {"num_leaves": 7}, 7),
        ("ridge", {"alpha": 2.0}, 7),
        ("lightgbm", {"num_leaves": 7}, 8),
        ("lightgbm", {"num_leaves": 9}, 9),
        MEAN_ROW,
    ]


def test_of_few_rows_the_second_best_of_each_family_comes_before_other_families() -> None:
    trials = [trial("ridge", 0.1 * number, alpha=float(number)) for number in (3, 5, 8)]
    trials += [trial("lightgbm", 0.1 * number, num_leaves=number) for number in (4, 6, 7)]

    candidates = select_candidates(trials, 7, 7, screened=["ridge", "lightgbm", "catboost"], rows=500)

    assert [(item.family.name, item.parameters, item.seed) for item in candidates] == [
        ("ridge", {"alpha": 3.0}, 7),
        ("lightgbm", {"num_leaves": 4}, 7),
        ("ridge", {"alpha": 5.0}, 7),
        ("lightgbm", {"num_leaves": 6}, 7),
        ("catboost", {}, 7),
        ("ridge", {"alpha": 3.0}, 8),
        MEAN_ROW,
    ]


def test_families_that_were_screened_but_not_tuned_come_before_other_seeds() -> None:
    trials = [trial("lightgbm", 0.4, num_leaves=7), trial("ridge", 0.6, alpha=2.0)]

    candidates = select_candidates(
        trials, 5, 7, screened=["histogram-boosting", "extra-trees", "lightgbm", "catboost", "ridge"]
    )

    assert [(item.family.name, item.parameters) for item in candidates] == [
        ("lightgbm", {"num_leaves": 7}),
        ("ridge", {"alpha": 2.0}),
        ("catboost", {}),
        ("extra-trees", {}),
        ("dummy", {"strategy": "mean"}),
    ]


def test_the_mean_is_the_last_of_any_two_candidates() -> None:
    trials = [trial("lightgbm", 0.4), trial("ridge", 0.6)]

    assert selected(*trials, most=2) == [("lightgbm", {}, 7), MEAN_ROW]
    assert selected(*trials, most=1) == [("lightgbm", {}, 7)]


def test_a_model_of_noise_gives_its_weight_to_the_mean() -> None:
    """On few rows without signal, the ensemble is the mean."""
    random = np.random.default_rng(0)
    target, noise = 5.0 + random.normal(size=300), 5.0 + random.normal(size=300)

    fitted = fit_weights(np.column_stack([noise, np.full(300, 5.0)]), target, np.arange(300) % 5)

    assert fitted.weights[1] > 0.8


def test_a_complete_candidate_has_the_defaults_of_its_number_of_rows() -> None:
    candidate = Candidate(FAMILIES["lightgbm"], {"num_leaves": 5}, 0)

    few, many = candidate.complete(300).parameters, candidate.complete(20_000).parameters

    assert few["num_leaves"] == many["num_leaves"] == 5
    assert few["n_estimators"] < many["n_estimators"]


def test_trials_that_were_stopped_early_are_ignored() -> None:
    """Their scores are of fewer folds."""
    assert selected(trial("ridge", 0.1, "race", alpha=1.0), trial("ridge", 0.6, alpha=2.0), most=1) == [
        ("ridge", {"alpha": 2.0}, 7)
    ]


def test_a_repeated_configuration_is_not_the_second_best() -> None:
    candidates = selected(trial("ridge", 0.6, alpha=2.0), trial("ridge", 0.6, alpha=2.0))

    assert candidates == [("ridge", {"alpha": 2.0}, 7), ("ridge", {"alpha": 2.0}, 8), MEAN_ROW]


def test_without_a_finished_trial_an_error_is_raised() -> None:
    with pytest.raises(ValueError, match="no trial"):
        select_candidates([trial("ridge", 0.1, "race")], 4, 0)


def test_every_row_is_predicted_by_a_model_that_was_fitted_without_its_fold(arrays: Arrays) -> None:
    candidate = select_candidates([trial("ridge", 0.1)], 1, 0)[0]

    predicted = out_of_fold(candidate, arrays)

    for fold in cross_validate(candidate.family, candidate.parameters, arrays, 0):
        assert np.array_equal(np.maximum(predicted[fold.rows], 0.0), fold.predicted)


def test_out_of_fold_predictions_are_summed_before_clipping_as_in_serving(arrays: Arrays) -> None:
    """A negative prediction lowers the sum; only the sum is clipped."""
    whole = np.arange(len(arrays.target))
    candidates = select_candidates([trial("ridge", 0.1), trial("elastic-net", 0.2)], 3, 0)[:2]
    served = Ensemble(
        (0.5, 0.5), tuple(fit(item.family, item.parameters, arrays, whole, item.seed) for item in candidates)
    )

    predicted = np.column_stack([out_of_fold(item, arrays) for item in candidates]).mean(axis=1)

    low = served.predict(arrays.inputs) < -0.1
    assert low.any()
    assert (predicted[low] < 0.0).mean() > 0.8


def test_negative_predictions_are_scored_as_zero() -> None:
    """Both candidates predict a negative value for repositories without stars: neither is better."""
    target = np.zeros(ROWS)

    fitted = fit_weights(np.column_stack([np.full(ROWS, -2.0), np.full(ROWS, -1.0)]), target, FOLDS)

    assert (fitted.gain, fitted.weights.sum()) == (0.0, 1.0)


def test_candidates_with_independent_errors_share_the_weight() -> None:
    fitted = fit_weights(noisy_predictions(0.5, 0.5), TARGET, FOLDS)

    assert fitted.weights == pytest.approx([0.5, 0.5], abs=0.05)
    assert fitted.gain == pytest.approx(0.5 - 0.5 / 2**0.5, abs=0.03)
    assert fitted.gain > fitted.error


def test_a_loss_within_its_standard_error_does_not_prevent_an_ensemble() -> None:
    """Few rows: the weights of the other folds are worse on one of them by chance."""
    random = np.random.default_rng(3)
    target, folds = random.normal(5.0, 1.0, 60), np.arange(60) % 3
    predictions = target[:, None] + random.normal(0.0, 0.5, (60, 2)) + (folds == 0)[:, None] * [[0.0, 1.2]]

    fitted = fit_weights(predictions, target, folds)

    assert -fitted.error < fitted.gain < 0.0
    assert fitted.weights.min() > 0.0


def test_of_few_rows_similar_models_have_similar_weights() -> None:
    """By chance, one of five equally good models, which mostly have the same errors, has the smallest error."""
    random, rows = np.random.default_rng(0), 90
    errors = 0.5 * random.normal(size=(9, rows, 1)) + 0.1 * random.normal(size=(9, rows, 5))
    found = [fit_weights(TARGET[:rows, None] + each, TARGET[:rows], FOLDS[:rows]).weights for each in errors]

    assert float(np.mean([np.ptp(weights) for weights in found])) < 0.2


def test_a_clearly_better_model_of_few_rows_has_most_of_the_weight() -> None:
    weights = fit_weights(noisy_predictions(0.2, 1.5)[:90], TARGET[:90], FOLDS[:90]).weights

    assert weights[0] > 0.8


def test_the_better_candidate_has_the_larger_weight() -> None:
    """With independent errors the best weights are proportional to the inverse variances."""
    assert fit_weights(noisy_predictions(0.5, 1.0), TARGET, FOLDS).weights == pytest.approx([0.8, 0.2], abs=0.04)


@pytest.mark.parametrize("seed", range(5))
def test_a_candidate_that_only_adds_noise_is_left_out(seed: int) -> None:
    first = noisy_predictions(0.5, seed=seed)
    noisy = first + np.random.default_rng(seed + 100).normal(size=first.shape)

    fitted = fit_weights(np.hstack([first, noisy]), TARGET, FOLDS)

    assert fitted.weights.tolist() == [1.0, 0.0]


def test_equal_candidates_gain_nothing() -> None:
    first = noisy_predictions(0.5)

    fitted = fit_weights(np.hstack([first, first]), TARGET, FOLDS)

    assert fitted.weights.tolist() == [1.0, 0.0]
    assert fitted.gain == pytest.approx(0.0, abs=1e-6)


def test_weights_sum_to_one_and_none_is_small() -> None:
    weights = fit_weights(noisy_predictions(0.5, 0.5, 3.9, 0.6, 9.0), TARGET, FOLDS).weights

    assert weights.sum() == pytest.approx(1.0)
    assert all(weight == 0.0 or weight >= MIN_WEIGHT for weight in weights)
    assert weights[4] == 0.0


def test_a_gain_on_a_single_fold_counts_as_noise() -> None:
    """The second candidate is perfect on one fold and useless on the others."""
    first = noisy_predictions(0.5)
    second = np.where(FOLDS == 0, TARGET, 0.0)[:, None]

    fitted = fit_weights(np.hstack([first, second]), TARGET, FOLDS)

    assert fitted.weights.tolist() == [1.0, 0.0]
    assert fitted.gain <= fitted.error


def test_a_single_candidate_has_weight_one() -> None:
    assert fit_weights(noisy_predictions(0.5), TARGET, FOLDS).weights.tolist() == [1.0]
