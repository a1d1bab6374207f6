"""Hashes equal those of scikit-learn, and the sparse matrix gives the same sums as SciPy's, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher
from sklearn.utils.murmurhash import murmurhash3_32

from stargaze.features.encoding.tokens import BUCKETS, CsrMatrix, count_tokens, murmur3


@st.composite
def tables(draw: st.DrawFn) -> CsrMatrix:
    """Return a matrix of a few values, many of them in the same cell."""
    n_rows, n_columns = draw(st.integers(0, 5)), draw(st.integers(1, 6))
    n = draw(st.integers(0, 30)) if n_rows else 0
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    coordinates = random.integers(0, n_columns, n), random.integers(0, max(n_rows, 1), n)
    return CsrMatrix.from_coordinates(random.normal(size=n).astype("float32"), *coordinates, (n_rows, n_columns))


@given(table=tables(), seed=st.integers(0, 2**32), wide=st.booleans())
def test_products_equal_those_of_scipy(table: CsrMatrix, seed: int, wide: bool) -> None:
    shape = (table.n_columns, 3) if wide else (table.n_columns,)
    dense = np.random.default_rng(seed).normal(size=shape).astype("float32")

    product, expected = table @ dense, table.to_scipy() @ dense

    assert product.dtype == expected.dtype
    assert np.array_equal(product, expected)


@given(table=tables(), seed=st.integers(0, 2**32), mask=st.booleans())
def test_selected_rows_equal_those_of_scipy(table: CsrMatrix, seed: int, mask: bool) -> None:
    n_rows, random = table.shape[0], np.random.default_rng(seed)
    selected = (
        random.integers(0, 2, n_rows).astype(bool) if mask else random.integers(0, max(n_rows, 1), min(n_rows, 4))
    )

    assert np.array_equal(table[selected].to_scipy().toarray(), table.to_scipy()[selected].toarray())


def test_values_of_the_same_cell_are_added() -> None:
    table = CsrMatrix.from_coordinates(
        np.array([1.0, -1.0, 2.0, 3.0]), np.array([1, 1, 0, 2]), np.array([2, 2, 2, 0]), (3, 3)
    )

    assert table.to_scipy().toarray().tolist() == [[0, 0, 3], [0, 0, 0], [2, 0, 0]]
    assert table.rows.tolist() == [0, 2, 2]
    assert table.data.sum() == pytest.approx(5.0)


# ---- hashes ---------------------------------------------------------------------------------------------------------

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
