"""The catalog of all features, and the design matrix: float32 columns, categories as integer codes of a vocabulary."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from stargaze.features.encoding.encoder import LEARNED
from stargaze.features.extract import extract
from stargaze.features.feature_kinds import COMPUTED
from stargaze.features.registry import Feature

CATALOG: dict[str, Feature] = {**COMPUTED, **LEARNED}
"""Features computed from one record, then learned features. The result of the selection depends on this order."""
OTHER = 0.0
"""Code of a value that is not in the vocabulary; a missing value is NaN."""


def allowed_features(policy: str) -> list[Feature]:
    """Return the features that a policy may use; each policy includes the one before."""
    order = ("static", "activity", "all")
    rank = order.index(policy)
    return [feature for feature in CATALOG.values() if order.index(feature.policy) <= rank]


def build_matrix(
    repositories: pd.DataFrame,
    names: Sequence[str],
    vocabularies: Mapping[str, Sequence[str]],
    learned: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compute the input of a model: float32, shape (n_repositories, n_features), NaN where missing.

    Parameters
    ----------
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`.
    names : sequence of str
        Features, in the order the model expects; ValueError for an unknown one.
    vocabularies : mapping of str to sequence of str
        Known values of each category; the code of a value is its position plus one.
    learned : DataFrame, shape (n_repositories, n_learned), optional
        An encoder's columns of these repositories; ValueError if a name needs it.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> records = schema.conform(pd.DataFrame({"full_name": ["a/b", "a/c"], "language": ["Python", "Zig"]}))
    >>> build_matrix(records, ["language"], {"language": ["C", "Python"]})["language"].tolist()
    [2.0, 0.0]
    """
    encoded = [] if learned is None else [name for name in names if CATALOG[name].learned]
    columns = extract(repositories, [name for name in names if name not in encoded])
    for name in map(str, columns):
        if CATALOG[name].kind == "category":
            columns[name] = _encode_category(columns[name], vocabularies.get(name, ()))
    return pd.concat([columns, learned[encoded]], axis=1)[list(names)] if learned is not None and encoded else columns


def build_vocabulary(values: pd.Series, min_count: int = 20, max_size: int = 40) -> list[str]:
    """Return the values of a category that occur ``min_count`` times or more, at most ``max_size``, most frequent first.

    Examples
    --------
    >>> build_vocabulary(pd.Series(["C", "Go", "C", None, "Zig"]), min_count=1, max_size=2)
    ['C', 'Go']
    """
    counts = values.value_counts()
    frequent = counts[counts >= min_count].sort_index().sort_values(ascending=False, kind="stable")
    return [str(value) for value in frequent.index[:max_size]]


def category_positions(names: Sequence[str]) -> list[int]:
    """Return the positions of the categories among the names."""
    return [i for i, name in enumerate(names) if CATALOG[name].kind == "category"]


def own_features(names: Sequence[str], policy: str) -> list[int]:
    """Return the positions of the features that no narrower policy may use; none for ``static``, which needs no value."""
    return [i for i, name in enumerate(names) if CATALOG[name].policy == policy and policy != "static"]


def is_any_known(features: np.ndarray, columns: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return which rows have a value in one of the columns; all rows if there are no columns. Shape (n,).

    Examples
    --------
    >>> is_any_known(np.array([[1.0, np.nan], [1.0, 2.0]]), [1]).tolist(), is_any_known(np.zeros((1, 2)), []).tolist()
    ([False, True], [True])
    """
    known: np.ndarray = ~np.isnan(features[:, np.asarray(columns, dtype="int64")]).all(axis=1)
    return known if len(columns) else np.full(len(features), True)


def find_missing_fields(features: np.ndarray, names: Sequence[str], fields: Iterable[str]) -> np.ndarray:
    """Return which record fields each row lacks: no feature that reads the field is known. Shape (n, n_fields).

    Examples
    --------
    >>> find_missing_fields(np.array([[np.nan, 1.0]]), ["forks", "contributors"], ["forks", "contributors"]).tolist()
    [[True, False]]
    """
    if not (fields := tuple(fields)):
        return np.zeros((len(features), 0), dtype=bool)
    reads = _reading_features(tuple(names), fields)
    n_known = (~np.isnan(features)).astype("float32") @ reads
    return np.asarray((n_known == 0) & reads.any(axis=0))


@functools.lru_cache(maxsize=64)
def _reading_features(names: tuple[str, ...], fields: tuple[str, ...]) -> np.ndarray:
    """Return 1 where a feature reads a field; shape (n_names, n_fields)."""
    reads = [field in CATALOG[name].source for name in names for field in fields]
    return np.array(reads, dtype="float32").reshape(len(names), len(fields))


def _encode_category(values: pd.Series, vocabulary: Sequence[str]) -> pd.Series:
    code = {value.casefold(): float(i) for i, value in enumerate(vocabulary, start=1)}  # "javascript" is JavaScript
    codes = [code.get(value.casefold(), OTHER) if isinstance(value, str) else np.nan for value in values.tolist()]
    return pd.Series(codes, index=values.index, dtype="float32")
