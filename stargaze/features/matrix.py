"""From repositories to the numbers a model is fitted on: features, and categories as codes of a fixed vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from stargaze.features.catalog import CATALOG
from stargaze.features.extract import extract

OTHER = 0.0
"""Code of a value that is not in the vocabulary; a missing value is NaN."""


def build_matrix(
    repositories: pd.DataFrame,
    names: Sequence[str],
    vocabularies: Mapping[str, Sequence[str]],
    learned: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Compute the input of a model.

    Parameters
    ----------
    repositories : DataFrame, shape (n_repositories, n_fields)
        Columns of :mod:`stargaze.features.schema`.
    names : sequence of str
        Features, in the order the model expects.
    vocabularies : mapping of str to sequence of str
        For each category its known values; the code is the place in it plus one.

    learned : DataFrame, shape (n_repositories, n_learned), optional
        What an encoder tells of these repositories, if any of the names is learned.

    Returns
    -------
    DataFrame of float32, shape (n_repositories, n_features)
        Categories as codes; missing values are NaN.

    Examples
    --------
    >>> from stargaze.features import schema
    >>> records = schema.conform(pd.DataFrame({"full_name": ["a/b", "a/c"], "language": ["Python", "Zig"]}))
    >>> build_matrix(records, ["language"], {"language": ["C", "Python"]})["language"].tolist()
    [2.0, 0.0]
    """
    told = [] if learned is None else [name for name in names if CATALOG[name].learned]
    columns = extract(repositories, [name for name in names if name not in told])
    for name in columns:
        if CATALOG[str(name)].kind == "category":
            columns[name] = _codes(columns[name], vocabularies.get(str(name), ()))
    return pd.concat([columns, learned[told]], axis=1)[list(names)] if learned is not None and told else columns


def build_vocabulary(values: pd.Series, least: int = 20, most: int = 40) -> list[str]:
    """Return the values seen at least ``least`` times, most frequent first, at most ``most``."""
    counts = values.value_counts()
    frequent = counts[counts >= least].sort_index().sort_values(ascending=False, kind="stable")
    return [str(value) for value in frequent.index[:most]]


def category_positions(names: Sequence[str]) -> list[int]:
    """Return the places of the categories among the names."""
    return [place for place, name in enumerate(names) if CATALOG[name].kind == "category"]


def _codes(values: pd.Series, known: Sequence[str]) -> pd.Series:
    code = {value.casefold(): float(place) for place, value in enumerate(known, start=1)}  # "javascript" is JavaScript
    codes = [code.get(value.casefold(), OTHER) if isinstance(value, str) else np.nan for value in values.tolist()]
    return pd.Series(codes, index=values.index, dtype="float32")
