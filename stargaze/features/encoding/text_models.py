"""What the words of name, description and topics tell: a score that is fitted on stars, and directions that are not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.features.encoding.csr_matrix import CsrMatrix
from stargaze.features.encoding.tokens import BUCKETS

N_COMPONENTS = 8
PENALTY = 3.0
"""Of the ridge, on rows of length 1."""


@dataclass(frozen=True)
class TfidfWeights:
    """How rare each word is among the rows that were seen; shape (BUCKETS,)."""

    rarity: np.ndarray

    @classmethod
    def fit(cls, words: CsrMatrix) -> TfidfWeights:
        """Count in how many rows each word is.

        References
        ----------
        Salton and Buckley, Term-weighting approaches in automatic text retrieval, 1988; smoothed as scikit-learn does.
        """
        there = np.bincount(words.indices, minlength=BUCKETS)
        return cls((np.log((1.0 + words.shape[0]) / (1.0 + there)) + 1.0).astype("float32"))

    def transform(self, words: CsrMatrix) -> CsrMatrix:
        """Return rows of length 1 in which a rare word weighs more; a row without a word stays empty."""
        data = np.sign(words.data) * np.log1p(np.abs(words.data)) * self.rarity[words.indices]
        rows = words.rows
        length = np.sqrt(np.bincount(rows, data**2, words.shape[0]))
        scaled = (data / np.maximum(length[rows], 1e-9)).astype("float32")
        return CsrMatrix(scaled, words.indices, words.indptr, words.n_columns)


@dataclass(frozen=True)
class TextRidge:
    """log1p(stars) [nat] as a ridge on weighted words alone predicts it."""

    weights: TfidfWeights
    slope: np.ndarray
    start: float

    @classmethod
    def fit(cls, words: CsrMatrix, target: np.ndarray) -> TextRidge:
        """Fit on rows of words (n, BUCKETS) and their targets [nat] (n,)."""
        from sklearn.linear_model import Ridge

        weights = TfidfWeights.fit(words)
        with _the_same_everywhere():
            ridge = Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-4).fit(weights.transform(words).as_scipy(), target)
        return cls(weights, ridge.coef_.astype("float32"), float(ridge.intercept_))

    def transform(self, words: CsrMatrix) -> np.ndarray:
        """Return the score of each row; shape (n,)."""
        return np.asarray(self.weights.transform(words) @ self.slope) + self.start

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`read` reads."""
        return {"rarity": self.weights.rarity, "slope": self.slope, "start": np.array(self.start)}

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> TextRidge:
        """Read arrays, whoever wrote them; raise ValueError if they are of another shape."""
        rarity, slope, start = (arrays[name] for name in ("rarity", "slope", "start"))
        _check(rarity, (BUCKETS,))
        _check(slope, (BUCKETS,))
        _check(start, ())
        return cls(TfidfWeights(rarity), slope, float(start))


@dataclass(frozen=True)
class TextComponents:
    """The few directions along which weighted words differ most; fitted without looking at stars."""

    weights: TfidfWeights
    axes: np.ndarray

    @classmethod
    def fit(cls, words: CsrMatrix, seed: int) -> TextComponents:
        """Find the directions by a truncated singular value decomposition; axes (BUCKETS, N_COMPONENTS), none beyond the rows.

        References
        ----------
        Halko, Martinsson and Tropp, Finding structure with randomness, 2011.
        """
        from sklearn.utils.extmath import randomized_svd

        weights = TfidfWeights.fit(words)
        with _the_same_everywhere():
            *_, found = randomized_svd(weights.transform(words).as_scipy(), N_COMPONENTS, n_iter=4, random_state=seed)
        axes = np.zeros((BUCKETS, N_COMPONENTS), dtype="float32")
        axes[:, : len(found)] = found.T
        return cls(weights, axes)

    def transform(self, words: CsrMatrix) -> np.ndarray:
        """Return the place of each row along each direction; shape (n, N_COMPONENTS)."""
        return np.asarray(self.weights.transform(words) @ self.axes)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`read` reads."""
        return {"rarity": self.weights.rarity, "axes": self.axes}

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> TextComponents:
        """Read arrays, whoever wrote them; raise ValueError if they are of another shape."""
        _check(arrays["rarity"], (BUCKETS,))
        _check(arrays["axes"], (BUCKETS, N_COMPONENTS))
        return cls(TfidfWeights(arrays["rarity"]), arrays["axes"])


def _check(array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"numbers of shape {array.shape} instead of {shape}")


def _the_same_everywhere() -> AbstractContextManager[Any]:
    """Compute on one thread: sums over several differ in their last digits, and all that is selected later may follow them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")  # type: ignore[no-any-return]
