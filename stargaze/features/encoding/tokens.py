"""Hashed words, topics, language, name and owner of repositories: the input of all encoders, computed once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from stargaze.features.encoding.csr_matrix import CsrMatrix
from stargaze.features.encoding.murmur3 import murmur3

BUCKETS = 2**14
"""Hash buckets of the words: two of a repository's forty words collide in one repository of twenty."""
_WORD = re.compile(r"[^\W_]+")
_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])")
"""Where a camel-case name is split."""


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
    """Words (n, :data:`BUCKETS`), topics, language, name and owner of n repositories."""

    words: CsrMatrix
    topics: Keys
    language: Keys
    name: Keys
    owner: Keys

    def take(self, rows: np.ndarray) -> TokenizedText:
        """Return the tokens of some rows."""
        keys = (self.topics, self.language, self.name, self.owner)
        return TokenizedText(self.words[rows], *(item.take(rows) for item in keys))


def tokenize(repositories: pd.DataFrame) -> TokenizedText:
    """Hash words, pairs of words, and names.

    Parameters
    ----------
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`; a missing text has no tokens.

    Returns
    -------
    TokenizedText

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = schema.conform(pd.DataFrame({"full_name": ["a/b"], "description": ["one two"], "language": ["C"]}))
    >>> text = tokenize(record)
    >>> len(text.words.data), len(text.language.keys), len(text.topics.keys)
    (6, 1, 0)
    """
    lower = repositories["full_name"].str.lower()
    topics = [list(map(str, value)) if _is_list(value) else [] for value in repositories["topics"]]
    texts = zip(repositories["full_name"].fillna(""), repositories["description"], topics, strict=True)
    return TokenizedText(
        count_tokens([_split_words(*text) for text in texts]),
        _hash_lists(topics),
        _hash_column(repositories["language"].str.lower()),
        _hash_column(lower.str.replace(r"^.*?/", "", regex=True)),
        _hash_column(lower.str.replace(r"/.*", "", regex=True)),
    )


def count_tokens(tokens: Sequence[Sequence[str]]) -> CsrMatrix:
    """Count the tokens of each row by bucket, with a sign each, so that collisions cancel on average.

    References
    ----------
    Weinberger et al., Feature hashing for large scale multitask learning, 2009.
    """
    codes = murmur3([token for row in tokens for token in row])
    rows = np.repeat(np.arange(len(tokens)), [len(row) for row in tokens])
    buckets, signs = np.abs(codes.astype("int64")) % BUCKETS, np.where(codes >= 0, 1.0, -1.0).astype("float32")
    return CsrMatrix.from_coordinates(signs, buckets, rows, (len(tokens), BUCKETS))


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _split_words(full_name: str, description: object, topics: Sequence[str]) -> list[str]:
    """Return words and pairs of adjacent words; the name's words occur twice, with and without the prefix "-"."""
    name = full_name.rpartition("/")[2]
    name_words = _WORD.findall(_WORD_BOUNDARY.sub(" ", name).lower())
    text_words = _WORD.findall(description.lower()) if isinstance(description, str) else []
    words = [f"={name.lower()}", *name_words, *text_words, *(f"#{topic.lower()}" for topic in topics)]
    name_pairs = [f"-{first} {second}" for first, second in pairwise(name_words)]
    text_pairs = [f"{first} {second}" for first, second in pairwise(text_words)]
    return [*words, *(f"-{word}" for word in name_words), *name_pairs, *text_pairs]


def _hash_lists(values: Sequence[Sequence[str]]) -> Keys:
    rows = np.repeat(np.arange(len(values)), [len(items) for items in values])
    return Keys(rows, _hash_texts([item.lower() for items in values for item in items]), len(values))


def _hash_column(values: pd.Series) -> Keys:
    known = np.flatnonzero(values.notna().to_numpy())
    return Keys(known, _hash_texts(values.iloc[known].tolist()), len(values))


def _hash_texts(texts: list[str]) -> np.ndarray:
    return pd.util.hash_array(np.array(texts, dtype="object")) if texts else np.zeros(0, dtype="uint64")
