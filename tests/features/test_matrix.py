"""The same repository is the same numbers, whatever else is in the table; a new language is "other", not an error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.features.matrix import build_matrix, build_vocabulary, category_positions


def languages(*names: str | None) -> pd.DataFrame:
    """Make repositories in these languages."""
    return schema.conform(pd.DataFrame({"full_name": [f"a/{place}" for place in range(len(names))], "language": names}))


def test_a_code_is_the_place_in_the_vocabulary_and_nought_is_any_other() -> None:
    found = build_matrix(languages("C", "Python", "Zig", None, ""), ["language"], {"language": ["C", "Python"]})

    assert found["language"].tolist()[:3] == [1.0, 2.0, 0.0]
    assert np.isnan(found["language"].iloc[3])


def test_a_category_without_a_vocabulary_is_other() -> None:
    assert build_matrix(languages("C", None), ["language"], {})["language"].tolist()[0] == 0.0


def test_all_is_float32_in_the_order_asked_for(plausible: Callable[..., pd.DataFrame]) -> None:
    names = ["forks", "language", "age", "license"]

    found = build_matrix(plausible(20), names, {"language": ["C"], "license": ["mit"]})

    assert list(found) == names
    assert set(map(str, found.dtypes)) == {"float32"}


def test_categories_that_are_all_missing_are_missing() -> None:
    assert build_matrix(languages(None, None), ["language"], {"language": ["C"]})["language"].isna().all()


def test_a_vocabulary_holds_what_is_frequent_most_frequent_first() -> None:
    values = pd.Series(["b"] * 30 + ["a"] * 30 + ["c"] * 40 + ["rare"] * 3 + [None] * 50, dtype="str")

    assert build_vocabulary(values) == ["c", "a", "b"]
    assert build_vocabulary(values, min_count=1, max_size=2) == ["c", "a"]


@pytest.mark.parametrize("seed", range(5))
def test_a_vocabulary_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    values = pd.Series(list("abcdefgh") * 25, dtype="str")

    assert build_vocabulary(values.sample(frac=1, random_state=seed)) == list("abcdefgh")


def test_the_places_of_categories_are_known() -> None:
    assert category_positions(["forks", "language", "age", "owner_type"]) == [1, 3]
