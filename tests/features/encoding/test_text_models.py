"""What words tell is the same on every machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from stargaze.features.encoding.text_models import TextComponents, TextRidge
from stargaze.features.encoding.tokens import tokenize

pytestmark = pytest.mark.thorough


def test_one_core_and_two_find_the_same_to_the_last_digit(sample: pd.DataFrame) -> None:
    """Sums over several threads differ in their last digits, and selected features with them."""
    words, target = tokenize(sample).words, np.log1p(sample["stars"].to_numpy())
    found = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            found.append((TextComponents.fit(words, 0).components, TextRidge.fit(words, target).coefficients))

    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])
