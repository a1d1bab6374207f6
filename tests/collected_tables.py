"""Tables as collectors write them: real repositories in an order of stars, with what changes with each row or page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from stargaze.config import FeaturesSection, FetchSection
from stargaze.features.dataset import Dataset, read_dataset
from stargaze.features.fetch import fetch_files
from stargaze.store import Store
from tests.conftest import NOW

BEGIN = pd.Timestamp("2025-06-01 08:00", tz="UTC")
"""The first request of a collection."""
SECTION = FeaturesSection(folds=3, importance_repeats=1)
OMITTED = ["id", "node_id", "watchers", "fetched_at", "updated_at"]


def by_stars(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows in descending order of stars, as a search returns them."""
    return np.argsort(-rows["stars"].to_numpy(), kind="stable")


def by_stars_ascending(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows in ascending order of stars."""
    return by_stars(rows)[::-1]


def by_language(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows of one language after another, each by stars."""
    return np.lexsort((-rows["stars"].to_numpy(), rows["language"].fillna("").to_numpy(dtype="str")))


def by_ranges_of_stars(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows of one range of stars after another, each in ascending order."""
    stars = rows["stars"].to_numpy()
    return np.lexsort((stars, -np.floor(np.log2(stars + 1))))


def by_year(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows of one year of creation after another, each by stars."""
    return np.lexsort((-rows["stars"].to_numpy(), rows["created_at"].dt.year.to_numpy()))


def by_created(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows by their creation."""
    return np.argsort(rows["created_at"].to_numpy("datetime64[s]"), kind="stable")


def by_name(rows: pd.DataFrame) -> np.ndarray:
    """Return the rows in an order that has nothing to do with stars."""
    return np.argsort(pd.util.hash_array(rows["full_name"].to_numpy(dtype="object")))


ORDERS: tuple[Callable[[pd.DataFrame], np.ndarray], ...] = (
    *(by_stars, by_stars_ascending, by_language, by_ranges_of_stars, by_year),
)


@dataclasses.dataclass(frozen=True)
class Collection:
    """The rows in the order of their collection, with the time of each request [s since the beginning]."""

    rows: pd.DataFrame
    clock: np.ndarray

    @property
    def time(self) -> pd.Series:
        """The time at which each row was collected."""
        return pd.Series(BEGIN + pd.to_timedelta(self.clock, unit="s"), index=self.rows.index).dt.floor("s")

    def updated(self, rate: float, seed: int = 1) -> pd.Series:
        """Return ``updated_at``: the last star before the collection, as a repository with n stars gets n times so many a day."""
        mean = 86_400.0 / rate / (self.rows["stars"].to_numpy() + 1.0)
        ages = np.minimum(np.random.default_rng(seed).exponential(mean), 3e8)
        return (self.time - pd.to_timedelta(ages, unit="s")).dt.floor("s")


def collect(
    repositories: pd.DataFrame, order: Callable[[pd.DataFrame], np.ndarray], seconds: float = 2.0
) -> Collection:
    """Collect repositories, created long before, one after another; each takes so many seconds on average."""
    rows = repositories.iloc[order(repositories)].reset_index(drop=True).drop(columns=OMITTED)
    return Collection(rows, np.cumsum(np.random.default_rng(0).gamma(2.0, seconds / 2.0, len(rows))))


def fetch_table(table: pd.DataFrame, folder: Path, extra: tuple[str, ...] = (), *, shuffled: bool = False) -> Store:
    """Write a table to a file, in random order if it was shuffled later, and fetch it into a store."""
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / "table.parquet", Store(folder / "store")
    rows = table.sample(frac=1.0, random_state=5) if shuffled else table
    rows.dropna(axis=1, how="all").to_parquet(path, index=False)
    fetch_files(FetchSection(extra=list(extra)), store, [path], NOW)
    return store


def read_table(table: pd.DataFrame, folder: Path, extra: tuple[str, ...] = (), *, shuffled: bool = False) -> Dataset:
    """Fetch a table and return its dataset."""
    return read_dataset(fetch_table(table, folder, extra, shuffled=shuffled), SECTION)
