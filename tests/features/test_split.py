"""A side belongs to an owner for ever: no owner on two sides, and nobody's side moves when others come or go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.config import FeaturesSection
from stargaze.features.split import TEST, VALIDATION, assign_folds

LETTERS = st.text("abAB-", min_size=1, max_size=4)
NAMES = st.lists(st.builds("{}/{}".format, LETTERS, LETTERS), min_size=1, max_size=30)
SECTIONS = st.builds(
    FeaturesSection,
    seed=st.integers(0, 2**31 - 1),
    test_size=st.floats(0.02, 0.4),
    validation_size=st.floats(0.02, 0.4),
    folds=st.integers(2, 20),
)
few = settings(max_examples=30)
MANY = pd.Series([f"owner{number}/r" for number in range(20_000)], dtype="str")


def side_of(names: list[str], section: FeaturesSection) -> list[int]:
    """Return the side of each name."""
    return [int(side) for side in assign_folds(pd.Series(names, dtype="str"), section)]


@few
@given(NAMES, SECTIONS)
def test_no_owner_stands_on_two_sides_however_the_name_is_spelled(names: list[str], section: FeaturesSection) -> None:
    owners: dict[str, set[int]] = {}
    for name, side in zip(names, side_of(names, section), strict=True):
        owners.setdefault(name.partition("/")[0].lower(), set()).add(side)

    assert all(len(found) == 1 for found in owners.values())


@few
@given(NAMES, NAMES, SECTIONS)
def test_a_side_does_not_change_when_others_come_before_or_after(
    names: list[str], others: list[str], section: FeaturesSection
) -> None:
    alone = side_of(names, section)

    assert side_of(names + others, section)[: len(names)] == alone
    assert side_of(others + names, section)[len(others) :] == alone


@few
@given(NAMES, SECTIONS)
def test_every_side_is_a_fold_or_held_out(names: list[str], section: FeaturesSection) -> None:
    assert set(side_of(names, section)) <= {TEST, VALIDATION, *range(section.folds)}


@few
@given(NAMES, SECTIONS)
def test_by_repository_only_the_same_repository_stays_together(names: list[str], section: FeaturesSection) -> None:
    apart = dataclasses.replace(section, split_by="repository")
    found: dict[str, set[int]] = {}
    for name, side in zip(names, side_of(names, apart), strict=True):
        found.setdefault(name.lower(), set()).add(side)

    assert all(len(one) == 1 for one in found.values())


def test_by_repository_an_owner_may_stand_on_several_sides() -> None:
    names = [f"a/{place}" for place in range(100)]

    assert len(set(side_of(names, FeaturesSection()))) == 1
    assert len(set(side_of(names, FeaturesSection(split_by="repository")))) > 3


@pytest.mark.parametrize(("test", "validation", "folds"), [(0.15, 0.15, 5), (0.02, 0.5, 2), (0.4, 0.4, 20)])
def test_the_shares_are_those_that_are_asked_for(test: float, validation: float, folds: int) -> None:
    found = assign_folds(MANY, FeaturesSection(test_size=test, validation_size=validation, folds=folds))

    expected = {TEST: test, VALIDATION: validation} | dict.fromkeys(range(folds), (1 - test - validation) / folds)
    shares = {side: float(np.mean(found == side)) for side in expected}
    assert shares == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("one", "other"), [(0, 1), (7, 8), (12_345_678, 12_345_679), (2**31 - 2, 2**31 - 1), (10, 100), (1, 10)]
)
def test_every_seed_splits_in_its_own_way(one: int, other: int) -> None:
    """Also seeds of many digits, whose beginnings are the same."""
    same = np.mean(assign_folds(MANY, FeaturesSection(seed=one)) == assign_folds(MANY, FeaturesSection(seed=other)))

    assert same < 0.3


def test_the_split_of_the_default_seed_never_changes() -> None:
    """What was held out from a model that serves must stay held out from the next; figures of releases are compared."""
    names = ["pallets/flask", "torvalds/linux", "avajs/ava", "microsoft/vscode", "facebook/react", "rust-lang/rust"]

    assert side_of(names, FeaturesSection()) == [1, 3, VALIDATION, 3, 4, 1]


def test_no_repository_is_no_trouble() -> None:
    assert side_of([], FeaturesSection()) == []


def test_made_up_owners_land_on_all_sides(plausible: Callable[..., Any]) -> None:
    assert set(side_of(plausible(400)["full_name"].tolist(), FeaturesSection())) == {-2, -1, 0, 1, 2, 3, 4}
