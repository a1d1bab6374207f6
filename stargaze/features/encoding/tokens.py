"""What a record says in words and names, as numbers that encodings are fitted on: hashed once, whatever is fitted then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from stargaze.features.encoding.csr_matrix import CsrMatrix
from stargaze.features.encoding.murmur3 import murmur3

BUCKETS = 2**14
"""Places that words are hashed to: two of a repository's forty words meet once in twenty repositories."""
_WORD = re.compile(r"[^\W_]+")
_SEAM = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])")


@dataclass(frozen=True)
class Keys:
    """Which keys each row has: ``keys[i]`` belongs to row ``rows[i]`` of ``n``; a key is a hashed name."""

    rows: np.ndarray
    keys: np.ndarray
    n: int

    def of(self, rows: np.ndarray) -> Keys:
        """Return those of some rows, numbered anew."""
        place = np.full(self.n, -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.rows] >= 0
        return Keys(place[self.rows[kept]], self.keys[kept], len(rows))


@dataclass(frozen=True)
class TokenizedText:
    """Words (n, :data:`BUCKETS`), topics, language, name and owner of n repositories."""

    words: CsrMatrix
    topics: Keys
    language: Keys
    name: Keys
    owner: Keys

    def of(self, rows: np.ndarray) -> TokenizedText:
        """Return what some rows say."""
        keys = (self.topics, self.language, self.name, self.owner)
        return TokenizedText(self.words[rows], *(item.of(rows) for item in keys))


def tokenize(repositories: pd.DataFrame) -> TokenizedText:
    """Hash what repositories say: words, pairs of words, and names.

    Parameters
    ----------
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`; a missing text says nothing.

    Returns
    -------
    Said

    Examples
    --------
    >>> from stargaze.features import schema
    >>> record = schema.conform(pd.DataFrame({"full_name": ["a/b"], "description": ["one two"], "language": ["C"]}))
    >>> len(tokenize(record).words.data), len(tokenize(record).language.keys), len(tokenize(record).topics.keys)
    (6, 1, 0)
    """
    lower = repositories["full_name"].str.lower()
    topics = [list(map(str, value)) if _is_list(value) else [] for value in repositories["topics"]]
    texts = zip(repositories["full_name"].fillna(""), repositories["description"], topics, strict=True)
    tokens = [_tokens(name, description, of_it) for name, description, of_it in texts]
    return TokenizedText(
        _counted(tokens),
        _keys(topics),
        _one_key(repositories["language"].str.lower()),
        _one_key(lower.str.replace(r"^.*?/", "", regex=True)),
        _one_key(lower.str.replace(r"/.*", "", regex=True)),
    )


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray))


def _tokens(full_name: str, description: object, topics: Sequence[str]) -> list[str]:
    """Return words and pairs of neighbours; those of the name twice, as the name's and as anybody's."""
    name = full_name.rpartition("/")[2]
    own = _WORD.findall(_SEAM.sub(" ", name).lower())
    text = _WORD.findall(description.lower()) if isinstance(description, str) else []
    found = [f"={name.lower()}", *own, *text, *(f"#{topic.lower()}" for topic in topics)]
    return [*found, *(f"-{word}" for word in own), *_pairs("-", own), *_pairs("", text)]


def _counted(tokens: Sequence[Sequence[str]]) -> CsrMatrix:
    """Add up the tokens of each row in their buckets, with a sign each, so that what meets by chance cancels on the average."""
    code = murmur3([token for of_row in tokens for token in of_row])
    rows = np.repeat(np.arange(len(tokens)), [len(of_row) for of_row in tokens])
    places, signs = np.abs(code.astype("int64")) % BUCKETS, np.where(code >= 0, 1.0, -1.0).astype("float32")
    return CsrMatrix.of(signs, places, rows, (len(tokens), BUCKETS))


def _pairs(mark: str, words: Sequence[str]) -> Iterable[str]:
    return (f"{mark}{first} {second}" for first, second in pairwise(words))


def _keys(values: Sequence[Sequence[str]]) -> Keys:
    rows = np.repeat(np.arange(len(values)), [len(items) for items in values])
    return Keys(rows, _hashed([item.lower() for items in values for item in items]), len(values))


def _one_key(values: pd.Series) -> Keys:
    known = np.flatnonzero(values.notna().to_numpy())
    return Keys(known, _hashed(values.iloc[known].tolist()), len(values))


def _hashed(texts: list[str]) -> np.ndarray:
    return pd.util.hash_array(np.array(texts, dtype="object")) if texts else np.zeros(0, dtype="uint64")
