"""Cross-validation of one model family on prepared arrays, for screening and tuning."""

from __future__ import annotations

import contextlib
import inspect
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.matrix import category_positions
from stargaze.tuning.family import Family, Parameters
from stargaze.tuning.metrics import clipped_rmse, scores


def _no_columns() -> np.ndarray:
    return np.zeros((0, 0, 0), dtype="float32")


@dataclass(frozen=True)
class Arrays:
    """The training rows of one policy, serializable without pickle.

    ``inputs`` has shape (n, n_features), ``target`` is log1p(stars) [nat]. ``learned`` holds the encoded columns out-of-fold,
    shape (n_folds, n, n_learned); ``inputs`` holds them fitted on all folds, at the positions ``learned_columns``.
    """

    inputs: np.ndarray
    target: np.ndarray
    folds: np.ndarray
    categories: tuple[int, ...]
    learned: np.ndarray = field(default_factory=_no_columns)
    learned_columns: tuple[int, ...] = ()
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """The weight of each row, empty if all are 1."""

    def take(self, rows: np.ndarray) -> Arrays:
        """Return some rows."""
        return replace(
            self,
            inputs=self.inputs[rows],
            target=self.target[rows],
            folds=self.folds[rows],
            learned=self.learned[:, rows] if self.learned_columns else self.learned,
            weights=self.weights[rows] if len(self.weights) else self.weights,
        )

    def stack(self, other: Arrays) -> Arrays:
        """Return both, the rows of this one with weight 1."""
        return replace(
            self,
            inputs=np.vstack([self.inputs, other.inputs]),
            target=np.concatenate([self.target, other.target]),
            folds=np.concatenate([self.folds, other.folds]),
            learned=np.concatenate([self.learned, other.learned], axis=1) if self.learned_columns else self.learned,
            weights=np.concatenate([np.ones(len(self.target)), other.weights]),
        )

    def without(self, fold: int) -> np.ndarray:
        """Return the inputs with encoders that were fitted without one fold."""
        if not self.learned_columns:
            return self.inputs
        inputs = self.inputs.copy()
        inputs[:, self.learned_columns] = self.learned[fold]
        return inputs

    def save(self, path: Path) -> None:
        """Write an .npz file without pickle."""
        columns = {name: np.array(getattr(self, name), dtype=int) for name in ("categories", "learned_columns")}
        np.savez(path, **vars(self) | columns)

    @classmethod
    def load(cls, path: Path) -> Arrays:
        """Read a file of :meth:`save`; object arrays are refused."""
        with np.load(path, allow_pickle=False) as data:
            values = {name: data[name] for name in data.files}
        return cls(**values | {name: tuple(values[name].tolist()) for name in ("categories", "learned_columns")})


def policy_arrays(table: Dataset, feature_set: FeatureSet, policy: str, rows: np.ndarray | None = None) -> Arrays:
    """Return the arrays of a policy for the training rows, or for ``rows``."""
    rows = table.training if rows is None else rows
    selected, catalog = feature_set.selected[policy], feature_set.catalog
    inputs = table.model_inputs(feature_set, policy).to_numpy()[rows]
    positions = tuple(position for position, name in enumerate(selected) if catalog[name].learned)
    learned = _no_columns()
    if positions:
        encodings = table.encodings_of(feature_set)
        columns = [list(encodings.values).index(selected[position]) for position in positions]
        learned = encodings.by_excluded_fold[:, rows][..., columns]
    categories = tuple(category_positions(selected, catalog))
    return Arrays(inputs, table.target[rows], table.folds[rows], categories, learned, positions)


@dataclass(frozen=True)
class Fold:
    """Out-of-fold predictions of log1p(stars) [nat], raw and clipped at 0, the time of one fold [s], and its model."""

    fold: int
    rows: np.ndarray
    raw: np.ndarray
    predicted: np.ndarray
    rmsle: float
    seconds: float
    model: Any = field(default=None, repr=False)


def cross_validate(family: Family, parameters: Parameters, arrays: Arrays, seed: int) -> Iterator[Fold]:
    """Fit on all folds but one and predict that one, for each fold; ``parameters`` override the family's defaults."""
    for fold in np.unique(arrays.folds):
        started = time.perf_counter()
        out = arrays.folds == fold
        inputs = arrays.without(int(fold))
        model = fit(family, parameters, arrays, np.flatnonzero(~out), seed, inputs)
        raw = np.asarray(model.predict(inputs[out]))
        error, seconds = clipped_rmse(arrays.target[out], raw), time.perf_counter() - started
        yield Fold(int(fold), np.flatnonzero(out), raw, np.maximum(raw, 0.0), error, seconds, model)


def fit(
    family: Family,
    parameters: Parameters,
    arrays: Arrays,
    rows: np.ndarray,
    seed: int,
    inputs: np.ndarray | None = None,
) -> Any:
    """Fit one model on some rows; a family with a row limit gets a random sample.

    ``parameters`` override the family's defaults for this number of rows.
    """
    n_rows = len(rows)
    if family.max_rows and len(rows) > family.max_rows:
        rows = np.sort(np.random.default_rng(seed).choice(rows, family.max_rows, replace=False))
    inputs = (arrays.inputs if inputs is None else inputs)[rows]
    inputs[:, np.isnan(inputs).all(axis=0)] = 0.0  # missing in all rows: some families cannot bin such a column
    model = family.build({**family.at(n_rows).defaults, **parameters}, arrays.categories, seed)
    weights = _weight_arguments(model, arrays.weights[rows]) if len(arrays.weights) else {}
    with single_threaded():
        return model.fit(inputs, arrays.target[rows], **weights)


def _weight_arguments(model: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights as arguments of ``fit``; nearest neighbors take none."""
    name, estimator = model.steps[-1] if hasattr(model, "steps") else ("", model)
    takes_weights = "sample_weight" in inspect.signature(estimator.fit).parameters
    return {f"{name}__sample_weight" if name else "sample_weight": weights} if takes_weights else {}


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Limit native libraries to one thread and silence expected warnings; parallel fits run inside."""
    with warnings.catch_warnings(), threadpool_limits(1):  # OpenMP threads mostly wait on a busy machine
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is limited on purpose
        warnings.filterwarnings("ignore", "n_quantiles")  # fewer rows than quantiles is intended
        yield


def summarize_folds(folds: list[Fold], arrays: Arrays) -> dict[str, float]:
    """Return the mean scores over the folds, the spread of RMSLE and the mean fit time."""
    rows = [scores(np.expm1(arrays.target[fold.rows]), np.expm1(fold.predicted)) for fold in folds]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    spread = float(np.std([row["rmsle"] for row in rows], ddof=1)) if len(rows) > 1 else 0.0
    return {**mean, "spread": spread, "fit_time": float(np.mean([fold.seconds for fold in folds]))}
