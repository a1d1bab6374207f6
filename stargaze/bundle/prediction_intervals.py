"""Intervals around predictions: plain numbers, and one function that applies them where they are made and where they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST_SPREAD = 0.05
"""No repository counts as easier than this [nat]: below it, a spread is the noise of the model that tells it."""
HIGHEST = 20.0
"""No upper end lies above this log1p(stars) [nat]: 485 million stars, more than there are accounts."""
WITHIN = 1e-9
"""Ten stars are ten stars, also after a trip through the logarithm."""


@dataclass(frozen=True)
class Intervals:
    """How far a true count may lie from its prediction, for each class of counts and of predictions.

    A count is inside if ``|log1p(count) - predicted| <= reach × √spread``. ``counts`` and ``heights`` are the lowest whole
    count of stars of each class of true and of predicted counts, the first 0; ``reach`` (n_counts, n_heights) belongs to each
    pair of them.
    """

    coverage: float
    counts: tuple[float, ...]
    heights: tuple[float, ...]
    reach: tuple[tuple[float, ...], ...]

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Intervals:
        """Read what ``dataclasses.asdict`` wrote."""
        reach = tuple(tuple(float(number) for number in row) for row in value["reach"])
        counts, heights = (tuple(float(number) for number in value[name]) for name in ("counts", "heights"))
        return cls(float(value["coverage"]), counts, heights, reach)

    def is_sound(self) -> bool:
        """Tell whether the numbers can be what they say they are."""
        rising = all(len(row) and row[0] == 0.0 and (np.diff(row) > 0).all() for row in (self.counts, self.heights))
        shaped = len(self.reach) == len(self.counts) and {len(row) for row in self.reach} == {len(self.heights)}
        numbers = np.concatenate([self.counts, self.heights, *self.reach])
        return 0.0 < self.coverage < 1.0 and rising and shaped and bool(np.isfinite(numbers).all())

    def around(self, predicted: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest whole count of stars inside each interval.

        Parameters
        ----------
        predicted, spread : array, shape (n,)
            Predictions of log1p(stars) and how far off they are thought to be [nat].

        Returns
        -------
        low, high : array, shape (n,)
            The ends of the smallest interval that holds every count that is inside.
        """
        nearest = np.round(np.expm1(predicted))
        reach = np.asarray(self.reach)[:, self.height(predicted)] * scale(spread)
        first = np.asarray(self.counts)[:, None]
        last = np.append(first[1:, 0] - 1.0, np.inf)[:, None]
        low = np.ceil(np.expm1(np.maximum(predicted - reach, 0.0)) - WITHIN)
        high = np.floor(np.expm1(np.clip(predicted + reach, 0.0, HIGHEST)) + WITHIN)
        low, high = np.maximum(low, first) + 0.0, np.minimum(high, last)  # no -0
        inside = (low <= high) & (reach >= 0)
        lowest, highest = np.where(inside, low, np.inf).min(axis=0), np.where(inside, high, -np.inf).max(axis=0)
        none = ~inside.any(axis=0)  # no whole count lies inside: take the nearest one
        return np.where(none, nearest, lowest), np.where(none, nearest, highest)

    def height(self, predicted: np.ndarray) -> np.ndarray:
        """Return the class of each prediction; shape (n,)."""
        place: np.ndarray = np.searchsorted(self.heights, np.round(np.expm1(predicted)), side="right") - 1
        return place


def scale(spread: np.ndarray) -> np.ndarray:
    """Return by what a reach is multiplied; the root, because a spread that is told too small or too large then costs less."""
    root: np.ndarray = np.sqrt(np.maximum(spread, LEAST_SPREAD))
    return root


def with_predicted(inputs: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what the model of the spread is given: the inputs and, last, the prediction; shape (n, n_features + 1)."""
    return np.column_stack([inputs, predicted])
