"""Which repositories a bundle was fitted, calibrated and tested on: hashes of all names, also of those not in the bundle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.bundle.manifest import BadBundleError
from stargaze.features.split import TEST, VALIDATION

SETS = ("training", "validation", "test")
HASH_KEY = "stargaze-sets-v1"
"""The key of the hashes has 16 characters."""
NUMBER = np.dtype("<u8")


@dataclass(frozen=True)
class RepositorySets:
    """The hashes of the names of each set, in ascending order."""

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, full_names: Iterable[str], folds: np.ndarray) -> RepositorySets:
        """Return the sets of repositories with these folds, as :func:`assign_folds` numbers them; shape (n,).

        Examples
        --------
        >>> sets = RepositorySets.of(["a/b", "c/d", "e/f"], np.array([3, VALIDATION, TEST]))
        >>> sets.find(["A/B", "c/d", "e/f", "x/y"]).tolist()
        ['training', 'validation', 'test', '']
        """
        hashes = hash_names(full_names)
        return cls(*(np.unique(hashes[chosen]) for chosen in (folds >= 0, folds == VALIDATION, folds == TEST)))

    def find(self, full_names: Iterable[str]) -> np.ndarray:
        """Return the set of each repository, empty if it is in none; shape (n,)."""
        hashes = hash_names(full_names)
        found = np.full(len(hashes), "", dtype="object")
        for name in reversed(SETS):
            found[_contains(getattr(self, name), hashes)] = name
        return found

    def to_bytes(self) -> bytes:
        """Return the sizes of the three sets and then their hashes, as numbers of 8 bytes."""
        arrays = [getattr(self, name) for name in SETS]
        sizes = np.array([len(array) for array in arrays], dtype="uint64")  # as signed ones, all would become floats
        return np.concatenate([sizes, *arrays]).astype(NUMBER).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> RepositorySets:
        """Read untrusted bytes; raise BadBundleError if they are no sets."""
        numbers = np.frombuffer(data[: len(data) // 8 * 8], dtype=NUMBER).astype("uint64")
        sizes = [int(size) for size in numbers[: len(SETS)]]
        if len(data) % 8 or len(sizes) < len(SETS) or sum(sizes) != len(numbers) - len(SETS):
            raise BadBundleError("sets.bin has another length than its sets", hint="stargaze tune")
        arrays = np.split(numbers[len(SETS) :], np.cumsum(sizes)[:-1])
        if any((array[1:] <= array[:-1]).any() for array in arrays):
            raise BadBundleError("sets.bin does not ascend", hint="stargaze tune")
        return cls(*arrays)


def hash_names(full_names: Iterable[str]) -> np.ndarray:
    """Return a hash of each name, without regard to case; shape (n,), uint64."""
    names = np.array([str(name).lower() for name in full_names], dtype="object")
    return np.asarray(pd.util.hash_array(names, hash_key=HASH_KEY, categorize=False), dtype="uint64")


def _contains(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return which values are in an ascending array."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[place] == values)
