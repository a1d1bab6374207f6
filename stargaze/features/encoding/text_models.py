"""Models of the words of name, description and topics: a ridge regression on the stars, and components of an SVD."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.features.encoding.tokens import BUCKETS, CsrMatrix

N_COMPONENTS = 8
MAX_VALUE = 1e3
"""Largest number of a model: weights of words are below 25, coefficients below 20."""
PENALTY = 2.0
"""L2 penalty of the ridge regression, on rows of length 1."""


@dataclass(frozen=True)
class TfidfWeights:
    """The inverse document frequency of each word; shape (BUCKETS,)."""

    idf: np.ndarray

    @classmethod
    def fit(cls, words: CsrMatrix) -> TfidfWeights:
        """Fit on word counts, shape (n, BUCKETS), smoothed as in scikit-learn.

        Salton and Buckley, Term-weighting approaches in automatic text retrieval, 1988.
        """
        n_rows = np.bincount(words.indices, minlength=BUCKETS)
        return cls((np.log((1.0 + words.shape[0]) / (1.0 + n_rows)) + 1.0).astype("float32"))

    def transform(self, words: CsrMatrix) -> CsrMatrix:
        """Return weighted rows of length 1; a row without words stays empty."""
        data = np.sign(words.data) * np.log1p(np.abs(words.data)) * self.idf[words.indices]
        rows = words.rows
        length = np.sqrt(np.bincount(rows, data**2, words.shape[0]))
        scaled = (data / np.maximum(length[rows], 1e-9)).astype("float32")
        return CsrMatrix(scaled, words.indices, words.indptr, words.n_columns)


@dataclass(frozen=True)
class TextRidge:
    """A ridge regression of log1p(stars) [nat] on the weighted words."""

    weights: TfidfWeights
    coefficients: np.ndarray
    intercept: float

    @classmethod
    def fit(cls, words: CsrMatrix, target: np.ndarray) -> TextRidge:
        """Fit on word counts, shape (n, BUCKETS), and targets [nat], shape (n,)."""
        from sklearn.linear_model import Ridge

        weights = TfidfWeights.fit(words)
        with single_threaded_blas():
            ridge = Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4).fit(weights.transform(words).to_scipy(), target)
        return cls(weights, ridge.coef_.astype("float32"), float(ridge.intercept_))

    def transform(self, words: CsrMatrix) -> np.ndarray:
        """Return the predicted log1p(stars) [nat] of each row; shape (n,)."""
        return np.asarray(self.weights.transform(words) @ self.coefficients) + self.intercept

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`from_arrays` reads."""
        return {"idf": self.weights.idf, "coefficients": self.coefficients, "intercept": np.array(self.intercept)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TextRidge:
        """Read untrusted arrays; raise ValueError if their shapes or types are wrong."""
        idf, coefficients, intercept = (arrays[name] for name in ("idf", "coefficients", "intercept"))
        check_array(idf, (BUCKETS,))
        check_array(coefficients, (BUCKETS,))
        check_array(intercept, ())
        return cls(TfidfWeights(idf), coefficients, float(intercept))


@dataclass(frozen=True)
class TextComponents:
    """The principal components of the weighted words (latent semantic analysis); fitted without the stars."""

    weights: TfidfWeights
    components: np.ndarray

    @classmethod
    def fit(cls, words: CsrMatrix, seed: int) -> TextComponents:
        """Fit a truncated singular value decomposition; with fewer rows than components, the remaining ones are 0.

        Halko, Martinsson and Tropp, Finding structure with randomness, 2011.
        """
        from sklearn.utils.extmath import randomized_svd

        weights = TfidfWeights.fit(words)
        with single_threaded_blas():
            *_, fitted = randomized_svd(weights.transform(words).to_scipy(), N_COMPONENTS, n_iter=4, random_state=seed)
        components = np.zeros((BUCKETS, N_COMPONENTS), dtype="float32")
        components[:, : len(fitted)] = fitted.T
        return cls(weights, components)

    def transform(self, words: CsrMatrix) -> np.ndarray:
        """Return the coordinates of each row; shape (n, N_COMPONENTS)."""
        return np.asarray(self.weights.transform(words) @ self.components)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`from_arrays` reads."""
        return {"idf": self.weights.idf, "components": self.components}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TextComponents:
        """Read untrusted arrays; raise ValueError if their shapes or types are wrong."""
        check_array(arrays["idf"], (BUCKETS,))
        check_array(arrays["components"], (BUCKETS, N_COMPONENTS))
        return cls(TfidfWeights(arrays["idf"]), arrays["components"])


def check_array(array: np.ndarray, shape: tuple[int, ...], maximum: float = MAX_VALUE) -> None:
    """Raise ValueError for an array of another shape or type, or with numbers beyond a maximum."""
    if array.shape != shape or array.dtype.kind != "f" or not (np.abs(array) <= maximum).all():
        raise ValueError(f"array of shape {array.shape} instead of {shape}, or numbers beyond {maximum:g}")


def single_threaded_blas() -> AbstractContextManager[Any]:
    """Compute on one thread: sums over several threads differ in the last digits, and the selection may follow them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")  # type: ignore[no-any-return]
