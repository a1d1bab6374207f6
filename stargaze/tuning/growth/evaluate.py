"""Score foreseen growth beside the ways of going on that need no model, on examples that began after the cut."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stargaze.bundle.growth_bundle import HorizonModel
from stargaze.tuning.growth.baselines import BASELINES, fitted_log_linear
from stargaze.tuning.growth.examples import Examples

OURS = "stargaze"
FITTED = "log-linear, fitted"


def evaluate_horizons(
    outlooks: Mapping[int, HorizonModel], judged: Mapping[int, tuple[Examples, Examples]]
) -> list[dict[str, Any]]:
    """Score our models and every baseline on the test examples, a row a horizon and method."""
    rows = []
    for days, (train, test) in judged.items():
        middle, low, high = outlooks[days].growth(test.origins, test.features)
        inside = (low <= test.growth) & (test.growth <= high)
        row = {"days": days, "method": OURS, "examples": len(test)}
        rows.append(row | growth_scores(test, middle) | {"coverage": float(inside.mean())})
        others = {name: baseline(test.origins, days) for name, baseline in BASELINES.items()}
        others[FITTED] = fitted_log_linear(train, test)
        rows += [
            {"days": days, "method": name, "examples": len(test)} | growth_scores(test, found)
            for name, found in others.items()
        ]
    return rows


def growth_scores(test: Examples, growth: np.ndarray) -> dict[str, float]:
    """Score foreseen log growth.

    Parameters
    ----------
    test : Examples
        With the true growth.
    growth : array, shape (n,)
        Foreseen log growth [nat].

    Returns
    -------
    dict of str to float
        ``r2`` of log growth, log((later + 1) / (now + 1)); ``median_error``, of the stars gained, as a share of them (of one
        star where none were gained); ``median_nat``, of log growth [nat].
    """
    now = test.origins.current_stars
    true, foreseen = (np.expm1(np.log1p(now) + one) - now for one in (test.growth, growth))
    spread = float(np.sum((test.growth - test.growth.mean()) ** 2))
    return {
        "r2": 1.0 - float(np.sum((test.growth - growth) ** 2)) / spread if spread > 0 else math.nan,
        "median_error": float(np.median(np.abs(foreseen - true) / np.maximum(np.abs(true), 1.0))),
        "median_nat": float(np.median(np.abs(test.growth - growth))),
    }
