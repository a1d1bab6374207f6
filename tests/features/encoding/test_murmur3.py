"""Hashes equal those of scikit-learn, which fitted the encoders."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher
from sklearn.utils.murmurhash import murmurhash3_32

from stargaze.features.encoding.tokens import BUCKETS, count_tokens, murmur3

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(st.lists(TEXT, max_size=20))
def test_hashes_equal_those_of_scikit_learn(texts: list[str]) -> None:
    assert murmur3(texts).tolist() == [murmurhash3_32(text.encode(), seed=0) for text in texts]


@given(st.lists(st.lists(TEXT, max_size=8), min_size=1, max_size=5))
def test_token_counts_equal_those_of_scikit_learn(rows: list[list[str]]) -> None:
    expected = FeatureHasher(BUCKETS, input_type="string", dtype=np.float32).transform(rows)

    counts = count_tokens(rows)

    expected.sort_indices()
    for part in ("data", "indices", "indptr"):
        assert np.array_equal(getattr(counts, part), getattr(expected, part))
    assert counts.data.dtype == expected.dtype


def test_no_tokens_give_a_matrix_without_rows() -> None:
    assert count_tokens([]).shape == (0, BUCKETS)
