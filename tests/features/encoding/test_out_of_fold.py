"""Out-of-fold encodings depend neither on a row's own stars nor on the held-out fold."""

from __future__ import annotations

from collections.abc import Callable

import lightgbm
import numpy as np
import pandas as pd
import pytest

from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold
from stargaze.features.encoding.word_vectors import read_word_vectors

pytestmark = pytest.mark.thorough

MakeRepositories = Callable[..., pd.DataFrame]
FOLDS = 3
WORDS = ("fast", "parser", "web", "kernel", "game", "tool", "bot", "list", "json", "neural", "proxy", "shell")


@pytest.fixture(scope="module")
def repositories(make_repositories: MakeRepositories) -> pd.DataFrame:
    """Return synthetic repositories with texts, topics and owners of several repositories."""
    random = np.random.default_rng(3)
    frame = make_repositories(600)
    texts = [" ".join(random.choice(WORDS, 5)) for _ in range(600)]
    names = [f"owner{random.integers(80)}/r{number}" for number in range(600)]
    topics = [random.choice(WORDS, 2).tolist() for _ in range(600)]
    return frame.assign(description=texts, full_name=names, topics=topics)


@pytest.fixture(scope="module")
def folds() -> np.ndarray:
    """Return three folds, and every seventh row as test."""
    folds = np.random.default_rng(4).integers(0, FOLDS, 600)
    folds[::7] = -1
    return folds


@pytest.fixture(scope="module")
def target(repositories: pd.DataFrame) -> np.ndarray:
    """Return log1p of the stars."""
    return np.log1p(repositories["stars"].to_numpy())


@pytest.fixture(scope="module")
def encodings(repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray) -> OutOfFoldEncodings:
    """Return the encodings with owners."""
    return fit_out_of_fold(repositories, target, folds, seed=0, owners=True)


def test_a_training_row_is_encoded_without_the_stars_of_its_fold(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray, encodings: OutOfFoldEncodings
) -> None:
    """When the stars of a whole fold change, its encodings stay the same."""
    for fold in range(FOLDS):
        changed = np.where(folds == fold, 9.0, target)

        again = fit_out_of_fold(repositories, changed, folds, seed=0, owners=True)

        own = folds == fold
        assert again.values[own].equals(encodings.values[own])
        assert not again.values[~own].equals(encodings.values[~own])


def test_encodings_without_a_fold_do_not_depend_on_its_stars(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray, encodings: OutOfFoldEncodings
) -> None:
    for fold in range(FOLDS):
        again = fit_out_of_fold(repositories, np.where(folds == fold, 9.0, target), folds, seed=0, owners=True)

        assert np.array_equal(again.by_excluded_fold[fold], encodings.by_excluded_fold[fold], equal_nan=True)


def test_encodings_without_a_fold_do_not_depend_on_a_rows_own_stars_either(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray, encodings: OutOfFoldEncodings
) -> None:
    changed = np.where(folds == 1, 9.0, target)

    again = fit_out_of_fold(repositories, changed, folds, seed=0, owners=True)

    assert np.array_equal(
        again.by_excluded_fold[0][folds == 1], encodings.by_excluded_fold[0][folds == 1], equal_nan=True
    )


def test_held_out_rows_do_not_change_the_encodings(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray, encodings: OutOfFoldEncodings
) -> None:
    again = fit_out_of_fold(repositories, np.where(folds < 0, 9.0, target), folds, seed=0, owners=True)

    assert again.values.equals(encodings.values)
    assert again.encoder.to_bytes() == encodings.encoder.to_bytes()


def test_a_held_out_row_is_encoded_as_in_serving(
    repositories: pd.DataFrame, folds: np.ndarray, encodings: OutOfFoldEncodings
) -> None:
    held_out = folds < 0

    pd.testing.assert_frame_equal(
        encodings.encoder.transform(repositories[held_out]), encodings.values[held_out], rtol=1e-5
    )


