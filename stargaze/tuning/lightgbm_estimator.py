"""LightGBM with categorical columns behind ``fit`` and ``predict``, and folds that are binned once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import lightgbm
import numpy as np

from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.retransformation import star_rmse

FIXED: dict[str, Any] = {"subsample_freq": 1, "n_jobs": 1, "verbose": -1, "deterministic": True, "force_row_wise": True}
EARLY_STOPPING_ROUNDS = 50
"""Boosting stops after this number of rounds without a better score on the validation fold."""
MAX_ROUNDS = 3_000
"""Maximum number of boosting rounds."""


@dataclass
class CategoricalLightGBM:
    """A LightGBM regressor with categorical columns; ``booster`` is the fitted model."""

    parameters: dict[str, Any]
    categories: tuple[int, ...]
    seed: int
    booster: lightgbm.Booster | None = field(default=None, repr=False)

    def fit(self, inputs: np.ndarray, target: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Fit on a float matrix of shape (n, n_features)."""
        model = lightgbm.LGBMRegressor(random_state=self.seed, **FIXED, **self.parameters)
        model.fit(
            np.asarray(inputs), target, sample_weight=sample_weight, categorical_feature=list(self.categories) or "auto"
        )
        self.booster = model.booster_
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        if self.booster is None:
            raise ValueError("predict before fit")
        return np.asarray(self.booster.predict(np.asarray(inputs), num_threads=1))


@dataclass(frozen=True)
class BinnedFold:
    """The training and the validation rows of a fold in LightGBM's bins, shared by all trials of a process."""

    training: lightgbm.Dataset
    validation: lightgbm.Dataset

    @classmethod
    def split(cls, whole: lightgbm.Dataset, inside: np.ndarray) -> BinnedFold:
        """Split a binned table into the rows outside and inside of a fold; ``inside`` is a mask of shape (n,)."""
        return cls(*(whole.subset(np.flatnonzero(mask).tolist()).construct() for mask in (~inside, inside)))

    def boost(
        self, parameters: Mapping[str, Any], seed: int, max_rounds: int, metric: str = "rmsle"
    ) -> tuple[dict[str, float], int]:
        """Boost with early stopping by RMSLE; return the scores on the fold with the best number of rounds, and that number.

        The scores are ``rmsle`` [nat] and, if it is the metric, ``rmse`` [stars].
        """
        chosen = {name: value for name, value in parameters.items() if name != "n_estimators"}
        booster = lightgbm.train(
            {"objective": "l2", "metric": "None", "seed": seed, "feature_pre_filter": False, **FIXED, **chosen},
            self.training,
            max_rounds,
            valid_sets=[self.validation],
            feval=[_clipped_error, *([_star_error] if metric == "rmse" else [])],
            callbacks=[lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, first_metric_only=True, verbose=False)],
        )
        return {name: float(value) for name, value in booster.best_score["valid_0"].items()}, int(
            booster.best_iteration
        )


def bin_dataset(inputs: np.ndarray, target: np.ndarray, categories: Sequence[int]) -> lightgbm.Dataset:
    """Put all rows into LightGBM's bins; shapes (n, n_features) and (n,)."""
    # With the filter, the bins would depend on ``min_child_samples`` of a trial.
    fixed = {"verbose": -1, "feature_pre_filter": False, "num_threads": 1}
    return lightgbm.Dataset(inputs, target, categorical_feature=list(categories), params=fixed).construct()


def _clipped_error(predicted: np.ndarray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
    return "rmsle", clipped_rmse(np.asarray(data.get_label()), predicted), False


def _star_error(predicted: np.ndarray, data: lightgbm.Dataset) -> tuple[str, float, bool]:
    return "rmse", star_rmse(np.asarray(data.get_label()), predicted), False
