"""Cross-validation of one model family on prepared arrays, for screening and tuning."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from stargaze.features.catalog import CATALOG
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.matrix import category_positions
from stargaze.tuning.families import Family, Parameters
from stargaze.tuning.metrics import scores


def _no_columns() -> np.ndarray:
    return np.zeros((0, 0, 0), dtype="float32")


@dataclass(frozen=True)
class Arrays:
    """The training rows of one policy, serializable without pickle.

    ``inputs`` (n, n_features), ``target`` log1p(stars) [nat] (n,), ``folds`` (n,), ``categories`` the categorical columns.
    Encoded columns (words, the owner's other repositories) are in ``inputs`` fitted on all folds, and out-of-fold in
    ``learned`` (n_folds, n, n_learned); ``learned_places`` are their columns.
    """

    inputs: np.ndarray
    target: np.ndarray
    folds: np.ndarray
    categories: tuple[int, ...]
    learned: np.ndarray = field(default_factory=_no_columns)
    learned_places: tuple[int, ...] = ()

    def without(self, fold: int) -> np.ndarray:
        """Return the inputs with encoders fitted without one fold; shape (n, n_features)."""
        if not self.learned_places:
            return self.inputs
        inputs = self.inputs.copy()
        inputs[:, self.learned_places] = self.learned[fold]
        return inputs

    def save(self, path: Path) -> None:
        """Write an .npz file without pickle."""
        np.savez(
            path,
            inputs=self.inputs,
            target=self.target,
            folds=self.folds,
            categories=np.array(self.categories, dtype=int),
            learned=self.learned,
            learned_places=np.array(self.learned_places, dtype=int),
        )

    @classmethod
    def load(cls, path: Path) -> Arrays:
        """Read a file of :meth:`save`; object arrays are refused."""
        with np.load(path, allow_pickle=False) as data:
            places = (tuple(data[name].tolist()) for name in ("categories", "learned_places"))
            return cls(data["inputs"], data["target"], data["folds"], next(places), data["learned"], next(places))


def policy_arrays(table: Dataset, feature_set: FeatureSet, policy: str, rows: np.ndarray | None = None) -> Arrays:
    """Return the arrays of a policy for the training rows, or for ``rows``."""
    rows = table.training if rows is None else rows
    selected = feature_set.selected[policy]
    inputs = table.model_inputs(feature_set, policy).to_numpy()[rows]
    positions = tuple(position for position, name in enumerate(selected) if CATALOG[name].learned)
    learned = _no_columns()
    if positions:
        encodings = table.encodings(feature_set.split)
        columns = [list(encodings.values).index(selected[position]) for position in positions]
        learned = encodings.by_excluded_fold[:, rows][..., columns]
    return Arrays(
        inputs, table.target[rows], table.folds[rows], tuple(category_positions(selected)), learned, positions
    )


@dataclass(frozen=True)
class Fold:
    """Out-of-fold predictions and fit time of one fold; ``raw`` may be negative, ``predicted`` is clipped at 0."""

    fold: int
    rows: np.ndarray
    raw: np.ndarray
    predicted: np.ndarray
    rmsle: float
    seconds: float


def cross_validate(family: Family, parameters: Parameters, arrays: Arrays, seed: int) -> Iterator[Fold]:
    """Fit on all folds but one and predict that one, for each fold.

    Parameters
    ----------
    family : Family
    parameters : mapping
        Override the family's defaults.
    arrays : Arrays
        Inputs (n, n_features), target log1p(stars) [nat], folds (n,).
    seed : int

    Yields
    ------
    Fold
        Predictions of log1p(stars) [nat], raw and clipped at 0, and the fit time [s].
    """
    for fold in np.unique(arrays.folds):
        started = time.perf_counter()
        out = arrays.folds == fold
        inputs = arrays.without(int(fold))
        model = fit(family, parameters, arrays, np.flatnonzero(~out), seed, inputs)
        raw = np.asarray(model.predict(inputs[out]))
        predicted = np.maximum(raw, 0.0)
        error = float(np.sqrt(np.mean((predicted - arrays.target[out]) ** 2)))
        yield Fold(int(fold), np.flatnonzero(out), raw, predicted, error, time.perf_counter() - started)


def fit(
    family: Family,
    parameters: Parameters,
    arrays: Arrays,
    rows: np.ndarray,
    seed: int,
    inputs: np.ndarray | None = None,
) -> Any:
    """Fit one model on some rows; a family with a row limit gets a random sample."""
    if family.most_rows and len(rows) > family.most_rows:
        rows = np.sort(np.random.default_rng(seed).choice(rows, family.most_rows, replace=False))
    inputs = (arrays.inputs if inputs is None else inputs)[rows]
    inputs[:, np.isnan(inputs).all(axis=0)] = 0.0  # missing in all rows: some families cannot bin such a column
    model = family.build({**family.defaults, **parameters}, arrays.categories, seed)
    with single_threaded():
        return model.fit(inputs, arrays.target[rows])


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
