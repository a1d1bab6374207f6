"""Prediction intervals: calibrated numbers, and the function that applies them in training and in serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_SPREAD = 0.05
"""Smallest predicted error [nat]: below it, the value is noise of the model that predicts it."""
MAX_LOG_STARS = 20.0
"""Largest upper bound of log1p(stars) [nat]: 485 million stars, more than there are accounts."""
ROUNDING = 1e-9
"""Tolerance for whole counts that went through the logarithm [stars]."""


@dataclass(frozen=True)
class Intervals:
    """The largest distance between a true count and its prediction, for each class of true and of predicted counts.

    A count is inside if ``|log1p(count) - predicted| <= radius × √spread``. ``count_classes`` and ``prediction_classes``
    are the lowest whole count of stars of each class, the first 0; ``radius`` has shape (n_count_classes,
    n_prediction_classes).
    """

    coverage: float
    count_classes: tuple[float, ...]
    prediction_classes: tuple[float, ...]
    radius: tuple[tuple[float, ...], ...]

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Intervals:
        """Return the inverse of ``dataclasses.asdict``."""
        radius = tuple(tuple(float(number) for number in row) for row in value["radius"])
        names = ("count_classes", "prediction_classes")
        count_classes, prediction_classes = (tuple(float(number) for number in value[name]) for name in names)
        return cls(float(value["coverage"]), count_classes, prediction_classes, radius)

    def is_valid(self) -> bool:
        """Return whether the shapes fit, the classes ascend from 0 and all numbers are finite."""
        classes = (self.count_classes, self.prediction_classes)
        ascending = all(len(row) and row[0] == 0.0 and (np.diff(row) > 0).all() for row in classes)
        shaped = [len(row) for row in self.radius] == [len(self.prediction_classes)] * len(self.count_classes)
        numbers = np.concatenate([*classes, *self.radius])
        return 0.0 < self.coverage < 1.0 and ascending and shaped and bool(np.isfinite(numbers).all())

    def bounds(self, predicted: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest whole count of stars of each prediction interval.

        Parameters
        ----------
        predicted, spread : array, shape (n,)
            Predicted log1p(stars) and its predicted error [nat].

        Returns
        -------
        low, high : array, shape (n,)
            The bounds [stars] of the smallest interval that contains every count that is inside, and the prediction.
        """
        expected = np.expm1(predicted)
        radius = np.asarray(self.radius)[:, self.prediction_class(predicted)] * spread_scale(spread)
        first = np.asarray(self.count_classes)[:, None]
        last = np.append(first[1:, 0] - 1.0, np.inf)[:, None]
        low = np.ceil(np.expm1(np.maximum(predicted - radius, 0.0)) - ROUNDING)
        high = np.floor(np.expm1(np.clip(predicted + radius, 0.0, MAX_LOG_STARS)) + ROUNDING)
        low, high = np.maximum(low, first) + 0.0, np.minimum(high, last)  # no -0
        inside = (low <= high) & (radius >= 0)
        lowest, highest = np.where(inside, low, np.inf).min(axis=0), np.where(inside, high, -np.inf).max(axis=0)
        positive = (radius > 0).any(axis=0)  # else the data have no error, and a whole estimate is its own interval
        whole = np.where(~positive & (np.abs(expected - np.round(expected)) < ROUNDING), np.round(expected), expected)
        above = np.where(positive, np.floor(expected) + 1.0, np.ceil(whole))
        return np.minimum(lowest, np.floor(whole)), np.maximum(highest, above)

    def prediction_class(self, predicted: np.ndarray) -> np.ndarray:
        """Return the class of each prediction; shape (n,)."""
        index: np.ndarray = np.searchsorted(self.prediction_classes, np.round(np.expm1(predicted)), side="right") - 1
        return index


def spread_scale(spread: np.ndarray) -> np.ndarray:
    """Return the factor of the radius: the square root, because errors of the predicted spread then cost less."""
    root: np.ndarray = np.sqrt(np.maximum(spread, MIN_SPREAD))
    return root


def append_prediction(inputs: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the inputs of the error model: the features and, last, the prediction; shape (n, n_features + 1)."""
    return np.column_stack([inputs, predicted])
