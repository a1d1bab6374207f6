"""Text models give the same digits on every machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from stargaze.features.encoding.text_models import TextComponents, TextRidge
from stargaze.features.encoding.tokens import tokenize

pytestmark = pytest.mark.thorough


def test_one_core_and_two_give_the_same_digits(sample: pd.DataFrame) -> None:
    """Sums over several threads differ in the last digits, which could change the selection."""
    words, target = tokenize(sample).words, np.log1p(sample["stars"].to_numpy())
    results = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            results.append((TextComponents.fit(words, 0).components, TextRidge.fit(words, target).coefficients))

    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
