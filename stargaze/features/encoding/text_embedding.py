"""The embedding of name, description, topics and README: a weighted sum of the vectors of their words, in few dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.encoding.text_models import check_array, single_threaded_blas
from stargaze.features.encoding.tokens import WORD_BOUNDARY, CsrMatrix
from stargaze.features.encoding.word_pieces import Vocabulary
from stargaze.features.encoding.word_vectors import WordVectors

N_DIMENSIONS = 64
"""Dimensions of an embedding: the principal components of those of the training rows."""
SMOOTHING = 1e-3
"""Relative frequency of a piece with half of the weight of a rare one."""
BATCH_ROWS = 1_000
"""Texts per batch: 30 MB of vectors."""
MIN_LENGTH = 0.5
"""Smallest length that is scaled to 1; texts of one table have a mean length of 13 to 16, equal texts of 0."""
MAX_COORDINATE = 1e4


@dataclass(frozen=True)
class TextEmbedding:
    """A vocabulary, the vectors of its pieces (n_pieces, N_DIMENSIONS), and the mean of the training rows (N_DIMENSIONS,)."""

    vocabulary: Vocabulary
    vectors: np.ndarray
    mean: np.ndarray

    @classmethod
    def fit(cls, words: WordVectors, pooled: np.ndarray) -> TextEmbedding:
        """Fit on the sums of the word vectors of n rows, shape (n, n_vectors); without the stars.

        With fewer rows than dimensions, the others are 0. The mean length of a training row is 1.
        """
        known = pooled[~np.isnan(pooled).any(axis=1)].astype("float64")
        mean = known.mean(axis=0) if len(known) else np.zeros(pooled.shape[1])
        with single_threaded_blas():
            _, axes = np.linalg.eigh((known - mean).T @ (known - mean))
            axes = axes[:, ::-1][:, :N_DIMENSIONS]
            axes *= np.sign(axes[np.abs(axes).argmax(axis=0), range(N_DIMENSIONS)])  # the sign of an axis is arbitrary
            axes /= max(_mean_length((known - mean) @ axes), MIN_LENGTH)
            return cls(words.vocabulary, (words.vectors @ axes).astype("float16"), (mean @ axes).astype("float32"))

    def transform(self, repositories: pd.DataFrame) -> np.ndarray:
        """Return the embedding of each repository; shape (n, N_DIMENSIONS), NaN without description and README."""
        return np.asarray(pool(count_pieces(self.vocabulary, repositories), self.vectors) - self.mean)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`from_arrays` reads."""
        return {"pieces": self.vocabulary.to_array(), "vectors": self.vectors, "mean": self.mean}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TextEmbedding:
        """Read untrusted arrays; raise ValueError if their shapes or types are wrong."""
        vocabulary = Vocabulary.from_array(arrays["pieces"])
        check_array(arrays["vectors"], (len(vocabulary.pieces), N_DIMENSIONS), MAX_COORDINATE)
        check_array(arrays["mean"], (N_DIMENSIONS,), MAX_COORDINATE)
        return cls(vocabulary, arrays["vectors"], arrays["mean"])


def _mean_length(rows: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum(rows**2, axis=1)))) if len(rows) else 0.0


def fit_text_embedding(repositories: pd.DataFrame, words: WordVectors) -> TextEmbedding:
    """Fit the embedding on the texts of training rows."""
    return TextEmbedding.fit(words, pool(count_pieces(words.vocabulary, repositories), words.vectors))


def embeddable_texts(repositories: pd.DataFrame) -> list[str]:
    """Return name, description, topics and README of each repository as one text; empty without description and README.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = {"full_name": ["a/webServer", "a/c"], "description": ["Serves files", None], "topics": [["http"], ["http"]]}
    >>> embeddable_texts(schema.conform(pd.DataFrame(record)))
    ['web Server Serves files http', '']
    """
    columns = (repositories[name] for name in ("full_name", "description", "topics", "readme"))
    return [_join(*values) for values in zip(*columns, strict=True)]


def _join(full_name: object, description: object, topics: object, readme: object) -> str:
    texts = [text.strip() for text in (description, readme) if isinstance(text, str)]
    if not any(texts):
        return ""
    name = WORD_BOUNDARY.sub(" ", full_name.rpartition("/")[2]) if isinstance(full_name, str) else ""
    listed: Iterable[object] = topics if isinstance(topics, (list, tuple, np.ndarray)) else ()
    return " ".join([name, *texts, *map(str, listed)])


def count_pieces(vocabulary: Vocabulary, repositories: pd.DataFrame) -> CsrMatrix:
    """Return how often each piece of a vocabulary occurs in the text of each repository; shape (n, n_pieces)."""
    return vocabulary.count(embeddable_texts(repositories))


def pool(pieces: CsrMatrix, vectors: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the vectors of each text's pieces; shape (n_texts, n_columns), NaN for a text without pieces.

    A frequent piece has a small weight; its frequency follows from its rank by Zipf's law. The sum is divided by the root of
    the squared weights, so that its length does not depend on the length of the text.

    References
    ----------
    Arora, Liang and Ma, A simple but tough-to-beat baseline for sentence embeddings, 2017.

    Examples
    --------
    >>> pieces = CsrMatrix(np.array([2.0]), np.array([1]), np.array([0, 1, 1]), 2)
    >>> pool(pieces, np.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [[0.0, 3.0], [nan, nan]]
    """
    frequency = 1.0 / (np.arange(1, pieces.shape[1] + 1) * np.log(pieces.shape[1] + 1))
    weights = np.log1p(pieces.data) * (SMOOTHING / (SMOOTHING + frequency))[pieces.indices]
    result = np.full((pieces.shape[0], vectors.shape[1]), np.nan, dtype="float32")
    for start in range(0, pieces.shape[0], BATCH_ROWS):
        bounds = pieces.indptr[start : start + BATCH_ROWS + 1]
        rows = start + np.flatnonzero(np.diff(bounds))
        if len(rows):
            weight = weights[bounds[0] : bounds[-1], None]
            starts = pieces.indptr[rows] - bounds[0]  # rows without pieces add nothing between two starts
            length = np.sqrt(np.add.reduceat(weight**2, starts))
            result[rows] = np.add.reduceat(weight * vectors[pieces.indices[bounds[0] : bounds[-1]]], starts) / length
    return result
