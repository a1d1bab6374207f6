"""LightGBM with the places of its categories: ``fit`` and ``predict`` as the other families have, and folds binned once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import lightgbm
import numpy as np

FIXED: dict[str, Any] = {"subsample_freq": 1, "n_jobs": 1, "verbose": -1, "deterministic": True, "force_row_wise": True}
EARLY_STOPPING_ROUNDS = 50
"""Boosting ends after so many rounds without a better score on the fold that was left out [rounds]."""
MAX_ROUNDS = 3_000
"""And after so many in any case [rounds]."""


@dataclass
class CategoricalLightGBM:
    """A LightGBM regressor that knows which columns are categories; state is the fitted booster."""

    parameters: dict[str, Any]
    categories: tuple[int, ...]
    seed: int
    booster: lightgbm.Booster | None = field(default=None, repr=False)

    def fit(self, inputs: np.ndarray, target: np.ndarray) -> Self:
        """Fit on a float matrix; shape (n, n_features)."""
        model = lightgbm.LGBMRegressor(random_state=self.seed, **FIXED, **self.parameters)
        model.fit(np.asarray(inputs), target, categorical_feature=list(self.categories) or "auto")
        self.booster = model.booster_
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        if self.booster is None:
            raise ValueError("predict before fit")
        return np.asarray(self.booster.predict(np.asarray(inputs), num_threads=1))


@dataclass(frozen=True)
class BinnedFold:
    """The rows outside a fold and those inside it, in LightGBM's bins: made once, used by every trial of a process."""

    outside: lightgbm.Dataset
    inside: lightgbm.Dataset

    @classmethod
    def cut(cls, whole: lightgbm.Dataset, inside: np.ndarray) -> BinnedFold:
        """Take the rows that a fold leaves out (array of bool, shape (n,)) and all others as subsets of one binned table."""
        return cls(*(whole.subset(np.flatnonzero(part).tolist()).construct() for part in (~inside, inside)))

    def boosted(self, parameters: Mapping[str, Any], seed: int, most_rounds: int) -> tuple[float, int]:
        """Boost until the score inside gets no better; return that score [nat] and its rounds."""
        chosen = {name: value for name, value in parameters.items() if name != "n_estimators"}
        booster = lightgbm.train(
            {"objective": "l2", "metric": "None", "seed": seed, "feature_pre_filter": False, **FIXED, **chosen},
            self.outside,
            most_rounds,
            valid_sets=[self.inside],
            feval=_clipped_error,
            callbacks=[lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)],
        )
        return float(booster.best_score["valid_0"]["rmsle"]), int(booster.best_iteration)


def bin_dataset(inputs: np.ndarray, target: np.ndarray, categories: Sequence[int]) -> lightgbm.Dataset:
    """Put all rows into LightGBM's bins; shapes (n, n_features) and (n,), log1p(stars) [nat]."""
    # With its filter on, the bins would depend on a trial's least number of rows in a leaf.
    fixed = {"verbose": -1, "feature_pre_filter": False, "num_threads": 1}
    return lightgbm.Dataset(inputs, target, categorical_feature=list(categories), params=fixed).construct()


def _clipped_error(predicted: np.ndarray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
    """Score as predictions are used: there are no fewer than no stars."""
    residual = np.maximum(predicted, 0.0) - data.get_label()
    return "rmsle", float(np.sqrt(np.mean(residual**2))), False
