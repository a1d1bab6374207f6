"""Read the repositories and the feature set, and notice when one is older than the other."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection, parse_section
from stargaze.errors import ConfigError, ExternalError, MissingInputError
from stargaze.features import schema
from stargaze.features.catalog import CATALOG
from stargaze.features.encoding.encoder import needs_encoder
from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold
from stargaze.features.matrix import build_matrix
from stargaze.features.split import TEST, VALIDATION, assign_folds
from stargaze.store import Store
from stargaze.system.files import read_json, sha256, write_json


@dataclass(frozen=True)
class FeatureSet:
    """What ``select-features`` found: kept columns per policy, vocabularies, the rule of the split."""

    kept: dict[str, list[str]]
    vocabularies: dict[str, list[str]]
    split: FeaturesSection
    fingerprint: str
    scores: dict[str, dict[str, float]]

    @property
    def digest(self) -> str:
        """A short name for exactly this feature set."""
        import hashlib

        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Dataset:
    """Repositories with a known star count, their target and side, ready to be cut into folds."""

    repositories: pd.DataFrame
    target: np.ndarray
    side: np.ndarray
    fingerprint: str
    _learned: dict[tuple[int, str], OutOfFoldEncodings] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def training(self) -> np.ndarray:
        """Rows of the training folds; shape (n_training,)."""
        return np.flatnonzero(self.side >= 0)

    @property
    def validation(self) -> np.ndarray:
        """Rows that calibrate."""
        return np.flatnonzero(self.side == VALIDATION)

    @property
    def test(self) -> np.ndarray:
        """Rows that are looked at in the end."""
        return np.flatnonzero(self.side == TEST)

    def inputs(self, feature_set: FeatureSet, policy: str) -> pd.DataFrame:
        """Compute the model's input for every row; what is learned is told to a training row by the folds that it is not in."""
        kept = feature_set.kept[policy]
        learned = self.learned(feature_set.split).values if needs_encoder(kept) else None
        return build_matrix(self.repositories, kept, feature_set.vocabularies, learned)

    def served(self, feature_set: FeatureSet, policy: str, rows: list[int]) -> pd.DataFrame:
        """Compute the model's input for some rows as serving does, where nobody knows which rows were trained on."""
        kept, chosen = feature_set.kept[policy], self.repositories.iloc[rows]
        learned = self.learned(feature_set.split).encoder.transform(chosen) if needs_encoder(kept) else None
        return build_matrix(chosen, kept, feature_set.vocabularies, learned)

    def learned(self, section: FeaturesSection) -> OutOfFoldEncodings:
        """Return what the training rows teach, learned once for all policies."""
        key = (section.seed, section.split_by)
        if key not in self._learned:
            owners = (
                section.split_by == "repository"
            )  # else no owner stands on two sides: there is nothing to know of any
            self._learned[key] = fit_out_of_fold(
                self.repositories, self.target, self.side, seed=section.seed, owners=owners
            )
        return self._learned[key]


def read_dataset(store: Store, section: FeaturesSection) -> Dataset:
    """Read the repositories and assign the sides.

    Raises
    ------
    MissingInputError
        If there are none yet, or too few to learn from.
    ExternalError
        If the file is broken.
    """
    path = store.need(store.repositories)
    try:
        repositories = schema.conform(pd.read_parquet(path))
    except (OSError, ValueError, TypeError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint="stargaze fetch makes it anew") from error
    repositories = repositories[repositories["stars"].notna() & repositories["full_name"].notna()].reset_index(
        drop=True
    )
    side = assign_folds(repositories["full_name"], section)
    least = 20 * section.folds
    if (side >= 0).sum() < least or not (side == VALIDATION).any() or not (side == TEST).any():
        raise MissingInputError(
            f"{path}: {len(repositories)} repositories are too few: at least {least} must be left to train on",
            hint="fetch more repositories: stargaze fetch --from FILE...",
        )
    empty = section.folds - len(np.unique(side[side >= 0]))
    if empty:
        raise MissingInputError(
            f"{path}: too few owners: {empty} of {section.folds} folds would be empty",
            hint='fetch more repositories, or set features.split_by = "repository"',
        )
    return Dataset(repositories, np.log1p(repositories["stars"].to_numpy()), side, sha256(path))


def write_feature_set(store: Store, feature_set: FeatureSet) -> None:
    """Write ``features.json``."""
    write_json(store.features, dataclasses.asdict(feature_set))


def read_feature_set(store: Store) -> FeatureSet:
    """Read ``features.json``."""
    value: dict[str, Any] = read_json(store.features, "select-features")
    try:
        split: FeaturesSection = parse_section("features", value["split"], source=str(store.features))
        found = FeatureSet(**{**value, "split": split})
        sound = set(found.kept) == set(POLICIES) and all(
            name in CATALOG and (CATALOG[name].kind == "number" or isinstance(found.vocabularies[name], list))
            for names in found.kept.values()
            for name in names
        )
    except (TypeError, KeyError, AttributeError, ConfigError) as error:
        raise _of_another_version(store) from error
    if not sound:
        raise _of_another_version(store)
    return found


def _of_another_version(store: Store) -> ExternalError:
    return ExternalError(f"{store.features}: was written by another version", hint="stargaze select-features")


def read_dataset_and_features(store: Store) -> tuple[Dataset, FeatureSet]:
    """Read repositories and feature set, and refuse a pair that does not belong together."""
    feature_set = read_feature_set(store)
    table = read_dataset(store, feature_set.split)
    if table.fingerprint != feature_set.fingerprint:
        raise MissingInputError(
            f"{store.features} was made from other repositories than {store.repositories}",
            hint="stargaze select-features",
        )
    return table, feature_set
