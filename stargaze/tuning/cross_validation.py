"""Cross-validate one family on prepared arrays: what a screening process and a tuning trial both do."""

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


def _none() -> np.ndarray:
    return np.zeros((0, 0, 0), dtype="float32")


@dataclass(frozen=True)
class Arrays:
    """The training rows of one policy: everything a fit needs, in a file that holds numbers only.

    ``inputs`` (n, n_features), ``target`` log1p(stars) [nat] (n,), ``folds`` (n,), the places of the categories. Columns that are
    learned from other rows (words of the description, the owner's other repositories) are in ``inputs`` as rows of all folds
    teach them, and in ``learned`` (n_folds, n, n_learned) as the rows outside each fold do; ``learned_places`` are theirs.
    """

    inputs: np.ndarray
    target: np.ndarray
    folds: np.ndarray
    categories: tuple[int, ...]
    learned: np.ndarray = field(default_factory=_none)
    learned_places: tuple[int, ...] = ()

    def without(self, fold: int) -> np.ndarray:
        """Return the inputs of all rows as they are known to whoever has not seen a fold; shape (n, n_features)."""
        if not self.learned_places:
            return self.inputs
        inputs = self.inputs.copy()
        inputs[:, self.learned_places] = self.learned[fold]
        return inputs

    def save(self, path: Path) -> None:
        """Write as .npz without pickles."""
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
        """Read what :meth:`save` wrote; an object array is refused."""
        with np.load(path, allow_pickle=False) as data:
            places = (tuple(data[name].tolist()) for name in ("categories", "learned_places"))
            return cls(data["inputs"], data["target"], data["folds"], next(places), data["learned"], next(places))


def policy_arrays(table: Dataset, feature_set: FeatureSet, policy: str, rows: np.ndarray | None = None) -> Arrays:
    """Return what is fitted and cross-validated under a policy: the training rows, or those that are named."""
    chosen = table.training if rows is None else rows
    kept = feature_set.selected[policy]
    inputs = table.model_inputs(feature_set, policy).to_numpy()[chosen]
    places = tuple(place for place, name in enumerate(kept) if CATALOG[name].learned)
    learned = _none()
    if places:
        told = table.encodings(feature_set.split)
        columns = [list(told.values).index(kept[place]) for place in places]
        learned = told.by_excluded_fold[:, chosen][..., columns]
    return Arrays(inputs, table.target[chosen], table.folds[chosen], tuple(category_positions(kept)), learned, places)


@dataclass(frozen=True)
class Fold:
    """One fold's out-of-fold predictions and time; ``raw`` may lie below no star, ``predicted`` does not."""

    fold: int
    rows: np.ndarray
    raw: np.ndarray
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
        Predictions in log1p(stars), as the model says them and clipped at 0, and the fit time [s].
    """
    for fold in np.unique(arrays.folds):
        begun = time.perf_counter()
        out = arrays.folds == fold
        inputs = arrays.without(int(fold))
        model = fit(family, parameters, arrays, np.flatnonzero(~out), seed, inputs)
        raw = np.asarray(model.predict(inputs[out]))
        predicted = np.maximum(raw, 0.0)
        error = float(np.sqrt(np.mean((predicted - arrays.target[out]) ** 2)))
        yield Fold(int(fold), np.flatnonzero(out), raw, predicted, error, time.perf_counter() - begun)


def fit(
    family: Family,
    parameters: Parameters,
    arrays: Arrays,
    rows: np.ndarray,
    seed: int,
    inputs: np.ndarray | None = None,
) -> Any:
    """Fit one model on some rows; a family that grows faster than its rows gets a random part of them."""
    if family.most_rows and len(rows) > family.most_rows:
        rows = np.sort(np.random.default_rng(seed).choice(rows, family.most_rows, replace=False))
    inputs = (arrays.inputs if inputs is None else inputs)[rows]
    inputs[:, np.isnan(inputs).all(axis=0)] = 0.0  # known nowhere in these rows: some families cannot bin such a column
    model = family.build({**family.defaults, **parameters}, arrays.categories, seed)
    with undisturbed():
        return model.fit(inputs, arrays.target[rows])


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Compute on one thread and without the warnings that are meant to be; whoever fits in several threads does so inside."""
    with warnings.catch_warnings(), threadpool_limits(1):  # on a busy machine OpenMP's threads wait more than they work
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is bounded on purpose
        warnings.filterwarnings("ignore", "n_quantiles")  # fewer rows than quantiles: one quantile a row is meant
        yield


def summary(folds: list[Fold], arrays: Arrays) -> dict[str, float]:
    """Return mean scores over the folds, their spread, and the mean fit time."""
    rows = [scores(np.expm1(arrays.target[fold.rows]), np.expm1(fold.predicted)) for fold in folds]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    spread = float(np.std([row["rmsle"] for row in rows], ddof=1)) if len(rows) > 1 else 0.0
    return {**mean, "spread": spread, "fit_time": float(np.mean([fold.seconds for fold in folds]))}
