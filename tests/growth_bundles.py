"""Growth bundles for tests: one of known models in memory, and one fitted to synthetic histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import GrowthBundle, HorizonModel
from stargaze.config import GrowthSection, TuningSection
from stargaze.features.history.clean import clean_history
from stargaze.features.history.features import StarCounts, build_windows, growth_features
from stargaze.store import Store
from stargaze.tuning.growth.tune_growth import tune_growth
from tests.histories import histories, one_history

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ConstantModel:
    """Predicts one number."""

    value: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return it for every row."""
        return np.full(len(features), self.value)


def constant_bundle(
    days: Sequence[int] = (30, 90, 365),
    *,
    excess: float = 0.0,
    spread: float = 0.0,
    offsets: tuple[float, float] = (-1.0, 1.0),
    milestone_offsets: tuple[float, float] = (-0.5, 0.5),
) -> GrowthBundle:
    """Return a bundle whose forecast is the drift plus ``excess``, with the spread exp(``spread``), on the compressed scale."""
    frame: pd.DataFrame = clean_history(one_history("a/b", np.arange(30.0))).frame
    features = list(growth_features(build_windows(StarCounts.from_frame(frame), 26), []).columns)
    shares = {"coverage": 0.9, "milestone_coverage": 0.8}
    meta = {"history_weeks": 26, "languages": [], "features": features, **shares}
    bundle = GrowthBundle("0" * 64, meta, {})
    bundle.__dict__["horizon_models"] = tuple(
        HorizonModel(number, ConstantModel(excess), ConstantModel(spread), offsets, milestone_offsets)
        for number in days
    )
    return bundle


def write_growth_bundle(store: Store, seed: int = 0) -> Path:
    """Fit a small growth bundle, the newest of the store, in about two seconds; return its folder."""
    path = store.root / "growth-history.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    histories(120, seed=seed).to_parquet(path)
    section = GrowthSection(str(path), horizons=[30, 90], train_until="2024-02-01")
    return tune_growth(section, TuningSection(), store, now=NOW).bundle
