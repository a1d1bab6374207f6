"""Cross-validate one family on prepared arrays: what a screening process and a tuning trial both do."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from stargaze.tuning.families import Family, Parameters
from stargaze.tuning.metrics import scores


@dataclass(frozen=True)
class Arrays:
    """The training rows of one policy: everything a fit needs, in a file that holds numbers only."""

    inputs: np.ndarray
    target: np.ndarray
    folds: np.ndarray
    categories: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write as .npz without pickles."""
        np.savez(
            path,
            inputs=self.inputs,
            target=self.target,
            folds=self.folds,
            categories=np.array(self.categories, dtype=int),
        )

    @classmethod
    def load(cls, path: Path) -> Arrays:
        """Read what :meth:`save` wrote; an object array is refused."""
        with np.load(path, allow_pickle=False) as data:
            places = tuple(int(place) for place in data["categories"])
            return cls(data["inputs"], data["target"], data["folds"], places)


@dataclass(frozen=True)
class Fold:
    """One fold's out-of-fold predictions and time."""

    fold: int
    rows: np.ndarray
    predicted: np.ndarray
    rmsle: float
    seconds: float


def cross_validate(family: Family, parameters: Parameters, arrays: Arrays, seed: int) -> Iterator[Fold]:
    """Fit on all folds but one and predict that one, fold after fold.

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
        Predictions in log1p(stars), clipped at 0, and the fit time [s].
    """
    for fold in np.unique(arrays.folds):
        begun = time.perf_counter()
        out = arrays.folds == fold
        model = fit(family, parameters, arrays, np.flatnonzero(~out), seed)
        predicted = np.maximum(model.predict(arrays.inputs[out]), 0.0)
        error = float(np.sqrt(np.mean((predicted - arrays.target[out]) ** 2)))
        yield Fold(int(fold), np.flatnonzero(out), predicted, error, time.perf_counter() - begun)


def fit(family: Family, parameters: Parameters, arrays: Arrays, rows: np.ndarray, seed: int) -> Any:
    """Fit one model on some rows; a family that grows faster than its rows gets a random part of them."""
    if family.most_rows and len(rows) > family.most_rows:
        rows = np.sort(np.random.default_rng(seed).choice(rows, family.most_rows, replace=False))
    inputs = arrays.inputs[rows]
    inputs[:, np.isnan(inputs).all(axis=0)] = 0.0  # known nowhere in these rows: some families cannot bin such a column
    model = family.build({**family.defaults, **parameters}, arrays.categories, seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # on a busy machine OpenMP's threads wait more than they work
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is bounded on purpose
        warnings.filterwarnings("ignore", "n_quantiles")  # fewer rows than quantiles: one quantile a row is meant
        return model.fit(inputs, arrays.target[rows])


def summary(folds: list[Fold], arrays: Arrays) -> dict[str, float]:
    """Return mean scores over the folds, their spread, and the mean fit time."""
    rows = [scores(np.expm1(arrays.target[fold.rows]), np.expm1(fold.predicted)) for fold in folds]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    spread = float(np.std([row["rmsle"] for row in rows], ddof=1)) if len(rows) > 1 else 0.0
    return {**mean, "spread": spread, "fit_time": float(np.mean([fold.seconds for fold in folds]))}
