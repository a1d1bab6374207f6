"""What rows with the same language, topic, name or owner earned on the average: means that hold for unseen values too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stargaze.features.encoding.tokens import Keys

MAX_KEYS = 100_000
"""Keys that are kept, those of most rows first [keys]; a key costs 20 bytes."""


@dataclass(frozen=True)
class TargetEncoder:
    """Per key, sorted: on how many rows it was, the smoothed mean of their targets [nat], and the best of them [nat]."""

    keys: np.ndarray
    count: np.ndarray
    mean: np.ndarray
    best: np.ndarray
    overall: float

    @classmethod
    def fit(cls, keys: Keys, target: np.ndarray, weight: float) -> TargetEncoder:
        """Average the target over the rows of each key.

        Parameters
        ----------
        keys : Keys
            Of n rows.
        target : array, shape (n,)
            log1p(stars) [nat].
        weight : float
            How many rows at the overall mean are added to each key's own [rows].

        Examples
        --------
        >>> TargetEncoder.fit(Keys(np.array([0, 1]), np.array([7, 7]), 3), np.array([1.0, 3.0, 2.0]), 2.0).mean.tolist()
        [2.0]
        """
        overall = float(target.mean())
        unique, place, count = np.unique(keys.keys, return_inverse=True, return_counts=True)
        values = target[keys.rows]
        mean = (np.bincount(place, values, len(unique)) + weight * overall) / (count + weight)
        best = np.zeros(len(unique))
        np.maximum.at(best, place, values)
        kept = np.sort(np.argsort(-count, kind="stable")[:MAX_KEYS])
        count, mean, best = (item[kept].astype("float32") for item in (count, mean, best))
        return cls(unique[kept], count, mean, best, overall)

    def transform(self, keys: Keys) -> dict[str, np.ndarray]:
        """Return for each row the count, the mean and the largest mean over its keys, and the best; NaN where it has no key.

        A key that was not seen counts as the overall mean on no row.
        """
        place = np.searchsorted(self.keys, keys.keys)
        safe = np.minimum(place, max(len(self.keys) - 1, 0))
        seen = (
            (place < len(self.keys)) & (self.keys[safe] == keys.keys) if len(self.keys) else np.zeros(len(place), bool)
        )
        taken = safe[seen]
        mean, count, best = np.full(len(place), self.overall), np.zeros(len(place)), np.full(len(place), np.nan)
        mean[seen], count[seen], best[seen] = self.mean[taken], self.count[taken], self.best[taken]
        each = np.bincount(keys.rows, minlength=keys.n)
        with np.errstate(invalid="ignore"):  # a row without a key: 0 / 0 is NaN, as meant
            average = np.bincount(keys.rows, mean, keys.n) / each
        return {
            "count": np.where(each > 0, np.bincount(keys.rows, count, keys.n), np.nan),
            "mean": average,
            "largest": _largest(keys, mean),
            "best": _largest(keys, best),
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what :meth:`read` reads."""
        return {**{name: getattr(self, name) for name in _COLUMNS}, "overall": np.array(self.overall)}

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray]) -> TargetEncoder:
        """Read arrays, whoever wrote them.

        Raises
        ------
        ValueError
            If they are not what :meth:`arrays` returns.
        """
        keys, count, mean, best = (arrays[name] for name in _COLUMNS)
        values = (count, mean, best)
        overall = arrays["overall"]
        sound = keys.dtype == np.uint64 and keys.ndim == 1 and overall.shape == () and np.isfinite(overall)
        if not sound or any(item.shape != keys.shape or item.dtype != np.float32 for item in values):
            raise ValueError("means of another shape")
        if (
            len(keys) > MAX_KEYS
            or not (keys[1:] > keys[:-1]).all()
            or not all(np.isfinite(item).all() for item in values)
        ):
            raise ValueError("means that nobody fitted")
        return cls(keys, count, mean, best, float(overall))


_COLUMNS = ("keys", "count", "mean", "best")


def _largest(keys: Keys, values: np.ndarray) -> np.ndarray:
    largest = np.full(keys.n, np.nan)
    np.fmax.at(largest, keys.rows, values)
    return largest
