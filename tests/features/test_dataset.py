"""Repositories and feature set must belong together; the fold of an owner is permanent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import MissingInputError
from stargaze.features.dataset import (
    FeatureSet,
    read_dataset,
    read_dataset_and_features,
    read_feature_set,
    write_feature_set,
)
from stargaze.features.split import TEST, VALIDATION, Split, assign_folds
from stargaze.store import Store
from stargaze.system.files import sha256

SECTION = FeaturesSection(folds=3)
MakeRepositories = Callable[..., pd.DataFrame]


@pytest.fixture
def store(tmp_path: Path, make_repositories: MakeRepositories) -> Store:
    """A store with repositories."""
    make_repositories(300).to_parquet(tmp_path / "repositories.parquet")
    return Store(tmp_path)


def feature_set(store: Store, **changes: object) -> FeatureSet:
    """Return a feature set of these repositories."""
    selected = {policy: ["age", "language"] for policy in POLICIES}
    feature_set = FeatureSet(selected, {"language": ["C"]}, SECTION, sha256(store.repositories), {})
    return dataclasses.replace(feature_set, **changes)  # type: ignore[arg-type]


def test_every_row_is_in_exactly_one_part(store: Store) -> None:
    table = read_dataset(store, SECTION)

    rows = np.sort(np.concatenate([table.training, table.validation, table.test]))
    assert rows.tolist() == list(range(300))
    assert set(table.folds[table.training]) == {0, 1, 2}


def test_the_target_is_the_logarithm_of_the_stars(store: Store) -> None:
    table = read_dataset(store, SECTION)

    assert np.expm1(table.target) == pytest.approx(table.repositories["stars"].to_numpy())


def test_a_repository_without_stars_is_dropped(store: Store, make_repositories: MakeRepositories) -> None:
    frame = make_repositories(300)
    frame.loc[:9, "stars"] = np.nan
    frame.loc[10:14, "full_name"] = None
    frame.to_parquet(store.repositories)

    table = read_dataset(store, SECTION)

    assert len(table.repositories) == 285
    assert np.isfinite(table.target).all()


def test_the_design_matrix_has_all_rows_and_the_selected_features(store: Store) -> None:
    inputs = read_dataset(store, SECTION).model_inputs(feature_set(store), "all")

    assert inputs.shape == (300, 2)
    assert list(inputs) == ["age", "language"]


@pytest.mark.parametrize("n", [1, 10, 60])
def test_too_few_repositories_are_rejected(store: Store, make_repositories: MakeRepositories, n: int) -> None:
    make_repositories(n).to_parquet(store.repositories)

    with pytest.raises(
        MissingInputError, match=rf"{n} repositories are too few: training has \d+ of at least 60"
    ) as caught:
        read_dataset(store, SECTION)

    assert "fetch more" in caught.value.hint


def test_a_test_list_that_leaves_too_few_for_training_is_named_as_the_reason(store: Store) -> None:
    names = pd.read_parquet(store.repositories)["full_name"].str.lower()
    split = Split(folds=3, test_names=tuple(sorted(names)))

    with pytest.raises(
        MissingInputError, match="training has 0 of at least 60, validation 0, the test list 300"
    ) as caught:
        read_dataset(store, split)

    assert "list fewer" in caught.value.hint


def test_repositories_of_one_owner_cannot_be_split(store: Store, make_repositories: MakeRepositories) -> None:
    make_repositories(300, full_name=[f"one/r{number}" for number in range(300)]).to_parquet(store.repositories)

    with pytest.raises(MissingInputError):
        read_dataset(store, SECTION)


def test_too_few_owners_for_the_folds_are_rejected_with_a_hint(
    store: Store, make_repositories: MakeRepositories
) -> None:
    """A fold without rows cannot be evaluated."""
    names = [f"owner{number % 11}/r{number}" for number in range(400)]
    make_repositories(400, full_name=names).to_parquet(store.repositories)
    section = dataclasses.replace(SECTION, folds=8)

    with pytest.raises(MissingInputError, match="too few owners: 3 of 8 folds would be empty") as caught:
        read_dataset(store, section)

    assert 'features.split_by = "repository"' in caught.value.hint
    assert len(set(read_dataset(store, dataclasses.replace(section, split_by="repository")).folds)) == 10


def test_a_feature_set_survives_writing_and_reading(store: Store) -> None:
    written = feature_set(store, scores={"all": {"rmsle_kept": 0.5}})
    write_feature_set(store, written)

    assert read_feature_set(store) == written
    assert read_dataset_and_features(store)[1].digest == written.digest


@pytest.mark.parametrize(
    "change",
    [
        {"selected": {policy: ["language", "age"] for policy in POLICIES}},
        {"vocabularies": {"language": ["D"]}},
        {"split": FeaturesSection(folds=4)},
        {"fingerprint": "0"},
    ],
)
def test_the_digest_depends_on_everything_a_model_depends_on(store: Store, change: dict[str, object]) -> None:
    """Leaderboard and trials store the digest, so they are not used with other features."""
    assert feature_set(store, **change).digest != feature_set(store).digest


def test_a_feature_set_of_other_repositories_is_rejected(store: Store, make_repositories: MakeRepositories) -> None:
    write_feature_set(store, feature_set(store))
    make_repositories(300, seed=1).to_parquet(store.repositories)

    with pytest.raises(MissingInputError, match="was created from other repositories") as caught:
        read_dataset_and_features(store)

    assert caught.value.hint == "stargaze select-features"


# ---- folds ----------------------------------------------------------------------------------------------------------

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


def test_random_owners_are_spread_over_all_folds(make_repositories: Callable[..., Any]) -> None:
    assert set(folds_of(make_repositories(400)["full_name"].tolist(), FeaturesSection())) == {-2, -1, 0, 1, 2, 3, 4}
