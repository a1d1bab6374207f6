"""A ridge regression of the stars on words and embeddings: repositories with a similar text have similar stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stargaze.features.encoding.text_embedding import MAX_COORDINATE, N_DIMENSIONS
from stargaze.features.encoding.text_models import TextRidge, TfidfWeights, check_array, single_threaded_blas
from stargaze.features.encoding.tokens import BUCKETS, CsrMatrix

MAX_LANDMARKS = 512
"""Training rows with which a text is compared."""
PENALTY = 2.5
"""L2 penalty, on weighted words of length 1 and embeddings of a mean length of 1."""
TOLERANCE = 1e-4
"""Residual at which the coefficients of words are solved [share of the right side]."""
JITTER = 1e-4
"""Smallest eigenvalue of the similarities of landmarks that is used, relative to the largest one."""


@dataclass(frozen=True)
class EmbeddingRidge:
    """Coefficients of the weighted words and of the similarity to landmarks, shape (n_landmarks, N_DIMENSIONS).

    It is a kernel ridge regression (Gaussian process) whose kernel is the sum of a linear one of the words and a Gaussian one
    of the embeddings, approximated by landmarks.

    References
    ----------
    Williams and Seeger, Using the Nyström method to speed up kernel machines, 2001.
    """

    text: TextRidge
    landmarks: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def fit(cls, words: CsrMatrix, embedding: np.ndarray, target: np.ndarray) -> EmbeddingRidge:
        """Fit on word counts (n, BUCKETS), embeddings (n, N_DIMENSIONS) and targets [nat] (n,).

        Rows without an embedding are left out; without any other row, the mean of the targets is predicted.
        """
        rows = np.flatnonzero(~np.isnan(embedding).any(axis=1))
        weights = TfidfWeights.fit(words[rows])
        if not len(rows):
            return cls(
                TextRidge(weights, np.zeros(BUCKETS, "float32"), float(target.mean())),
                embedding[:0],
                np.zeros(0, "float32"),
            )
        landmarks = embedding[rows[_spread(len(rows), MAX_LANDMARKS)]]
        with single_threaded_blas():
            whitening = _whiten(similarity(landmarks, landmarks))
            features = similarity(embedding[rows], landmarks) @ whitening
            linear, kernel, intercept = _solve_ridge(weights.transform(words[rows]), features, target[rows])
        text = TextRidge(weights, linear.astype("float32"), intercept)
        return cls(text, landmarks, (whitening @ kernel).astype("float32"))

    def transform(self, words: CsrMatrix, embedding: np.ndarray) -> np.ndarray:
        """Return the predicted log1p(stars) [nat] of each row; shape (n,), NaN without embedding."""
        known = ~np.isnan(embedding).any(axis=1)
        predicted = np.full(len(embedding), np.nan, dtype="float32")
        if known.any():
            kernel = similarity(embedding[known], self.landmarks) @ self.coefficients
            predicted[known] = self.text.transform(words[known]) + kernel
        return predicted

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`from_arrays` reads."""
        kernel = {"landmarks": self.landmarks, "kernel_coefficients": self.coefficients}
        return self.text.to_arrays() | kernel

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> EmbeddingRidge:
        """Read untrusted arrays; raise ValueError if their shapes or types are wrong."""
        landmarks, coefficients = arrays["landmarks"], arrays["kernel_coefficients"]
        if landmarks.ndim != 2 or len(landmarks) > MAX_LANDMARKS:
            raise ValueError("text embedding: landmarks of a wrong shape")
        check_array(landmarks, (len(landmarks), N_DIMENSIONS), MAX_COORDINATE)
        check_array(coefficients, (len(landmarks),))
        return cls(TextRidge.from_arrays(arrays), landmarks, coefficients)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Gaussian similarity of all pairs of embeddings, 1 for equal ones; shape (n_first, n_second).

    Examples
    --------
    >>> similarity(np.array([[0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])).round(2).tolist()
    [[1.0, 0.37]]
    """
    squares = np.sum(first**2, axis=1)[:, None] + np.sum(second**2, axis=1) - 2.0 * (first @ second.T)
    return np.asarray(np.exp(-np.maximum(squares, 0.0)))


def _spread(n: int, n_chosen: int) -> np.ndarray:
    """Return at most ``n_chosen`` of the numbers below n, evenly spread."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(n, n_chosen)).round().astype("int64"))


def _whiten(similarities: np.ndarray) -> np.ndarray:
    """Return the matrix that makes features of similarities to landmarks, whose products are similarities again; (n, n)."""
    values, vectors = np.linalg.eigh(similarities.astype("float64"))
    used = values > JITTER * values.max(initial=0.0)
    inverse = np.divide(
        1.0, np.sqrt(values, where=used, out=np.ones_like(values)), where=used, out=np.zeros_like(values)
    )
    return np.asarray((vectors * inverse) @ vectors.T)


def _solve_ridge(words: CsrMatrix, features: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the coefficients of words (n, n_words) and features (n, n_features), with one penalty, and the free intercept.

    The features and the intercept are eliminated, which leaves a well-conditioned system for the words.
    """
    from scipy.linalg import cho_factor, cho_solve
    from scipy.sparse.linalg import LinearOperator, cg

    sparse, dense = words.to_scipy().astype("float64"), np.column_stack([np.ones(len(target)), features])
    penalties = np.diag(np.append(0.0, np.full(features.shape[1], PENALTY)))
    factor = cho_factor(dense.T @ dense + penalties)

    def project(values: np.ndarray) -> np.ndarray:
        return np.asarray(values - dense @ cho_solve(factor, dense.T @ values))

    def multiply(linear: np.ndarray) -> np.ndarray:
        return np.asarray(sparse.T @ project(sparse @ linear) + PENALTY * linear)

    operator = LinearOperator((words.n_columns, words.n_columns), matvec=multiply, dtype="float64")
    linear, _ = cg(operator, sparse.T @ project(target), rtol=TOLERANCE)
    intercept, *kernel = cho_solve(factor, dense.T @ (target - sparse @ linear))
    return linear, np.array(kernel), float(intercept)
