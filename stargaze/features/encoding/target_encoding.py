"""Target encoding: smoothed mean stars by language, topic, name or owner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stargaze.features.encoding.tokens import Keys

MAX_KEYS = 100_000
"""Stored keys, the most frequent ones; a key takes 20 bytes."""
MAX_LOG = 50.0
"""Largest log1p(stars) [nat] of a key."""
_COLUMNS = ("keys", "count", "mean", "maximum")


@dataclass(frozen=True)
class TargetEncoder:
    """Per sorted key: its number of rows, the smoothed mean of their targets [nat], and the largest target [nat]."""

    keys: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    maximum: np.ndarray
    overall_mean: float

    @classmethod
    def fit(cls, keys: Keys, target: np.ndarray, smoothing: float) -> TargetEncoder:
        """Average log1p(stars) [nat], shape (n,), over the rows of each key.

        ``smoothing`` is the weight of the overall mean in each key's mean [rows]: Micci-Barreca, A preprocessing scheme for
        high-cardinality categorical attributes, 2001.

        Examples
        --------
        >>> keys = Keys(np.array([0, 1]), np.array([7, 7]), 3)
        >>> TargetEncoder.fit(keys, np.array([1.0, 3.0, 2.0]), 2.0).mean.tolist()
        [2.0]
        """
        overall_mean = float(target.mean())
        unique, index, count = np.unique(keys.keys, return_inverse=True, return_counts=True)
        values = target[keys.rows]
        mean = (np.bincount(index, values, len(unique)) + smoothing * overall_mean) / (count + smoothing)
        maximum = np.zeros(len(unique))
        np.maximum.at(maximum, index, values)
        stored = np.sort(np.argsort(-count, kind="stable")[:MAX_KEYS])
        count, mean, maximum = (item[stored].astype("float32") for item in (count, mean, maximum))
        return cls(unique[stored], count, mean, maximum, overall_mean)

    def transform(self, keys: Keys) -> dict[str, np.ndarray]:
        """Return "count" (rows of a row's keys), "mean", "largest_mean" and "maximum" [nat] of their targets; shape (n,) each.

        An unseen key has no rows and the overall mean; a row without keys has NaN.
        """
        index = np.searchsorted(self.keys, keys.keys)
        bounded = np.minimum(index, max(len(self.keys) - 1, 0))
        is_seen = np.zeros(len(index), bool)
        if len(self.keys):
            is_seen = (index < len(self.keys)) & (self.keys[bounded] == keys.keys)
        seen = bounded[is_seen]
        mean, count, maximum = np.full(len(index), self.overall_mean), np.zeros(len(index)), np.full(len(index), np.nan)
        mean[is_seen], count[is_seen], maximum[is_seen] = self.mean[seen], self.count[seen], self.maximum[seen]
        n_keys = np.bincount(keys.rows, minlength=keys.n)
        with np.errstate(invalid="ignore"):  # for a row without keys, 0 / 0 is NaN
            average = np.bincount(keys.rows, mean, keys.n) / n_keys
        return {
            "count": np.where(n_keys > 0, np.bincount(keys.rows, count, keys.n), np.nan),
            "mean": average,
            "largest_mean": _largest_by_row(keys, mean),
            "maximum": _largest_by_row(keys, maximum),
        }

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that :meth:`from_arrays` reads."""
        return {**{name: getattr(self, name) for name in _COLUMNS}, "overall_mean": np.array(self.overall_mean)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> TargetEncoder:
        """Read untrusted arrays; raise ValueError if :meth:`to_arrays` cannot have returned them."""
        keys, count, mean, maximum = (arrays[name] for name in _COLUMNS)
        values = (count, mean, maximum)
        overall_mean = arrays["overall_mean"]
        is_valid = keys.dtype == np.uint64 and keys.ndim == 1 and overall_mean.shape == ()
        if not is_valid or any(item.shape != keys.shape or item.dtype != np.float32 for item in values):
            raise ValueError("target encoder: arrays of a wrong shape or type")
        is_sorted = len(keys) <= MAX_KEYS and (keys[1:] > keys[:-1]).all()
        largest = {"count": 1e12, "mean": MAX_LOG, "maximum": MAX_LOG}
        in_range = all((np.abs(arrays[name]) <= limit).all() for name, limit in largest.items())
        if not is_sorted or not in_range or not abs(float(overall_mean)) <= MAX_LOG:
            raise ValueError("target encoder: values that no fit returns")
        return cls(keys, count, mean, maximum, float(overall_mean))


def _largest_by_row(keys: Keys, values: np.ndarray) -> np.ndarray:
    largest = np.full(keys.n, np.nan)
    np.fmax.at(largest, keys.rows, values)
    return largest
