"""Likeness: the share of a model's trees that cannot tell two repositories apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.serialization import Leaved
from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.prediction.neighbors import LeafIndex, shares


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def leaves(bundle: Bundle) -> LeafIndex:
    return LeafIndex(bundle)


def named(bundle: Bundle, leaves: LeafIndex, row: int) -> list[dict[str, object]]:
    """Return what is similar to a known repository."""
    return leaves.near(bundle.known_features[[row]], "all", [str(bundle.known["full_name"].iloc[row])])[0]


@given(row=st.integers(0, 1999))
def test_the_nearest_are_five_others_the_likest_first(bundle: Bundle, leaves: LeafIndex, row: int) -> None:
    found = named(bundle, leaves, row)

    likeness = [one["likeness"] for one in found]
    assert len(found) == 5
    assert likeness == sorted(likeness, reverse=True)  # type: ignore[type-var]
    assert all(0 < one <= 1 for one in likeness)  # type: ignore[operator]
    assert bundle.known["full_name"].iloc[row] not in {one["full_name"] for one in found}


@given(pair=st.tuples(st.integers(0, 1999), st.integers(0, 1999)))
def test_two_repositories_are_as_like_as_the_other_way_round(bundle: Bundle, pair: tuple[int, int]) -> None:
    model = bundle.models["activity"].models[0]
    assert isinstance(model, Leaved)
    told = model.reached(bundle.given(bundle.known_features, "activity"))
    one, other = pair

    assert shares(told.T, told[one])[other] == shares(told.T, told[other])[one]
    assert shares(told.T, told[one])[one] == 1.0


def test_likeness_is_what_counting_by_hand_gives(bundle: Bundle, leaves: LeafIndex) -> None:
    model = bundle.models["activity"].models[0]
    assert isinstance(model, Leaved)
    told = model.reached(bundle.given(bundle.known_features, "activity"))
    share = (told == told[7]).mean(axis=1)
    share[7] = -1.0

    found = named(bundle, leaves, 7)

    assert [one["likeness"] for one in found] == pytest.approx(np.sort(share)[::-1][:5].round(3).tolist())
    stars = bundle.known.set_index("full_name")["stars"]
    assert [one["stars"] for one in found] == [stars[one["full_name"]] for one in found]


def test_the_same_repository_in_another_spelling_is_itself(bundle: Bundle, leaves: LeafIndex) -> None:
    name = str(bundle.known["full_name"].iloc[7])

    found = leaves.near(bundle.known_features[[7]], "all", [name.upper()])[0]

    assert name not in {one["full_name"] for one in found}


def test_many_rows_are_compared_as_each_alone(bundle: Bundle, leaves: LeafIndex) -> None:
    names = bundle.known["full_name"].astype(str).tolist()[10:30]

    together = leaves.near(bundle.known_features[10:30], "all", names)

    assert together == [named(bundle, leaves, row) for row in range(10, 30)]


def test_a_twin_is_as_like_as_can_be(bundle: Bundle, leaves: LeafIndex) -> None:
    twin = bundle.known.iloc[[7]].assign(full_name="another/name")

    found = leaves.near(bundle.features(pd.DataFrame(twin)), "all", ["another/name"])[0]

    assert found[0]["likeness"] == 1.0
