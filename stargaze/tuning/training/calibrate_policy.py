"""Calibrate the prediction intervals of one policy, whose rows lack different fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import FieldEffect, Intervals, Level, PartialIntervals, append_prediction
from stargaze.features.matrix import Catalog, catalog_with, find_missing_fields
from stargaze.features.own_columns import OwnColumn
from stargaze.tuning.lightgbm_estimator import CategoricalLightGBM
from stargaze.tuning.training.calibrate import calibrate

LEVELS, LEAST_LEVEL = (0.0, 0.2), 400
"""Shares of missing information from which on the intervals have classes of their own; a level needs this many rows. With more
levels, intervals become narrower from one level to the next by chance."""
USUALLY_KNOWN = 0.05
"""Largest share of complete rows that lack a field whose absence counts as missing information."""
WIDENINGS = 8
"""The steps in which rows with missing fields are widened."""
LEAST_GROWTH, LEAST_WIDENING = 0.004, 0.001
"""The least growth of the mean width when a field of complete rows is removed, and the smallest step of its widening [nat]."""
MOST_NARROWING, NESTED_WIDENING = 0.02, 0.12
"""The largest decrease of the mean width when a further field is removed [fraction], and the largest widening for it [nat]:
widenings of several missing fields multiply, and one step of one order would widen the intervals of all rows without a field."""
MOST_WIDTH = 4.6
"""The mean width above which a removal may narrow intervals [nat]: with a factor of 100 they are of no use to a reader."""
PARTIAL_TOLERANCE = 0.1
"""How far the coverage of a class of true counts may be below that of all rows where information is missing [fraction]."""
EMPTY = Intervals(0.5, (0.0,), (0.0,), ((0.0,),))
SPREAD = {
    "n_estimators": 120,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 40,
    "colsample_bytree": 0.5,
    "subsample": 0.8,
    "reg_lambda": 5.0,
}
"""Small trees, because the size of residuals is mostly noise."""


Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The arguments of :meth:`PartialIntervals.bounds`."""


