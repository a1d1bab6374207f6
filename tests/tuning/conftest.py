"""Small synthetic data for the tests of tuning: fitted in milliseconds, with missing values and categories as real data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn.ensemble
from threadpoolctl import threadpool_limits

from stargaze.config import FeaturesSection
from stargaze.features import schema
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset, read_feature_set, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.store import Store
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.screen import COLUMNS

SELECTED = {
    "static": ["language", "owner_type", "description_length", "age"],
    "activity": ["language", "owner_type", "description_length", "age", "contributors", "open_issues"],
    "all": ["language", "owner_type", "contributors", "open_issues", "forks", "subscribers"],
}
ROWS = 900
"""The training set then has more rows than the quantile transformer has quantiles (200)."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread, as screening processes, trials and the page's workers do."""
    assert sklearn.ensemble  # its OpenMP can only be limited once it is loaded
    with threadpool_limits(1):
        yield


def make_arrays(rows: int = 360, seed: int = 0) -> Arrays:
    """Return numbers with missing values, a column that is always missing, and two categories."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, 3))
    codes = random.integers(1, 5, size=(rows, 2)).astype(float)
    target = np.maximum(1.5 * numbers[:, 0] + codes[:, 0] - 1.5 + 0.3 * random.normal(size=rows), 0.0)
    numbers[random.random(rows) < 0.2, 1] = np.nan
    codes[random.random(rows) < 0.1, 1] = np.nan
    inputs = np.column_stack([codes, numbers, np.full(rows, np.nan)]).astype("float32")
    return Arrays(inputs, target, np.arange(rows) % 3, (0, 1))


@pytest.fixture
def arrays() -> Arrays:
    """The training rows of one policy."""
    return make_arrays()


@pytest.fixture(scope="session")
def small_sample(sample: pd.DataFrame) -> pd.DataFrame:
    """A subset of the sample, from many stars to none."""
    starless = sample["stars"].to_numpy() == 0
    chosen = sample.iloc[:: max(len(sample) // ROWS, 1)].head(ROWS).copy()
    chosen.loc[chosen.index[-ROWS // 3 :], "stars"] = 0.0
    assert not starless.all()
    return schema.conform(chosen.reset_index(drop=True))


@pytest.fixture
def selected_store(store: Store, small_sample: pd.DataFrame) -> Store:
    """A store with repositories and a feature set, as they are before ``screen``."""
    fill(store, small_sample)
    return store


def fill(store: Store, repositories: pd.DataFrame) -> tuple[Dataset, FeatureSet]:
    """Write repositories and a matching feature set."""
    store.root.mkdir(parents=True, exist_ok=True)
    repositories.to_parquet(store.repositories)
    section = FeaturesSection(folds=3)
    table = read_dataset(store, section)
    training = table.repositories.iloc[table.training]
    vocabularies = {name: build_vocabulary(training[name]) for name in ("language", "owner_type")}
    feature_set = FeatureSet(SELECTED, vocabularies, section, table.fingerprint, {})
    write_feature_set(store, feature_set)
    return table, feature_set


def limit_policies(store: Store, *policies: str) -> None:
    """Write the feature set of a store again, with some of its policies."""
    feature_set = read_feature_set(store)
    selected = {policy: feature_set.selected[policy] for policy in policies}
    split = replace(feature_set.split, policies=list(policies))
    write_feature_set(store, replace(feature_set, selected=selected, split=split))


def write_leaderboard(
    store: Store, feature_set: FeatureSet, board: Sequence[tuple[str, str, str, float | None]]
) -> None:
    """Write the policy, family, status and RMSLE [nat] of each row; its other columns have any values."""
    values = {"spread": 0.1, "rmse": 90.0, "r2": 0.5, "mdape": 0.5, "rho": 0.5, "fit_time": 1.0, "size_mb": 1.0}
    values |= {"rows": 600, "note": "", "feature_set": feature_set.digest}
    table = pd.DataFrame(board, columns=["policy", "family", "status", "rmsle"]).assign(**values)
    table[COLUMNS].to_csv(store.leaderboard, index=False)
