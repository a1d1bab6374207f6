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


@dataclass(frozen=True)
class FieldEffect:
    """What a missing record field does: its share of the information, and the logarithm of the factor of the radius [nat]."""

    importance: float
    widening: float = 0.0


@dataclass(frozen=True)
class Level:
    """The intervals from a share of missing information on."""

    missing: float
    intervals: Intervals


@dataclass(frozen=True)
class PartialIntervals:
    """Intervals for rows with missing fields: classes for each level of missing information, and a widening of each field.

    The shares of the missing fields add up; the row's level is the last one whose ``missing`` does not exceed the sum.
    """

    levels: tuple[Level, ...]
    fields: Mapping[str, FieldEffect]

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> PartialIntervals:
        """Return the inverse of ``dataclasses.asdict``."""
        levels = tuple(
            Level(float(item["missing"]), Intervals.from_dict(item["intervals"])) for item in value["levels"]
        )
        fields = {
            str(name): FieldEffect(float(item["importance"]), float(item["widening"]))
            for name, item in value["fields"].items()
        }
        return cls(levels, fields)

    @classmethod
    def of(cls, intervals: Intervals) -> PartialIntervals:
        """Return the same intervals for all rows."""
        return cls((Level(0.0, intervals),), {})

    def is_valid(self) -> bool:
        """Return whether the levels ascend from 0 and their intervals are valid."""
        starts = [level.missing for level in self.levels]
        ascending = bool(starts) and starts[0] == 0.0 and bool((np.diff(starts) > 0).all())
        return ascending and all(level.intervals.is_valid() for level in self.levels)

    def level_of(self, missing: np.ndarray) -> np.ndarray:
        """Return the number of each row's level; ``missing`` tells which of ``fields`` it lacks, shape (n, n_fields)."""
        importance = np.array([effect.importance for effect in self.fields.values()])
        starts = [level.missing for level in self.levels]
        number: np.ndarray = np.searchsorted(starts, missing @ importance + ROUNDING, side="right") - 1
        return number

    def widen(self, missing: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Return the predicted errors [nat] with the widening of missing fields; the radius is their square root."""
        widening = np.array([effect.widening for effect in self.fields.values()])
        return np.asarray(np.maximum(spread, MIN_SPREAD) * np.exp(2.0 * (missing @ widening)))

    def bounds(self, missing: np.ndarray, predicted: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of each row [stars], see :meth:`Intervals.bounds`."""
        wider = self.widen(missing, spread)
        low, high = np.zeros((2, len(predicted)))
        levels = self.level_of(missing)
        for number in np.unique(levels).tolist():
            rows = levels == number
            low[rows], high[rows] = self.levels[number].intervals.bounds(predicted[rows], wider[rows])
        return low, high


@dataclass(frozen=True)
class AnswerPolicy:
    """A policy that can answer, and its prediction intervals."""

    policy: str
    intervals: PartialIntervals

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> AnswerPolicy:
        """Return the inverse of ``dataclasses.asdict``."""
        return cls(str(value["policy"]), PartialIntervals.from_dict(value["intervals"]))


def spread_scale(spread: np.ndarray) -> np.ndarray:
    """Return the factor of the radius: the square root, because errors of the predicted spread then cost less."""
    root: np.ndarray = np.sqrt(np.maximum(spread, MIN_SPREAD))
    return root


def append_prediction(inputs: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the inputs of the error model: the features and, last, the prediction; shape (n, n_features + 1)."""
    return np.column_stack([inputs, predicted])
