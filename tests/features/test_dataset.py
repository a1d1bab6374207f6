"""Repositories and feature set must belong together; too few repositories are rejected before training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import MissingInputError
from stargaze.features.dataset import (
    FeatureSet,
    read_dataset,
    read_dataset_and_features,
    read_feature_set,
    write_feature_set,
)
from stargaze.store import Store
from stargaze.system.files import sha256

SECTION = FeaturesSection(folds=3)
Plausible = Callable[..., pd.DataFrame]


@pytest.fixture
def store(tmp_path: Path, plausible: Plausible) -> Store:
    """A store with repositories."""
    plausible(300).to_parquet(tmp_path / "repositories.parquet")
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


def test_a_repository_without_stars_is_dropped(store: Store, plausible: Plausible) -> None:
    frame = plausible(300)
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
def test_too_few_repositories_are_rejected(store: Store, plausible: Plausible, n: int) -> None:
    plausible(n).to_parquet(store.repositories)

    with pytest.raises(MissingInputError, match=f"{n} repositories are too few: training needs at least 60") as caught:
        read_dataset(store, SECTION)

    assert "fetch more" in caught.value.hint


def test_repositories_of_one_owner_cannot_be_split(store: Store, plausible: Plausible) -> None:
    plausible(300, full_name=[f"one/r{number}" for number in range(300)]).to_parquet(store.repositories)

    with pytest.raises(MissingInputError):
        read_dataset(store, SECTION)


def test_too_few_owners_for_the_folds_are_rejected_with_a_hint(store: Store, plausible: Plausible) -> None:
    """A fold without rows cannot be evaluated."""
    names = [f"owner{number % 11}/r{number}" for number in range(400)]
    plausible(400, full_name=names).to_parquet(store.repositories)
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


def test_a_feature_set_of_other_repositories_is_rejected(store: Store, plausible: Plausible) -> None:
    write_feature_set(store, feature_set(store))
    plausible(300, seed=1).to_parquet(store.repositories)

    with pytest.raises(MissingInputError, match="was made from other repositories") as caught:
        read_dataset_and_features(store)

    assert caught.value.hint == "stargaze select-features"
