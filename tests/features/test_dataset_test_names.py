"""A test set by name: listed repositories are held out, and with a split by owner nothing of their owners is trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ExternalError, MissingInputError
from stargaze.features.dataset import FeatureSet, describe_test_set, read_dataset, read_feature_set, write_feature_set
from stargaze.features.split import LEFT_OUT, TEST, VALIDATION, assign_folds, parse_split, read_split, split_to_json
from stargaze.store import Store
from stargaze.system.files import read_json, write_json

MakeRepositories = Callable[..., pd.DataFrame]
NAMES = pd.Series([f"Owner{number % 60}/Repo{number}" for number in range(600)])


def split_of(tmp_path: Path, names: list[str], **settings: Any) -> FeaturesSection:
    """Return the split of a section whose test set is a file with these names."""
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    return read_split(FeaturesSection(test_repositories=str(path), **settings))


@pytest.fixture
def store(tmp_path: Path, make_repositories: MakeRepositories) -> Store:
    """A store with 400 repositories of about 300 owners, some of which have several."""
    make_repositories(400).to_parquet(tmp_path / "repositories.parquet")
    return Store(tmp_path)


@pytest.fixture
def listed(store: Store) -> list[str]:
    """Repositories of which some owners have others."""
    return pd.read_parquet(store.repositories)["full_name"].iloc[:8].tolist()


@given(st.lists(st.integers(0, 599), min_size=1, max_size=20), st.integers(0, 5))
def test_no_owner_of_a_test_repository_is_trained_on(rows: list[int], seed: int) -> None:
    names = NAMES.iloc[rows].str.lower()
    section = FeaturesSection(seed=seed)
    split = parse_split({**dataclasses.asdict(section), "test_names": sorted(set(names))}, "test")

    folds = assign_folds(NAMES, split)

    owners, is_listed = NAMES.str.partition("/")[0], NAMES.index.isin(rows)
    assert (folds[is_listed] == TEST).all()
    assert (folds[~is_listed] != TEST).all()
    of_listed_owners = owners.isin(owners.iloc[rows]) & ~is_listed
    assert ((folds == LEFT_OUT) == of_listed_owners).all()


def test_by_repository_nothing_is_left_out(tmp_path: Path) -> None:
    folds = assign_folds(NAMES, split_of(tmp_path, ["owner1/repo1", "owner2/repo2"], split_by="repository"))

    assert np.flatnonzero(folds == TEST).tolist() == [1, 2]
    assert not (folds == LEFT_OUT).any()


def test_the_share_of_the_test_set_has_no_effect_and_validation_keeps_its_share(tmp_path: Path) -> None:
    names = pd.Series([f"o{number}/r" for number in range(20_000)])
    splits = [split_of(tmp_path, ["o7/r"], test_size=share) for share in (0.1, 0.5)]

    folds = [assign_folds(names, split) for split in splits]

    assert (folds[0] == folds[1]).all()
    assert 0.14 < (folds[0] == VALIDATION).mean() < 0.16
    assert np.flatnonzero(folds[0] == TEST).tolist() == [7]
    assert np.bincount(folds[0][folds[0] >= 0]).min() > 3_000


def test_what_is_known_unknown_and_left_out_is_counted(store: Store, listed: list[str], tmp_path: Path) -> None:
    split = split_of(tmp_path, [*listed, "No/Such", *(f"no/{number}" for number in range(9))])
    table = read_dataset(store, split)

    owners = table.repositories["full_name"].str.partition("/")[0]
    others = int(owners.isin({name.partition("/")[0] for name in listed}).sum()) - len(listed)
    assert others > 0
    assert describe_test_set(table, split) == (
        "test set: 8 of 18 listed repositories; unknown: no/0, no/1, no/2, no/3, no/4 and 5 more; "
        f"{others} other repositories of their owners are left out (split by owner)"
    )
    assert sorted(table.repositories["full_name"].iloc[table.test]) == sorted(listed)
    assert len(table.left_out) == others


def test_a_share_needs_no_description(store: Store) -> None:
    section = FeaturesSection()

    assert describe_test_set(read_dataset(store, read_split(section)), section) == ""
    assert read_split(section) is section


def test_a_list_without_any_known_name_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"features\.test_repositories: none of its 2 names is in") as caught:
        read_dataset(store, split_of(tmp_path, ["no/such", "none/here"]))

    assert caught.value.hint == "stargaze fetch them too, or list others"


def test_a_stored_feature_set_has_the_names_and_no_path(store: Store, listed: list[str], tmp_path: Path) -> None:
    split = split_of(tmp_path, listed)
    write_feature_set(store, FeatureSet({policy: ["age"] for policy in POLICIES}, {}, split, "print", {}))
    (tmp_path / "names.txt").unlink()

    stored = read_feature_set(store).split

    assert stored == split
    assert (assign_folds(NAMES, stored) == assign_folds(NAMES, split)).all()
    assert str(tmp_path) not in store.features.read_text()
    assert parse_split(split_to_json(stored), "test") == split


@pytest.mark.parametrize("names", [["A/B"], ["a"], [1], "a/b", {"a/b": 1}, ["a/b\n"], None])
def test_stored_names_are_checked(store: Store, names: Any) -> None:
    write_feature_set(store, FeatureSet({policy: ["age"] for policy in POLICIES}, {}, FeaturesSection(), "print", {}))
    value = read_json(store.features, "select-features")
    write_json(store.features, {**value, "split": {**value["split"], "test_names": names}})

    with pytest.raises(ExternalError, match="was written by another version"):
        read_feature_set(store)
