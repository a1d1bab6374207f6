"""Read the repositories and the feature set, and check that both belong together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, FeaturesSection
from stargaze.errors import ConfigError, ExternalError, MissingInputError, UsageError
from stargaze.features.collection.columns import split_collection_columns
from stargaze.features.encoding.encoder import needs_embeddings, needs_encoder
from stargaze.features.encoding.out_of_fold import OutOfFoldEncodings, fit_out_of_fold
from stargaze.features.encoding.word_vectors import read_word_vectors
from stargaze.features.masking import Copies, mask_repositories
from stargaze.features.matrix import Catalog, build_matrix, catalog_with, own_features
from stargaze.features.own_columns import OwnColumn, conform, declare_own_columns, parse_own_columns, read_own_columns
from stargaze.features.split import LEFT_OUT, TEST, VALIDATION, Split, assign_folds, parse_split, split_to_json
from stargaze.store import Store
from stargaze.system.files import read_json, sha256, write_json

MAX_SHOWN = 5
"""Unknown names that a message lists."""


@dataclass(frozen=True)
class FeatureSet:
    """The result of ``select-features``: selected features and scores of each policy, vocabularies, and the split's settings."""

    selected: dict[str, list[str]]
    vocabularies: dict[str, list[str]]
    split: FeaturesSection
    fingerprint: str
    """SHA-256 of the repositories that the features were selected on."""
    scores: dict[str, dict[str, float]]
    own_columns: tuple[OwnColumn, ...] = ()
    """The own columns of the repositories, which are features too."""
    collection: dict[str, float] = field(default_factory=dict)
    """R² of log1p(stars) that the row number and the fetch time alone predict."""

    @property
    def catalog(self) -> Catalog:
        """The definitions of the features."""
        return catalog_with(self.own_columns)

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies that have features, the narrowest first."""
        return tuple(policy for policy in POLICIES if policy in self.selected)

    def answering_features(self, policy: str) -> list[int]:
        """Return the positions of the features of which one must be known so that a policy answers; none if it always does."""
        return own_features(self.selected[policy], self.policies, policy, self.catalog)

    def check_policy(self, policy: str) -> None:
        """Raise UsageError if the policy of the estimate has no features."""
        if policy not in self.selected:
            message = f"no features were selected for policy {policy}, only for {', '.join(self.policies)}"
            policies = [name for name in POLICIES if name in {*self.policies, policy}]
            hint = f"stargaze select-features --policies {','.join(policies)}, then stargaze screen"
            raise UsageError(message, hint=hint)

    @property
    def has_embeddings(self) -> bool:
        """Whether a feature is computed from embeddings of the texts."""
        return any(map(needs_embeddings, self.selected.values()))

    @property
    def digest(self) -> str:
        """The first 16 hexadecimal digits of the feature set's SHA-256."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; without own columns, they are not mentioned."""
        value = {**dataclasses.asdict(self), "split": split_to_json(self.split)}
        del value["own_columns"]
        return {**value, "own_columns": declare_own_columns(self.own_columns)} if self.own_columns else value


