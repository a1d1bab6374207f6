"""Similarity: the share of trees in which two repositories reach the same leaf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.serialization import LeafModel
from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.exclusion import Exclusions
from stargaze.serve.prediction.neighbors import LeafIndex, same_leaf_share


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def index(bundle: Bundle) -> LeafIndex:
    return LeafIndex(bundle)


def neighbors_of(bundle: Bundle, index: LeafIndex, row: int) -> list[dict[str, object]]:
    """Return the repositories similar to a known one."""
    return index.nearest(bundle.known_features[[row]], "all", [str(bundle.known["full_name"].iloc[row])])[0]


@given(row=st.integers(0, 1999))
def test_five_other_repositories_are_listed_most_similar_first(bundle: Bundle, index: LeafIndex, row: int) -> None:
    result = neighbors_of(bundle, index, row)

    similarity = [item["similarity"] for item in result]
    assert len(result) == 5
    assert similarity == sorted(similarity, reverse=True)  # type: ignore[type-var]
    assert all(0 < value <= 1 for value in similarity)  # type: ignore[operator]
    assert bundle.known["full_name"].iloc[row] not in {item["full_name"] for item in result}


@given(pair=st.tuples(st.integers(0, 1999), st.integers(0, 1999)))
def test_similarity_is_symmetric(bundle: Bundle, pair: tuple[int, int]) -> None:
    model = bundle.models["all"].models[0]
    assert isinstance(model, LeafModel)
    leaves = model.leaf_indices(bundle.select_inputs(bundle.known_features, "all"))
    first, second = pair

    assert same_leaf_share(leaves.T, leaves[first])[second] == same_leaf_share(leaves.T, leaves[second])[first]
    assert same_leaf_share(leaves.T, leaves[first])[first] == 1.0


def test_similarity_equals_the_counted_share(bundle: Bundle, index: LeafIndex) -> None:
    model = bundle.models["all"].models[0]
    assert isinstance(model, LeafModel)
    leaves = model.leaf_indices(bundle.select_inputs(bundle.known_features, "all"))
    share = (leaves == leaves[7]).mean(axis=1)
    share[7] = -1.0

    result = neighbors_of(bundle, index, 7)

    assert [item["similarity"] for item in result] == pytest.approx(np.sort(share)[::-1][:5].round(3).tolist())
    stars = bundle.known.set_index("full_name")["stars"]
    assert [item["actual_stars"] for item in result] == [stars[item["full_name"]] for item in result]


def test_the_repository_itself_is_left_out_in_any_spelling(bundle: Bundle, index: LeafIndex) -> None:
    name = str(bundle.known["full_name"].iloc[7])

    result = index.nearest(bundle.known_features[[7]], "all", [name.upper()])[0]

    assert name not in {item["full_name"] for item in result}


def test_many_rows_give_the_same_result_as_single_rows(bundle: Bundle, index: LeafIndex) -> None:
    names = bundle.known["full_name"].astype(str).tolist()[10:30]

    together = index.nearest(bundle.known_features[10:30], "all", names)

    assert together == [neighbors_of(bundle, index, row) for row in range(10, 30)]


def test_a_copy_has_similarity_one(bundle: Bundle, index: LeafIndex) -> None:
    copy = bundle.known.iloc[[7]].assign(full_name="another/name")

    result = index.nearest(bundle.features(pd.DataFrame(copy)), "all", ["another/name"])[0]

    assert result[0]["similarity"] == 1.0


def test_excluded_repositories_are_not_similar_to_any(bundle: Bundle, index: LeafIndex) -> None:
    before = [str(item["full_name"]) for item in neighbors_of(bundle, index, 7)]

    after = neighbors_of(bundle, LeafIndex(bundle, Exclusions.parse(before[:3])), 7)

    assert [item["full_name"] for item in after[:2]] == before[3:]
    assert len(after) == 5
    assert not {item["full_name"] for item in after} & set(before[:3])
