"""The ridge of embeddings predicts from similar texts, in as few landmarks as it may use."""

from __future__ import annotations

import numpy as np
import pytest

from stargaze.features.encoding.embedding_ridge import PENALTY, EmbeddingRidge, similarity
from stargaze.features.encoding.text_embedding import N_DIMENSIONS
from stargaze.features.encoding.text_models import TfidfWeights
from stargaze.features.encoding.tokens import CsrMatrix, count_tokens

N = 300


@pytest.fixture
def words() -> CsrMatrix:
    """Two words of fifty in each row."""
    random = np.random.default_rng(1)
    return count_tokens([[f"w{random.integers(50)}", f"w{random.integers(50)}"] for _ in range(N)])


@pytest.fixture
def embedding() -> np.ndarray:
    """Embeddings with a mean length of 1, most of it in few dimensions."""
    rows = np.random.default_rng(2).normal(size=(N, N_DIMENSIONS)) / (1.0 + np.arange(N_DIMENSIONS))
    return (rows / np.sqrt(np.mean(np.sum(rows**2, axis=1)))).astype("float32")


@pytest.fixture
def target(embedding: np.ndarray) -> np.ndarray:
    """A function of the embeddings that is not linear."""
    return 5.0 + 2.0 * embedding[:, 0] ** 2


def test_it_is_a_kernel_ridge_regression(words: CsrMatrix, embedding: np.ndarray, target: np.ndarray) -> None:
    """All rows are landmarks here, so nothing is approximated but the intercept, which is not penalized."""
    fitted = EmbeddingRidge.fit(words, embedding, target)

    rows = TfidfWeights.fit(words).transform(words).to_scipy()
    kernel = (rows @ rows.T).toarray() + similarity(embedding, embedding)
    system = np.block([[kernel + PENALTY * np.eye(N), np.ones((N, 1))], [np.ones((1, N)), np.zeros((1, 1))]])
    solution = np.linalg.solve(system, np.append(target, 0.0))
    assert fitted.transform(words, embedding) == pytest.approx(kernel @ solution[:-1] + solution[-1], abs=0.02)


def test_few_landmarks_are_enough(
    words: CsrMatrix, embedding: np.ndarray, target: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = EmbeddingRidge.fit(words, embedding, target).transform(words, embedding)
    monkeypatch.setattr("stargaze.features.encoding.embedding_ridge.MAX_LANDMARKS", 60)

    fitted = EmbeddingRidge.fit(words, embedding, target)

    assert fitted.landmarks.shape == (60, N_DIMENSIONS)
    assert np.corrcoef(fitted.transform(words, embedding), exact)[0, 1] > 0.9


def test_a_row_without_embedding_has_no_prediction(words: CsrMatrix, embedding: np.ndarray, target: np.ndarray) -> None:
    embedding[::3] = np.nan

    predicted = EmbeddingRidge.fit(words, embedding, target).transform(words, embedding)

    assert np.isnan(predicted).tolist() == [row % 3 == 0 for row in range(N)]


def test_without_any_embedding_the_mean_is_predicted(
    words: CsrMatrix, embedding: np.ndarray, target: np.ndarray
) -> None:
    fitted = EmbeddingRidge.fit(words, np.full_like(embedding, np.nan), target)

    assert fitted.transform(words, embedding) == pytest.approx(target.mean(), abs=1e-4)


def test_equal_texts_are_one_landmark_in_effect(words: CsrMatrix, embedding: np.ndarray, target: np.ndarray) -> None:
    equal = np.tile(embedding[:1], (N, 1))

    predicted = EmbeddingRidge.fit(words, equal, target).transform(words, equal)

    assert np.isfinite(predicted).all()
