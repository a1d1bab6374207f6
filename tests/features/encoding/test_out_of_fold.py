"""What is learned is told to a row only by rows that have not seen its stars, and by none of a fold that is judged."""

from __future__ import annotations

from collections.abc import Callable

import lightgbm
import numpy as np
import pandas as pd
import pytest

from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold

pytestmark = pytest.mark.thorough

Plausible = Callable[..., pd.DataFrame]
FOLDS = 3
WORDS = ("fast", "parser", "web", "kernel", "game", "tool", "bot", "list", "json", "neural", "proxy", "shell")


@pytest.fixture(scope="module")
def repositories(plausible: Plausible) -> pd.DataFrame:
    """Made-up repositories with texts, topics and owners of several."""
    random = np.random.default_rng(3)
    frame = plausible(600)
    texts = [" ".join(random.choice(WORDS, 5)) for _ in range(600)]
    names = [f"owner{random.integers(80)}/r{number}" for number in range(600)]
    topics = [random.choice(WORDS, 2).tolist() for _ in range(600)]
    return frame.assign(description=texts, full_name=names, topics=topics)


@pytest.fixture(scope="module")
def side() -> np.ndarray:
    """Three folds, and every seventh row for the test."""
    side = np.random.default_rng(4).integers(0, FOLDS, 600)
    side[::7] = -1
    return side


@pytest.fixture(scope="module")
def target(repositories: pd.DataFrame) -> np.ndarray:
    """log1p of the stars."""
    return np.log1p(repositories["stars"].to_numpy())


@pytest.fixture(scope="module")
def learned(repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray) -> OutOfFoldEncodings:
    """Everything on, owners too."""
    return fit_out_of_fold(repositories, target, side, seed=0, owners=True)


def test_no_row_is_told_its_own_stars(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray, learned: OutOfFoldEncodings
) -> None:
    """The stars of a whole fold change: nothing that this fold is told does."""
    for fold in range(FOLDS):
        changed = np.where(side == fold, 9.0, target)

        again = fit_out_of_fold(repositories, changed, side, seed=0, owners=True)

        own = side == fold
        assert again.values[own].equals(learned.values[own])
        assert not again.values[~own].equals(learned.values[~own])


def test_a_model_that_has_not_seen_a_fold_is_told_nothing_that_the_fold_teaches(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray, learned: OutOfFoldEncodings
) -> None:
    for fold in range(FOLDS):
        again = fit_out_of_fold(repositories, np.where(side == fold, 9.0, target), side, seed=0, owners=True)

        assert np.array_equal(again.by_excluded_fold[fold], learned.by_excluded_fold[fold], equal_nan=True)


def test_not_even_then_is_a_row_told_its_own_stars(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray, learned: OutOfFoldEncodings
) -> None:
    changed = np.where(side == 1, 9.0, target)

    again = fit_out_of_fold(repositories, changed, side, seed=0, owners=True)

    assert np.array_equal(again.by_excluded_fold[0][side == 1], learned.by_excluded_fold[0][side == 1], equal_nan=True)


def test_rows_that_are_held_out_teach_nothing(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray, learned: OutOfFoldEncodings
) -> None:
    again = fit_out_of_fold(repositories, np.where(side < 0, 9.0, target), side, seed=0, owners=True)

    assert again.values.equals(learned.values)
    assert again.encoder.to_bytes() == learned.encoder.to_bytes()


def test_a_row_that_is_held_out_is_told_what_serving_tells(
    repositories: pd.DataFrame, side: np.ndarray, learned: OutOfFoldEncodings
) -> None:
    held = side < 0

    pd.testing.assert_frame_equal(learned.encoder.transform(repositories[held]), learned.values[held], rtol=1e-5)


def test_of_two_folds_nothing_is_left_to_tell_where_both_may_not_be_seen(
    repositories: pd.DataFrame, target: np.ndarray, side: np.ndarray
) -> None:
    two = np.where(side == 2, 1, side)

    told = fit_out_of_fold(repositories, target, two, seed=0, owners=False)

    assert told.excluding_fold(0).loc[two == 1, "text_score"].isna().all()
    assert told.excluding_fold(0).loc[two == 0, "text_score"].notna().all()


@pytest.mark.parametrize("others", [1, 4])
def test_one_owner_may_have_almost_all_rows(repositories: pd.DataFrame, target: np.ndarray, others: int) -> None:
    """Outside that owner's fold are fewer rows than the words have directions: those that are left lead nowhere."""
    lopsided = (np.arange(len(target)) < others).astype(int)

    told = fit_out_of_fold(repositories, target, lopsided, seed=0, owners=False)

    directions = told.excluding_fold(0).filter(like="text_component")
    assert (directions.iloc[:, others:] == 0.0).all(axis=None)
    assert directions.iloc[:, 0].abs().max() > 0.0


def test_stars_that_mean_nothing_are_not_predicted(repositories: pd.DataFrame, side: np.ndarray) -> None:
    """Shuffled stars, all learned columns on: what is judged without its own teachings is no better than the mean.

    Were a row's own stars in any of its columns, a model would find them: it does where it is told what it must not know.
    """
    honest, told = [], []
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(size=len(side))
        learned = fit_out_of_fold(repositories, noise, side, seed=seed, owners=True)
        cheating = learned.encoder.transform(repositories)
        honest.append(_r2(lambda fold, learned=learned: learned.excluding_fold(fold), noise, side))
        told.append(_r2(lambda _fold, cheating=cheating: cheating, noise, side))

    assert np.mean(honest) < 0.02
    assert np.mean(told) > 0.1


def _r2(known: Callable[[int], pd.DataFrame], target: np.ndarray, side: np.ndarray) -> float:
    """Cross-validate a small model; return the share of the variance that it explains out of fold."""
    predicted = np.zeros(len(target))
    for fold in range(FOLDS):
        inputs = known(fold).to_numpy()
        fitted, judged = (side >= 0) & (side != fold), side == fold
        parameters = {"num_leaves": 7, "learning_rate": 0.1, "verbose": -1, "num_threads": 1, "deterministic": True}
        model = lightgbm.train(parameters, lightgbm.Dataset(inputs[fitted], target[fitted]), 30)
        predicted[judged] = np.asarray(model.predict(inputs[judged]))
    training = side >= 0
    return 1.0 - float(np.mean((predicted - target)[training] ** 2) / np.var(target[training]))
