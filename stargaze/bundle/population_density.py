"""How close a repository is to the training repositories: its distance to those like it in the most important numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from stargaze.bundle.manifest import BadBundleError

HINT = "stargaze tune writes a new bundle"
NUMBER = np.dtype("<f4")
HEADER = np.dtype("<u4")
MIN_FEATURES, MAX_FEATURES = 2, 12
MAX_REFERENCE = 1_000
"""Training repositories that a bundle contains for comparison."""
N_QUANTILES = 101
NEAREST = 0.05
"""The distance is that to the last of so many of the reference; the very nearest say little of how many there are [share]."""
MIN_COMMON = 0.7
"""A repository of the reference that lacks more of the known numbers is not compared [share of weight]."""
ROUNDING = 1e-9
BATCH = 250
"""Repositories that are compared at once: arrays stay below 10 MB."""
LEVELS = 5
"""Thresholds, by the share of the weight of known numbers: with fewer of them, distances have another distribution."""
HONEST = 0.99
"""The share of held-out repositories of the same population that have no warning."""
LARGE = 2.0
"""The normal score of the largest numbers: ranks would set the few repositories that have them apart from each other."""
MAX_SCORE = 50.0
"""Limit of a number in normal scores."""
MIN_SPREAD = 0.05
"""Least standard deviation of a logarithm, by which values beyond all training repositories are measured."""
MAX_NAMED = 3
"""Features that are named."""
MOST = 0.6
"""Features are named until they make up so much of the distance [share]."""


@dataclass(frozen=True)
class PopulationDensity:
    """The reference: features, their weights and quantiles (N_QUANTILES, d), normal scores (n, d), thresholds (LEVELS,)."""

    features: tuple[str, ...]
    weights: np.ndarray
    quantiles: np.ndarray
    reference: np.ndarray
    thresholds: np.ndarray

    def distances(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of each repository from those like it, and the share of weight that is known.

        ``values`` are :attr:`features`, shape (n, d), NaN where missing. A distance is infinite if too little is known.
        """
        scores = self.to_scores(values)
        nearest = np.full(len(scores), np.inf)
        for start in range(0, len(scores), BATCH):
            rows = slice(start, start + BATCH)
            nearest[rows] = np.partition(self._squares(scores[rows]), self._rank, axis=1)[:, self._rank]
        return np.sqrt(nearest), self._known(scores)

    def find_unlike(self, values: np.ndarray) -> list[list[str]]:
        """Return for each repository the features that set it apart most; none if it is like the training repositories."""
        distances, known = self.distances(values)
        is_outside = np.isfinite(distances) & (distances > self.thresholds[_level(known)])
        found: list[list[str]] = [[] for _ in distances]
        for row in np.flatnonzero(is_outside):
            found[row] = self._explain(self.to_scores(values[row : row + 1])[0])
        return found

    def to_scores(self, values: np.ndarray) -> np.ndarray:
        """Return values as normal scores: by rank among the training repositories, beyond them by logarithms; shape (n, d)."""
        columns = [_score(values[:, j], *knots) for j, knots in enumerate(self._knots)]
        return np.stack(columns, axis=1)

    def to_bytes(self) -> bytes:
        """Return the number of rows and features, then all arrays as numbers of 4 bytes."""
        header = np.array([len(self.reference), len(self.features)], dtype=HEADER).tobytes()
        arrays = (self.weights, self.quantiles, self.reference, self.thresholds)
        return header + b"".join(np.asarray(array, dtype=NUMBER).tobytes() for array in arrays)

    @classmethod
    def from_bytes(cls, data: bytes, features: Sequence[str]) -> PopulationDensity:
        """Read untrusted bytes; raise BadBundleError if they are not the reference of these features."""
        header = np.frombuffer(data[:8], dtype=HEADER) if len(data) >= 8 else np.zeros(2, dtype=HEADER)
        n, d = (int(number) for number in header)
        sizes = [d, N_QUANTILES * d, n * d, LEVELS]
        if d != len(features) or not 1 <= n <= MAX_REFERENCE or len(data) != 8 + NUMBER.itemsize * sum(sizes):
            raise BadBundleError("population.bin has another length than its arrays", hint=HINT)
        numbers = np.frombuffer(data[8:], dtype=NUMBER)
        weights, quantiles, reference, thresholds = np.split(numbers, np.cumsum(sizes)[:-1])
        density = cls(tuple(features), weights, quantiles.reshape(N_QUANTILES, d), reference.reshape(n, d), thresholds)
        if not density._is_valid():
            raise BadBundleError("population.bin has numbers that are no reference", hint=HINT)
        return density

    def _is_valid(self) -> bool:
        reference = self.reference[~np.isnan(self.reference)]
        return bool(
            np.isfinite(self.weights).all()
            and (self.weights > 0).all()
            and (self.weights <= 1).all()
            and np.isfinite(self.quantiles).all()
            and (np.diff(self.quantiles, axis=0) >= 0).all()
            and (np.abs(reference) <= MAX_SCORE).all()
            and not np.isnan(self.thresholds).any()
            and (self.thresholds >= 0).all()
        )

    @cached_property
    def _knots(self) -> list[tuple[np.ndarray, np.ndarray, float]]:
        """For each feature its different quantiles, their normal scores, and the standard deviation of its logarithm."""
        return [_make_knots(column.astype("float64")) for column in self.quantiles.T]

    @property
    def _rank(self) -> int:
        """The position of the distance among the distances to the reference."""
        return int(NEAREST * (len(self.reference) - 1))

    def _known(self, scores: np.ndarray) -> np.ndarray:
        """Return the share of the weight of known numbers; shape (n,)."""
        weights = self.weights.astype("float64")
        share: np.ndarray = (~np.isnan(scores)) @ weights / weights.sum()
        return share

    def _squares(self, scores: np.ndarray) -> np.ndarray:
        """Return the mean squared distance of each repository to each of the reference; shape (n, n_reference)."""
        squares, common = np.zeros((2, len(scores), len(self.reference)))
        for j, weight in enumerate(self.weights.tolist()):
            differences = (scores[:, j, None] - self.reference[:, j]) ** 2
            is_known = ~np.isnan(differences)
            squares += np.where(is_known, weight * differences, 0.0)
            common += weight * is_known
        least = MIN_COMMON * self._known(scores) * float(self.weights.sum(dtype="float64"))
        enough = (common > 0) & (common >= least[:, None] - ROUNDING)
        result: np.ndarray = np.where(enough, squares / np.maximum(common, ROUNDING), np.inf)
        return result

    def _explain(self, scores: np.ndarray) -> list[str]:
        """Return the features that make up most of the distance to the nearest of the reference, most first."""
        squares = self._squares(scores[None])[0]
        nearest = np.argsort(squares, kind="stable")[: self._rank + 1]
        nearest = nearest[np.isfinite(squares[nearest])]
        parts = np.nan_to_num((self.reference[nearest] - scores) ** 2).mean(axis=0) * self.weights
        order = np.argsort(-parts, kind="stable")
        shares = np.cumsum(parts[order]) / max(parts.sum(), 1e-12)
        n_named = min(int(np.searchsorted(shares, MOST)) + 1, MAX_NAMED)
        return [self.features[j] for j in order[:n_named] if parts[j] > 0]