@dataclass(frozen=True)
class Dataset:
    """The n repositories with a known star count, with log1p(stars) [nat] and fold of each (see :func:`assign_folds`)."""

    repositories: pd.DataFrame
    target: np.ndarray
    folds: np.ndarray
    fingerprint: str
    originals: Dataset | None = None
    """The complete repositories if these are copies with missing values: encoders are fitted on them."""
    own_columns: tuple[OwnColumn, ...] = ()
    """Columns of the repositories beside those of the schema."""
    collection: pd.DataFrame | None = None
    """How each row was collected (:mod:`stargaze.features.collection.columns`); None if the file does not tell."""
    _encodings: dict[tuple[int, str, bool], OutOfFoldEncodings] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def training(self) -> np.ndarray:
        """Rows of the training folds."""
        return np.flatnonzero(self.folds >= 0)

    @property
    def validation(self) -> np.ndarray:
        """Rows for calibration."""
        return np.flatnonzero(self.folds == VALIDATION)

    @property
    def test(self) -> np.ndarray:
        """Rows for the final evaluation."""
        return np.flatnonzero(self.folds == TEST)

    @property
    def left_out(self) -> np.ndarray:
        """Rows of no set, whose owners are in the test set."""
        return np.flatnonzero(self.folds == LEFT_OUT)

    def model_inputs(self, feature_set: FeatureSet, policy: str) -> pd.DataFrame:
        """Return the design matrix of all rows, with out-of-fold encodings for training rows; shape (n, n_features)."""
        names = feature_set.selected[policy]
        learned = self.encodings_of(feature_set).values if needs_encoder(names) else None
        return build_matrix(self.repositories, names, feature_set.vocabularies, learned, feature_set.catalog)

    def masked(self, copies: Copies, seed: int) -> Dataset:
        """Return copies of some rows, each without some fields of its record; targets and folds are the same."""
        repositories = self.repositories.iloc[copies.rows].reset_index(drop=True)
        masked = mask_repositories(repositories, seed, copies.keeps)
        target, folds = self.target[copies.rows], self.folds[copies.rows]
        return Dataset(masked, target, folds, self.fingerprint, originals=self, own_columns=self.own_columns)

    def serving_inputs(self, feature_set: FeatureSet, policy: str, repositories: pd.DataFrame) -> pd.DataFrame:
        """Return the design matrix of any repositories as serving computes it: encoded by all training rows."""
        return self.compute_features(feature_set, feature_set.selected[policy], repositories)

    def compute_features(
        self, feature_set: FeatureSet, names: Sequence[str], repositories: pd.DataFrame
    ) -> pd.DataFrame:
        """Return some features of any repositories as serving computes them."""
        learned = self.encodings_of(feature_set).encoder.transform(repositories) if needs_encoder(names) else None
        return build_matrix(repositories, names, feature_set.vocabularies, learned, feature_set.catalog)

    def encodings_of(self, feature_set: FeatureSet) -> OutOfFoldEncodings:
        """Return the out-of-fold encodings that a feature set needs."""
        return self.encodings(feature_set.split, embeddings=feature_set.has_embeddings)

    def encodings(self, section: FeaturesSection, *, embeddings: bool = False) -> OutOfFoldEncodings:
        """Return the out-of-fold encodings, which are fitted once and shared by all policies.

        ``embeddings``: also those of the texts; raise MissingInputError if the extra that they need is not installed.
        """
        key = (section.seed, section.split_by, embeddings)
        if key not in self._encodings:
            owners = section.split_by == "repository"  # else no owner of a held-out repository is in the training data
            fitted = self.originals or self
            self._encodings[key] = fit_out_of_fold(
                fitted.repositories,
                fitted.target,
                fitted.folds,
                seed=section.seed,
                owners=owners,
                word_vectors=read_word_vectors() if embeddings else None,
                copies=None if self.originals is None else (self.repositories, self.folds),
            )
        return self._encodings[key]


def describe_test_set(dataset: Dataset, split: FeaturesSection) -> str:
    """Return one line about a test set by name: how many names are known, which are not, what is left out; else nothing."""
    if not isinstance(split, Split):
        return ""
    known = set(dataset.repositories["full_name"].str.lower())
    unknown = [name for name in split.test_names if name not in known]
    n_names = len(split.test_names)
    parts = [f"test set: {n_names - len(unknown):,} of {n_names:,} listed repositories"]
    if unknown:
        more = f" and {len(unknown) - MAX_SHOWN:,} more" if len(unknown) > MAX_SHOWN else ""
        parts.append(f"unknown: {', '.join(unknown[:MAX_SHOWN])}{more}")
    if n_left_out := len(dataset.left_out):
        parts.append(f"{n_left_out:,} other repositories of their owners are left out (split by owner)")
    return "; ".join(parts)


def read_repositories(store: Store) -> pd.DataFrame:
    """Read the repositories; ExternalError if they are damaged, or another version with other columns wrote them."""
    return _read(store)[0]


