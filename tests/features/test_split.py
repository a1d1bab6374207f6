"""The fold of an owner is permanent: no owner is in two folds, and no fold changes when others are added or removed."""

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
from stargaze.features.dataset import TEST, VALIDATION, assign_folds

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


def folds_of(names: list[str], section: FeaturesSection) -> list[int]:
    """Return the fold of each name."""
    return [int(fold) for fold in assign_folds(pd.Series(names, dtype="str"), section)]


@few
@given(NAMES, SECTIONS)
def test_all_repositories_of_an_owner_are_in_one_fold_in_any_case(names: list[str], section: FeaturesSection) -> None:
    owners: dict[str, set[int]] = {}
    for name, fold in zip(names, folds_of(names, section), strict=True):
        owners.setdefault(name.partition("/")[0].lower(), set()).add(fold)

    assert all(len(folds) == 1 for folds in owners.values())


@few
@given(NAMES, NAMES, SECTIONS)
def test_a_fold_does_not_depend_on_other_repositories(
    names: list[str], others: list[str], section: FeaturesSection
) -> None:
    fewer = folds_of(names, section)

    assert folds_of(names + others, section)[: len(names)] == fewer
    assert folds_of(others + names, section)[len(others) :] == fewer


@few
@given(NAMES, SECTIONS)
def test_every_value_is_a_fold_or_held_out(names: list[str], section: FeaturesSection) -> None:
    assert set(folds_of(names, section)) <= {TEST, VALIDATION, *range(section.folds)}


@few
@given(NAMES, SECTIONS)
def test_by_repository_only_the_same_repository_stays_together(names: list[str], section: FeaturesSection) -> None:
    by_repository = dataclasses.replace(section, split_by="repository")
    folds: dict[str, set[int]] = {}
    for name, fold in zip(names, folds_of(names, by_repository), strict=True):
        folds.setdefault(name.lower(), set()).add(fold)

    assert all(len(group) == 1 for group in folds.values())


def test_by_repository_an_owner_may_be_in_several_folds() -> None:
    names = [f"a/{place}" for place in range(100)]

    assert len(set(folds_of(names, FeaturesSection()))) == 1
    assert len(set(folds_of(names, FeaturesSection(split_by="repository")))) > 3


@pytest.mark.parametrize(("test", "validation", "folds"), [(0.15, 0.15, 5), (0.02, 0.5, 2), (0.4, 0.4, 20)])
def test_the_shares_are_those_of_the_config(test: float, validation: float, folds: int) -> None:
    assigned = assign_folds(MANY, FeaturesSection(test_size=test, validation_size=validation, folds=folds))

    expected = {TEST: test, VALIDATION: validation} | dict.fromkeys(range(folds), (1 - test - validation) / folds)
    shares = {fold: float(np.mean(assigned == fold)) for fold in expected}
    assert shares == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(
    ("seed", "other"), [(0, 1), (7, 8), (12_345_678, 12_345_679), (2**31 - 2, 2**31 - 1), (10, 100), (1, 10)]
)
def test_every_seed_gives_another_split(seed: int, other: int) -> None:
    """Seeds of many digits with the same beginning also differ."""
    same = np.mean(assign_folds(MANY, FeaturesSection(seed=seed)) == assign_folds(MANY, FeaturesSection(seed=other)))

    assert same < 0.3


def test_the_split_of_the_default_seed_never_changes() -> None:
    """Repositories held out from one release must stay held out from the next, so that scores are comparable."""
    names = ["pallets/flask", "torvalds/linux", "avajs/ava", "microsoft/vscode", "facebook/react", "rust-lang/rust"]

    assert folds_of(names, FeaturesSection()) == [1, 3, VALIDATION, 3, 4, 1]


def test_no_repositories_give_no_folds() -> None:
    assert folds_of([], FeaturesSection()) == []


def test_random_owners_are_spread_over_all_folds(plausible: Callable[..., Any]) -> None:
    assert set(folds_of(plausible(400)["full_name"].tolist(), FeaturesSection())) == {-2, -1, 0, 1, 2, 3, 4}