def level_thresholds(distances: np.ndarray, known: np.ndarray, share: float, least: int) -> np.ndarray:
    """Return for each level of known weight the distance that this share of honest repositories does not exceed; shape (LEVELS,).

    It is infinite for a level with fewer than ``least`` repositories, and for the lowest one: too little is known.
    """
    level = _level(known)
    found = np.full(LEVELS, np.inf)
    for i in range(1, LEVELS):
        values = distances[(level == i) & np.isfinite(distances)]
        if len(values) >= least:
            found[i] = np.quantile(values, share)
    return found


def _level(known: np.ndarray) -> np.ndarray:
    level: np.ndarray = np.minimum((known * LEVELS).astype("int64"), LEVELS - 1)
    return level


def _make_knots(quantiles: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    knots = np.unique(quantiles)
    middle = (np.searchsorted(quantiles, knots, "left") + np.searchsorted(quantiles, knots, "right")) / 2
    ranks = np.clip(middle / len(quantiles), 0.5 / len(quantiles), 1 - 0.5 / len(quantiles))
    logs = _log(quantiles)
    low, high = logs[[round(0.16 * (len(quantiles) - 1)), round(0.84 * (len(quantiles) - 1))]]
    scores = np.array([min(NormalDist().inv_cdf(rank), LARGE) for rank in ranks])
    return knots, scores, max((high - low) / 2, MIN_SPREAD)


def _score(values: np.ndarray, knots: np.ndarray, scores: np.ndarray, spread: float) -> np.ndarray:
    """Return normal scores of one feature; shape (n,)."""
    inside = np.interp(values, knots, scores)
    logs = _log(values.astype("float64"))
    beyond = np.maximum(logs - _log(knots[-1:]), 0.0) - np.maximum(_log(knots[:1]) - logs, 0.0)
    return np.where(np.isnan(values), np.nan, np.clip(inside + beyond / spread, -MAX_SCORE, MAX_SCORE))


def _log(values: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return logs
