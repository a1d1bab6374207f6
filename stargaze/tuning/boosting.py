"""LightGBM with the places of its categories, as the other families are: ``fit`` and ``predict`` on float matrices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import lightgbm
import numpy as np

FIXED: dict[str, Any] = {"subsample_freq": 1, "n_jobs": 1, "verbose": -1, "deterministic": True, "force_row_wise": True}


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