@dataclass(frozen=True)
class CalibratedIntervals:
    """Calibrated intervals and the model of the prediction error."""

    intervals: PartialIntervals
    spread: Any
    names: tuple[str, ...] = ()
    """The features of the model."""
    own_columns: tuple[OwnColumn, ...] = ()
    """The own columns among them."""

    def bounds(self, inputs: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of each prediction interval [stars]; shapes (n,)."""
        return self.intervals.bounds(*self.predicted_errors(inputs, predicted))

    def predicted_errors(self, inputs: np.ndarray, predicted: np.ndarray) -> Rows:
        """Return which fields each row lacks, its prediction, and its predicted error [nat]."""
        missing = find_missing_fields(inputs, self.names, self.intervals.fields, catalog_with(self.own_columns))
        return missing, predicted, self.spread.predict(append_prediction(inputs, predicted))


@dataclass(frozen=True)
class FieldRemoval:
    """Inputs and predictions [nat] of the same rows before and after the removal of a record field."""

    field: str
    before: tuple[np.ndarray, np.ndarray]
    after: tuple[np.ndarray, np.ndarray]
    is_first: bool
    """Whether the rows were complete before."""


def calibrate_on(
    inputs: np.ndarray,
    predicted: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    categories: Sequence[int],
    coverage: float,
    seed: int,
    names: Sequence[str] = (),
    importance: Mapping[str, float] | None = None,
    removals: Sequence[FieldRemoval] = (),
    own_columns: tuple[OwnColumn, ...] = (),
) -> CalibratedIntervals:
    """Fit the error model and calibrate the intervals with a nominal coverage [fraction] on out-of-fold predictions.

    ``inputs`` (n, n_features) are those of the model, ``predicted`` and ``target`` (n,) are log1p(stars) [nat]. The error of
    each row is predicted by a model that was not fitted on its fold. ``names`` are the features, ``own_columns`` define
    those that are own columns, and ``importance`` is the share of each record field: rows that lack more information get
    intervals of their own. Rows that lack a field are widened until no one of ``removals`` makes intervals narrower on average;
    the first ones are those of one field of complete rows.
    """
    error_inputs, errors = append_prediction(inputs, predicted), np.abs(target - predicted)
    spread = _predict_errors(error_inputs, errors, folds, categories, seed)
    catalog = catalog_with(own_columns)
    fields = _effects(importance or {}, names, removals, catalog)
    missing = find_missing_fields(inputs, names, fields, catalog)
    levels = PartialIntervals(_levels(missing @ np.array([effect.importance for effect in fields.values()])), fields)
    number, model = levels.level_of(missing), _fit_error_model(error_inputs, errors, categories, seed)
    calibrated = CalibratedIntervals(levels, model, tuple(names), own_columns)
    changing = [removal for removal in removals if _can_widen(levels, removal)]
    rows = {id(item): calibrated.predicted_errors(*item) for each in changing for item in (each.before, each.after)}

    def calibrate_level(intervals: PartialIntervals, index: int) -> Level:
        members, wider = number == index, intervals.widen(missing, spread)
        tolerance = PARTIAL_TOLERANCE if index else 0.0
        fitted = calibrate(predicted[members], wider[members], target[members], coverage, tolerance)
        return Level(levels.levels[index].missing, fitted)

    fitted = tuple(calibrate_level(levels, index) for index in range(len(levels.levels)))
    calibrated = replace(calibrated, intervals=replace(levels, levels=fitted))
    if not changing:
        return calibrated
    widened = _widen_missing(calibrated, changing, rows).intervals
    # Only complete rows: shorter intervals of a level that lacks more would be a reason to widen again.
    return replace(calibrated, intervals=replace(widened, levels=(calibrate_level(widened, 0), *fitted[1:])))


def _predict_errors(
    inputs: np.ndarray, errors: np.ndarray, folds: np.ndarray, categories: Sequence[int], seed: int
) -> np.ndarray:
    """Return the error of each row [nat] by a model that was not fitted on its fold; shape (n,)."""
    predicted = np.zeros(len(errors))
    for fold in np.unique(folds):
        out = folds == fold
        predicted[out] = _fit_error_model(inputs[~out], errors[~out], categories, seed).predict(inputs[out])
    return predicted


def _effects(
    importance: Mapping[str, float], names: Sequence[str], removals: Sequence[FieldRemoval], catalog: Catalog
) -> dict[str, FieldEffect]:
    """Return the share of each field; of a field that complete rows lack too, such as a license, it is 0."""
    if not removals:
        return {name: FieldEffect(share) for name, share in importance.items()}
    absent = find_missing_fields(removals[0].before[0], names, importance, catalog).mean(axis=0)
    return {
        name: FieldEffect(share if lacks <= USUALLY_KNOWN else 0.0)
        for (name, share), lacks in zip(importance.items(), absent, strict=True)
    }


def _can_widen(intervals: PartialIntervals, removal: FieldRemoval) -> bool:
    """Return whether a removal changes inputs and intervals can be widened for it alone, not for complete rows too."""
    if not (effect := intervals.fields.get(removal.field)) or not (removal.is_first or effect.importance > 0):
        return False
    return not np.array_equal(removal.before[0], removal.after[0], equal_nan=True)


def _widen_missing(
    calibrated: CalibratedIntervals, changing: Sequence[FieldRemoval], rows: Mapping[int, Rows]
) -> CalibratedIntervals:
    """Widen the intervals of rows that lack a field until no removal makes them narrower on average.

    The error model is fitted on few rows without a field that hardly matters, and can be more certain by chance.
    """
    intervals = calibrated.intervals
    for _ in range(WIDENINGS):
        width = {key: _mean_width(intervals, item) for key, item in rows.items()}
        fields = dict(intervals.fields)
        for removal in changing:
            before, after = width[id(removal.before)], width[id(removal.after)]
            least = LEAST_GROWTH if removal.is_first else -MOST_NARROWING * before
            lacking = least - (after - before)
            if lacking > 0 and before < MOST_WIDTH:
                wider = intervals.fields[removal.field].widening + lacking / max(after, LEAST_GROWTH) + LEAST_WIDENING
                most = 1.0 if removal.is_first else NESTED_WIDENING
                wider = max(fields[removal.field].widening, min(round(wider, 5), most))
                fields[removal.field] = replace(fields[removal.field], widening=wider)
        if fields == intervals.fields:
            break
        intervals = replace(intervals, fields=fields)
    return replace(calibrated, intervals=intervals)


def _mean_width(intervals: PartialIntervals, rows: Rows) -> float:
    """Return the mean width of the intervals on the log scale [nat]."""
    low, high = intervals.bounds(*rows)
    return float(np.mean(np.log1p(high) - np.log1p(low)))


def _levels(missing: np.ndarray) -> tuple[Level, ...]:
    """Return the levels of missing information, with empty intervals; one with few rows joins the level below."""
    starts = list(LEVELS)
    while len(starts) > 1:
        sizes = np.bincount(np.searchsorted(starts, missing, side="right") - 1, minlength=len(starts))
        few = np.flatnonzero(sizes[1:] < LEAST_LEVEL) + 1
        if not len(few):
            break
        del starts[int(few[-1])]
    return tuple(Level(start, EMPTY) for start in starts)


def _fit_error_model(
    inputs: np.ndarray, errors: np.ndarray, categories: Sequence[int], seed: int
) -> CategoricalLightGBM:
    return CategoricalLightGBM(dict(SPREAD), tuple(categories), seed).fit(inputs, errors)
