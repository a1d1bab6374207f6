"""The catalog of all features, and the design matrix: float32 columns, categories as integer codes of a vocabulary."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from stargaze.features.encoding.encoder import LEARNED
from stargaze.features.extract import extract
from stargaze.features.feature_kinds import COMPUTED
from stargaze.features.own_columns import OwnColumn, read_values
from stargaze.features.registry import Feature, Kind


class Catalog(dict[str, Feature]):
    """Features by name: those computed from one record, then learned ones, then own columns. Selection depends on this order."""

    def __init__(self, own_columns: Sequence[OwnColumn] = ()) -> None:
        super().__init__({**COMPUTED, **LEARNED})
        for column in own_columns:
            if column.name in self:
                raise ValueError(f"{column.name} is a feature of stargaze or occurs twice")
            self[column.name] = _own_feature(column)
        self.own_columns = tuple(own_columns)

    def __hash__(self) -> int:  # type: ignore[override]  # a catalog never changes
        return hash(self.own_columns)


def _own_feature(column: OwnColumn) -> Feature:
    kind: Kind = "category" if column.kind == "category" else "number"
    compute = functools.partial(read_values, column=column)
    return Feature(column.name, column.policy, column.kind, "own column", (column.name,), compute, kind)


CATALOG = Catalog()
"""The features of repositories without own columns."""
OTHER = 0.0
"""Code of a value that is not in the vocabulary; a missing value is NaN."""


@functools.lru_cache(maxsize=64)
def catalog_with(own_columns: tuple[OwnColumn, ...]) -> Catalog:
    """Return the catalog with own columns; raise ValueError if one has the name of another feature.

    Examples
    --------
    >>> catalog_with((OwnColumn("score", "number", "static"),))["score"].policy
    'static'
    """
    return Catalog(own_columns) if own_columns else CATALOG


def allowed_features(policy: str, catalog: Catalog = CATALOG) -> list[Feature]:
    """Return the features that a policy may use; each policy includes the one before."""
    order = ("static", "activity", "all")
    rank = order.index(policy)
    return [feature for feature in catalog.values() if order.index(feature.policy) <= rank]


def build_matrix(
    repositories: pd.DataFrame,
    names: Sequence[str],
    vocabularies: Mapping[str, Sequence[str]],
    learned: pd.DataFrame | None = None,
    catalog: Catalog = CATALOG,
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
    catalog : Catalog, optional
        The definitions of the features, with own columns if there are any.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> records = schema.conform(pd.DataFrame({"full_name": ["a/b", "a/c"], "language": ["Python", "Zig"]}))
    >>> build_matrix(records, ["language"], {"language": ["C", "Python"]})["language"].tolist()
    [2.0, 0.0]
    """
    encoded = [] if learned is None else [name for name in names if catalog[name].learned]
    columns = extract(repositories, [name for name in names if name not in encoded], catalog)
    for name in map(str, columns):
        if catalog[name].kind == "category":
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


def category_positions(names: Sequence[str], catalog: Catalog = CATALOG) -> list[int]:
    """Return the positions of the categories among the names."""
    return [i for i, name in enumerate(names) if catalog[name].kind == "category"]


def own_features(names: Sequence[str], policies: Sequence[str], policy: str, catalog: Catalog = CATALOG) -> list[int]:
    """Return the positions of the features that a policy may use and the next narrower of ``policies`` may not.

    ``policies`` are those with models, the narrowest first; it needs no value, so it has none.

    Examples
    --------
    >>> names = ["age", "contributors", "forks"]
    >>> [own_features(names, used, "all") for used in (["all"], ["static", "all"], ["static", "activity", "all"])]
    [[], [1, 2], [2]]
    """
    place = list(policies).index(policy)
    if place == 0:
        return []
    allowed, narrower = (
        {item.name for item in allowed_features(used, catalog)} for used in (policy, policies[place - 1])
    )
    return [i for i, name in enumerate(names) if name in allowed - narrower]


def is_any_known(features: np.ndarray, columns: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return which rows have a value in one of the columns; all rows if there are no columns. Shape (n,).

    Examples
    --------
    >>> is_any_known(np.array([[1.0, np.nan], [1.0, 2.0]]), [1]).tolist(), is_any_known(np.zeros((1, 2)), []).tolist()
    ([False, True], [True])
    """
    known: np.ndarray = ~np.isnan(features[:, np.asarray(columns, dtype="int64")]).all(axis=1)
    return known if len(columns) else np.full(len(features), True)


def find_missing_fields(
    features: np.ndarray, names: Sequence[str], fields: Iterable[str], catalog: Catalog = CATALOG
) -> np.ndarray:
    """Return which record fields each row lacks: no feature that reads the field is known. Shape (n, n_fields).

    Examples
    --------
    >>> find_missing_fields(np.array([[np.nan, 1.0]]), ["forks", "contributors"], ["forks", "contributors"]).tolist()
    [[True, False]]
    """
    if not (fields := tuple(fields)):
        return np.zeros((len(features), 0), dtype=bool)
    reads = _reading_features(tuple(names), fields, catalog.own_columns)
    n_known = (~np.isnan(features)).astype("float32") @ reads
    return np.asarray((n_known == 0) & reads.any(axis=0))


@functools.lru_cache(maxsize=64)
def _reading_features(
    names: tuple[str, ...], fields: tuple[str, ...], own_columns: tuple[OwnColumn, ...]
) -> np.ndarray:
    """Return 1 where a feature reads a field; shape (n_names, n_fields)."""
    catalog = catalog_with(own_columns)
    reads = [field in catalog[name].source for name in names for field in fields]
    return np.array(reads, dtype="float32").reshape(len(names), len(fields))


def _encode_category(values: pd.Series, vocabulary: Sequence[str]) -> pd.Series:
    code = {value.casefold(): float(i) for i, value in enumerate(vocabulary, start=1)}  # "javascript" is JavaScript
    codes = [code.get(value.casefold(), OTHER) if isinstance(value, str) else np.nan for value in values.tolist()]
    return pd.Series(codes, index=values.index, dtype="float32")
