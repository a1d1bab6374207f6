"""On few repositories whose stars do not follow from their features, the bundle predicts about the mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import TuningSection
from stargaze.store import Store
from stargaze.tuning.training.save import save_best
from tests.tuning.conftest import fill

pytestmark = pytest.mark.thorough

TRIAL: dict[str, Any] = {
    "family": "lightgbm",
    "parameters": {},
    "rmsle": 1.0,
    "folds": [1.0, 1.0, 1.0],
    "seconds": 1.0,
    "stopped": "done",
}


Draw = tuple[Bundle, pd.DataFrame, float]
"""A bundle, the repositories that it was not fitted on, and the mean of log1p(stars) of those that it was fitted on [nat]."""


@pytest.fixture(scope="module")
def without_signal(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> list[Draw]:
    """Three bundles, each of 400 repositories with the stars of others."""
    draws = list[Draw]()
    for seed in range(3):
        store, random = Store(tmp_path_factory.mktemp("few")), np.random.default_rng(seed)
        few = small_sample.iloc[random.permutation(len(small_sample))[:400]].reset_index(drop=True)
        table, feature_set = fill(store, few.assign(stars=random.permutation(few["stars"].to_numpy())))
        folder, _ = save_best(TuningSection(), store, table, feature_set, [TRIAL], ["ridge", "extra-trees"])
        held_out = table.repositories.iloc[np.append(table.test, table.validation)]
        draws.append((Bundle.load(folder), held_out, float(table.target[table.training].mean())))
    return draws


@pytest.mark.parametrize("policy", ["static", "activity", "all"])
def test_the_mean_has_most_of_the_weight(without_signal: list[Draw], policy: str) -> None:
    members = [part for bundle, _, _ in without_signal for part in bundle.meta["ensemble"][policy]]

    assert sum(part["weight"] for part in members if part["family"] == "dummy") > 0.5 * len(without_signal), members


def test_held_out_repositories_are_predicted_as_well_as_by_the_mean(without_signal: list[Draw]) -> None:
    """The mean of the training rows, because nothing knows that of the held-out ones."""
    ratios = []
    for bundle, held_out, mean in without_signal:
        target = np.log1p(held_out["stars"].to_numpy())
        error = np.mean((bundle.estimate(held_out).predicted - target) ** 2)
        ratios.append(error / np.mean((mean - target) ** 2))

    assert np.mean(ratios) < 1.02, ratios