def _read(store: Store) -> tuple[pd.DataFrame, tuple[OwnColumn, ...], pd.DataFrame | None]:
    """Read the repositories, their own columns, and how they were collected."""
    path = store.require(store.repositories)
    try:
        stored, collection = split_collection_columns(pd.read_parquet(path))
        own_columns = read_own_columns(path)
        repositories = conform(stored, catalog_with(own_columns).own_columns)
    except (OSError, ValueError, TypeError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint="stargaze fetch creates it again") from error
    if set(stored) - set(repositories):
        raise ExternalError(f"{path}: was written by another version", hint="stargaze fetch creates it again")
    return repositories, own_columns, collection


def read_dataset(store: Store, section: FeaturesSection) -> Dataset:
    """Read the repositories and assign the folds; raise MissingInputError if there are too few."""
    path, (repositories, own_columns, collection) = store.repositories, _read(store)
    is_usable = repositories["stars"].notna() & repositories["full_name"].notna()
    repositories = repositories[is_usable].reset_index(drop=True)
    if collection is not None:
        collection = collection[is_usable].reset_index(drop=True)
    folds = assign_folds(repositories["full_name"], section)
    if isinstance(section, Split) and not (folds == TEST).any():
        message = f"features.test_repositories: none of its {len(section.test_names):,} names is in {path}"
        raise MissingInputError(message, hint="stargaze fetch them too, or list others")
    minimum = 20 * section.folds
    if (folds >= 0).sum() < minimum or not (folds == VALIDATION).any() or not (folds == TEST).any():
        raise _too_few(f"{path}: {len(repositories)} repositories are too few", folds, section)
    empty = section.folds - len(np.unique(folds[folds >= 0]))
    if empty:
        message = f"{path}: too few owners: {empty} of {section.folds} folds would be empty"
        raise MissingInputError(message, hint='fetch more repositories, or set features.split_by = "repository"')
    target = np.log1p(repositories["stars"].to_numpy())
    return Dataset(repositories, target, folds, sha256(path), own_columns=own_columns, collection=collection)


def _too_few(problem: str, folds: np.ndarray, section: FeaturesSection) -> MissingInputError:
    """Return the error of a split with an empty set or with too little training data."""
    sizes = f"training has {(folds >= 0).sum():,} of at least {20 * section.folds:,}, validation {(folds == VALIDATION).sum():,}"
    if isinstance(section, Split):
        message = f"{problem} beside the test set: {sizes}, the test list {(folds == TEST).sum():,}"
        return MissingInputError(
            message, hint="list fewer repositories, or fetch others: stargaze fetch --from FILE..."
        )
    message = f"{problem}: {sizes}, test {(folds == TEST).sum():,}"
    return MissingInputError(message, hint="fetch more repositories: stargaze fetch --from FILE...")


def write_feature_set(store: Store, feature_set: FeatureSet) -> None:
    """Write ``features.json``."""
    write_json(store.features, feature_set.to_json())


def read_feature_set(store: Store) -> FeatureSet:
    """Read ``features.json``."""
    value: dict[str, Any] = read_json(store.features, "select-features")
    outdated = ExternalError(f"{store.features}: was written by another version", hint="stargaze select-features")
    try:
        split = parse_split(value["split"], str(store.features))
        own_columns = parse_own_columns(value.get("own_columns", []))
        feature_set = FeatureSet(**{**value, "split": split, "own_columns": own_columns})
        catalog = feature_set.catalog
        is_valid = set(feature_set.selected) == set(split.policies) and all(
            name in catalog and (catalog[name].kind == "number" or isinstance(feature_set.vocabularies[name], list))
            for names in feature_set.selected.values()
            for name in names
        )
    except (TypeError, KeyError, ValueError, AttributeError, ConfigError) as error:
        raise outdated from error
    if not is_valid:
        raise outdated
    return feature_set


def read_dataset_and_features(store: Store) -> tuple[Dataset, FeatureSet]:
    """Read the repositories and the feature set; raise MissingInputError if they do not belong together."""
    feature_set = read_feature_set(store)
    dataset = read_dataset(store, feature_set.split)
    if dataset.fingerprint != feature_set.fingerprint or dataset.own_columns != feature_set.own_columns:
        message = f"{store.features} was created from other repositories than {store.repositories}"
        raise MissingInputError(message, hint="stargaze select-features")
    return dataset, feature_set
