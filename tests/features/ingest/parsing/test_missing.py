"""Missing values are found in every spelling and type."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features.ingest.parsing.missing import MISSING, find_missing


@pytest.mark.parametrize("dtype", ["object", "str"])
def test_spellings_are_missing_and_other_words_are_not(dtype: str) -> None:
    texts = [*sorted(MISSING), " NULL ", "\\N ", "none of it", "0", "-1", "nano"]

    assert find_missing(pd.Series(texts, dtype=dtype)).tolist() == [True] * (len(MISSING) + 2) + [False] * 4


def test_values_of_other_types_are_not_missing() -> None:
    values = [None, np.nan, pd.NaT, pd.NA, 0, False, [], {}, b"", "x" * 10**6]

    assert find_missing(pd.Series(values, dtype="object")).tolist() == [True] * 4 + [False] * 6


def test_numbers_are_missing_if_they_are_nan() -> None:
    assert find_missing(pd.Series([1.0, np.nan])).tolist() == [False, True]
    assert find_missing(pd.Series([1, None], dtype="Int64")).tolist() == [False, True]
