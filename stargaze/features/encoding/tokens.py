"""Hashed words, topics, language, name and owner of repositories: the input of all encoders, computed once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.schema import MAX_CODE
from stargaze.system.text import find_words

BUCKETS = MAX_CODE + 1
"""Hash buckets of the words: two of a repository's twenty words collide in one repository of eighty."""
WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])")
"""The positions at which a camel-case name is split."""


def murmur3(texts: Sequence[str]) -> np.ndarray:
    """Hash texts (UTF-8) as scikit-learn's FeatureHasher does; return int32, shape (n,).

    Appleby's MurmurHash3, x86, 32 bits, seed 0, in the public domain. Importing scikit-learn would cost a worker 65 MB.

    Examples
    --------
    >>> murmur3(["", "flask", "stars"]).tolist()
    [0, 548690082, -1655965037]
    """
    encoded = [text.encode("utf-8") for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype="int64", count=len(encoded))
    n_blocks = (lengths + 3) // 4
    hashes = np.zeros(len(encoded), dtype="uint32")
    for count in np.unique(n_blocks):
        rows = np.flatnonzero(n_blocks == count)
        padded = b"".join(encoded[row].ljust(4 * count, b"\0") for row in rows)
        blocks = np.frombuffer(padded, dtype="<u4").reshape(len(rows), count)
        hashes[rows] = _finalize(_mix(blocks, lengths[rows] % 4 == 0), lengths[rows].astype("uint32"))
    return hashes.view("int32")


