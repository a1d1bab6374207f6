"""A repository gives the same numbers in any table; an unknown language is "other", not an error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.features.matrix import build_matrix, build_vocabulary, category_positions, find_missing_fields


def languages(*names: str | None) -> pd.DataFrame:
    """Return repositories of these languages."""
    return schema.conform(pd.DataFrame({"full_name": [f"a/{place}" for place in range(len(names))], "language": names}))


def test_a_code_is_the_position_in_the_vocabulary_and_0_is_any_other_value() -> None:
    codes = build_matrix(languages("C", "Python", "Zig", None, ""), ["language"], {"language": ["C", "Python"]})

    assert codes["language"].tolist()[:3] == [1.0, 2.0, 0.0]
    assert np.isnan(codes["language"].iloc[3])


def test_a_category_without_a_vocabulary_is_other() -> None:
    assert build_matrix(languages("C", None), ["language"], {})["language"].tolist()[0] == 0.0


def test_all_columns_are_float32_in_the_requested_order(make_repositories: Callable[..., pd.DataFrame]) -> None:
    names = ["forks", "language", "age", "license"]

    codes = build_matrix(make_repositories(20), names, {"language": ["C"], "license": ["mit"]})

    assert list(codes) == names
    assert set(map(str, codes.dtypes)) == {"float32"}


def test_categories_that_are_all_missing_are_missing() -> None:
    assert build_matrix(languages(None, None), ["language"], {"language": ["C"]})["language"].isna().all()


def test_a_vocabulary_has_the_frequent_values_most_frequent_first() -> None:
    values = pd.Series(["b"] * 30 + ["a"] * 30 + ["c"] * 40 + ["rare"] * 3 + [None] * 50, dtype="str")

    assert build_vocabulary(values) == ["c", "a", "b"]
    assert build_vocabulary(values, min_count=1, max_size=2) == ["c", "a"]


@pytest.mark.parametrize("seed", range(5))
def test_a_vocabulary_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    values = pd.Series(list("abcdefgh") * 25, dtype="str")

    assert build_vocabulary(values.sample(frac=1, random_state=seed)) == list("abcdefgh")


def test_the_positions_of_categories_are_returned() -> None:
    assert category_positions(["forks", "language", "age", "owner_type"]) == [1, 3]


def test_a_field_is_missing_if_no_feature_that_reads_it_is_known() -> None:
    """A field that no feature reads is not missing."""
    features = np.array([[np.nan, np.nan, 1.0], [np.nan, 2.0, np.nan], [3.0, np.nan, np.nan]], dtype="float32")
    names = ["age", "active_span", "forks"]

    missing = find_missing_fields(features, names, ["created_at", "pushed_at", "forks", "license"])

    rows = [[True, True, False, False], [False, False, True, False], [False, True, True, False]]
    assert missing.tolist() == rows
    assert find_missing_fields(features, names, []).shape == (3, 0)