def test_of_two_folds_a_row_is_missing_where_both_are_excluded(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray
) -> None:
    two_folds = np.where(folds == 2, 1, folds)

    encoded = fit_out_of_fold(repositories, target, two_folds, seed=0, owners=False)

    assert encoded.excluding_fold(0).loc[two_folds == 1, "text_score"].isna().all()
    assert encoded.excluding_fold(0).loc[two_folds == 0, "text_score"].notna().all()


@pytest.mark.parametrize("others", [1, 4])
def test_one_owner_may_have_almost_all_rows(repositories: pd.DataFrame, target: np.ndarray, others: int) -> None:
    """Outside that owner's fold are fewer rows than text components: the remaining components are 0."""
    lopsided = (np.arange(len(target)) < others).astype(int)

    encoded = fit_out_of_fold(repositories, target, lopsided, seed=0, owners=False)

    components = encoded.excluding_fold(0).filter(like="text_component")
    assert (components.iloc[:, others:] == 0.0).all(axis=None)
    assert components.iloc[:, 0].abs().max() > 0.0


def test_random_stars_are_not_predicted(repositories: pd.DataFrame, folds: np.ndarray) -> None:
    """With random stars and all encodings features, a model without leaks is no better than the mean; one with leaks is."""
    out_of_fold, leaking = [], []
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(size=len(folds))
        encodings = fit_out_of_fold(repositories, noise, folds, seed=seed, owners=True)
        in_sample = encodings.encoder.transform(repositories)
        out_of_fold.append(_r2(lambda fold, encodings=encodings: encodings.excluding_fold(fold), noise, folds))
        leaking.append(_r2(lambda _fold, in_sample=in_sample: in_sample, noise, folds))

    assert np.mean(out_of_fold) < 0.02
    assert np.mean(leaking) > 0.1


def _r2(encode: Callable[[int], pd.DataFrame], target: np.ndarray, folds: np.ndarray) -> float:
    """Cross-validate a small model; return its R²."""
    predicted = np.zeros(len(target))
    for fold in range(FOLDS):
        inputs = encode(fold).to_numpy()
        fitted, held_out = (folds >= 0) & (folds != fold), folds == fold
        parameters = {"num_leaves": 7, "learning_rate": 0.1, "verbose": -1, "num_threads": 1, "deterministic": True}
        model = lightgbm.train(parameters, lightgbm.Dataset(inputs[fitted], target[fitted]), 30)
        predicted[held_out] = np.asarray(model.predict(inputs[held_out]))
    training = folds >= 0
    return 1.0 - float(np.mean((predicted - target)[training] ** 2) / np.var(target[training]))


def test_embeddings_depend_neither_on_a_rows_own_stars_nor_on_the_excluded_fold(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray
) -> None:
    """The columns of words are the same as without embeddings."""

    def fit(stars: np.ndarray) -> OutOfFoldEncodings:
        return fit_out_of_fold(repositories, stars, folds, seed=0, owners=False, word_vectors=read_word_vectors())

    first, changed = fit(target), fit(np.where(folds == 1, 9.0, target))

    own, scores = folds == 1, [item.values["embedding_score"] for item in (first, changed)]
    position = list(first.values).index("embedding_score")
    assert scores[0][own].equals(scores[1][own])
    assert not scores[0][~own].equals(scores[1][~own])
    assert np.array_equal(first.by_excluded_fold[1], changed.by_excluded_fold[1], equal_nan=True)
    assert not np.array_equal(first.by_excluded_fold[0][:, position], changed.by_excluded_fold[0][:, position])
    without = fit_out_of_fold(repositories, target, folds, seed=0, owners=False).values
    assert first.values[list(without)].equals(without)


def test_copies_without_a_description_have_the_score_of_their_words(
    repositories: pd.DataFrame, target: np.ndarray, folds: np.ndarray
) -> None:
    copies = repositories.assign(description=None), folds

    encodings = fit_out_of_fold(
        repositories, target, folds, seed=0, owners=False, word_vectors=read_word_vectors(), copies=copies
    )

    assert encodings.values["embedding_score"].equals(encodings.values["text_score"].rename("embedding_score"))
    assert encodings.values["embedding_component_1"].isna().all()