def _mix(blocks: np.ndarray, is_full: np.ndarray) -> np.ndarray:
    """Mix in four bytes at a time; ``is_full`` marks the rows whose last block is not padded."""
    state = np.zeros(len(blocks), dtype="uint32")
    for i, block in enumerate(blocks.T):
        mixed = state ^ (_rotate_left(block * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593))
        after = _rotate_left(mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
        state = after if i + 1 < blocks.shape[1] else np.where(is_full, after, mixed)
    return state


def _finalize(state: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    state = state ^ lengths
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = (state ^ (state >> np.uint32(shift))) * np.uint32(factor)
    return np.asarray(state ^ (state >> np.uint32(16)))


def _rotate_left(values: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray((values << np.uint32(bits)) | (values >> np.uint32(32 - bits)))


@dataclass(frozen=True)
class CsrMatrix:
    """Row i has the values ``data[indptr[i]:indptr[i + 1]]`` in the columns ``indices`` of the same slice."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int

    @classmethod
    def from_coordinates(
        cls, values: np.ndarray, columns: np.ndarray, rows: np.ndarray, shape: tuple[int, int]
    ) -> CsrMatrix:
        """Build a matrix from values and their coordinates; values with the same coordinates are added.

        Examples
        --------
        >>> values, columns, rows = np.array([1.0, 1.0, 5.0]), np.array([2, 2, 0]), np.array([0, 0, 1])
        >>> matrix = CsrMatrix.from_coordinates(values, columns, rows, (2, 3))
        >>> matrix.data.tolist(), matrix.indices.tolist(), matrix.indptr.tolist()
        ([2.0, 5.0], [2, 0], [0, 1, 2])
        """
        cells, inverse = np.unique(rows.astype("int64") * shape[1] + columns, return_inverse=True)
        data = np.bincount(inverse, values, len(cells)).astype(values.dtype)
        ends = np.cumsum(np.bincount(cells // shape[1], minlength=shape[0]))
        return cls(data, (cells % shape[1]).astype("int32"), np.append(0, ends), shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.indptr) - 1, self.n_columns

    @property
    def rows(self) -> np.ndarray:
        """The row of each value."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def __getitem__(self, selected: np.ndarray) -> CsrMatrix:
        """Return rows by their numbers or by a mask."""
        rows = np.arange(self.shape[0])[selected]
        starts, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        ends = np.append(0, np.cumsum(counts))
        taken = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], counts)
        return CsrMatrix(self.data[taken], self.indices[taken], ends, self.n_columns)

    def __matmul__(self, dense: np.ndarray) -> np.ndarray:
        """Multiply by a vector or a matrix; sums run in the order of the columns, as in SciPy."""
        columns = dense.reshape(self.n_columns, -1).T
        product, rows = np.zeros((self.shape[0], len(columns)), dtype=np.result_type(self.data, dense)), self.rows
        for i, column in enumerate(columns):
            np.add.at(product[:, i], rows, self.data * column[self.indices])
        return product.reshape(self.shape[0], *dense.shape[1:])

    def to_scipy(self) -> Any:
        """Return a SciPy matrix, which scikit-learn can fit on."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.data, self.indices, self.indptr), shape=self.shape)


@dataclass(frozen=True)
class Keys:
    """The categories of n rows, any number per row: row ``rows[i]`` has the hashed name ``keys[i]``."""

    rows: np.ndarray
    keys: np.ndarray
    n: int

    def take(self, rows: np.ndarray) -> Keys:
        """Return the keys of some rows, renumbered from 0."""
        position = np.full(self.n, -1)
        position[rows] = np.arange(len(rows))
        selected = position[self.rows] >= 0
        return Keys(position[self.rows[selected]], self.keys[selected], len(rows))


@dataclass(frozen=True)
class TokenizedText:
    """Words (n, :data:`BUCKETS`), topics, language, name and owner of n repositories, and maybe embeddings of their texts."""

    words: CsrMatrix
    topics: Keys
    language: Keys
    name: Keys
    owner: Keys
    embedding: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> TokenizedText:
        """Return the tokens of some rows."""
        topics, language, name, owner = (
            item.take(rows) for item in (self.topics, self.language, self.name, self.owner)
        )
        embedding = None if self.embedding is None else self.embedding[rows]
        return TokenizedText(self.words[rows], topics, language, name, owner, embedding)


def tokenize(repositories: pd.DataFrame) -> TokenizedText:
    """Hash the words of names, descriptions and topics, and names of n repositories (columns of the schema).

    A missing text has no tokens. A description without its text has the stored ones.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = schema.conform(pd.DataFrame({"full_name": ["a/b"], "description": ["one two"], "language": ["C"]}))
    >>> text = tokenize(record)
    >>> len(text.words.data), len(text.language.keys), len(text.topics.keys)
    (5, 1, 0)
    """
    lower = repositories["full_name"].str.lower()
    topics = [list(map(str, value)) if _is_list(value) else [] for value in repositories["topics"]]
    texts = zip(repositories["full_name"].fillna(""), repositories["description"], topics, strict=True)
    return TokenizedText(
        count_tokens([_split_words(*text) for text in texts], _stored_tokens(repositories)),
        _hash_lists(topics),
        _hash_column(repositories["language"].str.lower()),
        _hash_column(lower.str.replace(r"^.*?/", "", regex=True)),
        _hash_column(lower.str.replace(r"/.*", "", regex=True)),
    )


def count_tokens(tokens: Sequence[Sequence[str]], stored: Sequence[np.ndarray] = ()) -> CsrMatrix:
    """Count the tokens of each row by bucket, with a sign each, so that collisions cancel on average.

    ``stored``: further tokens of each row, as codes of :func:`hash_tokens`.

    Weinberger et al., Feature hashing for large scale multitask learning, 2009.
    """
    codes = np.concatenate([hash_tokens([token for row in tokens for token in row]), *stored]).astype("int64")
    lengths = [*map(len, tokens), *map(len, stored)]
    rows = np.repeat(np.concatenate([np.arange(len(tokens)), np.arange(len(stored))]), lengths)
    buckets, signs = np.where(codes >= 0, codes, ~codes), np.where(codes >= 0, 1.0, -1.0).astype("float32")
    return CsrMatrix.from_coordinates(signs, buckets, rows, (len(tokens), BUCKETS))


def hash_tokens(tokens: Sequence[str]) -> np.ndarray:
    """Return the code of each token, int16: its bucket, or the complement of its bucket if its sign is negative.

    Examples
    --------
    >>> hash_tokens(["flask", "stars"]).tolist()
    [6306, -1390]
    """
    hashes = murmur3(tokens).astype("int64")
    buckets = np.abs(hashes) % BUCKETS
    return np.asarray(np.where(hashes >= 0, buckets, ~buckets), dtype="int16")


def hash_description(description: str) -> np.ndarray:
    """Return the codes of a description's words, sorted, so that nothing is left of their order."""
    return np.sort(hash_tokens(find_words(description)))


def _stored_tokens(repositories: pd.DataFrame) -> list[np.ndarray]:
    """Return the stored codes of each repository whose description has no text; nothing if no repository has any."""
    none = np.zeros(0, dtype="int16")
    pairs = zip(repositories["description_tokens"], repositories["description"].isna(), strict=True)
    stored = [np.asarray(codes, dtype="int16") if absent and _is_list(codes) else none for codes, absent in pairs]
    return stored if any(map(len, stored)) else []


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _split_words(full_name: str, description: object, topics: Sequence[str]) -> list[str]:
    """Return the words, and the name's words and pairs of adjacent words with the prefix "-".

    Pairs of words of the description do not improve the predictions.
    """
    name = full_name.rpartition("/")[2]
    name_words = find_words(WORD_BOUNDARY.sub(" ", name))
    text_words = find_words(description) if isinstance(description, str) else []
    words = [f"={name.lower()}", *name_words, *text_words, *(f"#{topic.lower()}" for topic in topics)]
    name_pairs = [f"-{first} {second}" for first, second in pairwise(name_words)]
    return [*words, *(f"-{word}" for word in name_words), *name_pairs]


def _hash_lists(values: Sequence[Sequence[str]]) -> Keys:
    rows = np.repeat(np.arange(len(values)), [len(items) for items in values])
    return Keys(rows, _hash_texts([item.lower() for items in values for item in items]), len(values))


def _hash_column(values: pd.Series) -> Keys:
    known = np.flatnonzero(values.notna().to_numpy())
    return Keys(known, _hash_texts(values.iloc[known].tolist()), len(values))


def _hash_texts(texts: list[str]) -> np.ndarray:
    return pd.util.hash_array(np.array(texts, dtype="object")) if texts else np.zeros(0, dtype="uint64")
