"""A calibrated model looks calibrated, one that is not does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.report import calibration as calibrated
from stargaze.report.inputs import Evidence

pytestmark = pytest.mark.thorough


def drawn(n: int, seed: int, *, spread: float = 0.6, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw predictions, most of no star, and true counts around them."""
    random = np.random.default_rng([seed, 4])
    height = random.exponential(1.0, n)
    return height, np.maximum(np.round(np.expm1(height + shift + random.normal(0, spread, n))), 0.0)


def ranked(**changed: float) -> np.ndarray:
    height, stars = drawn(4_000, 1)
    own, true = drawn(4_000, 2, **changed)
    return calibrated.ranked(height, np.log1p(stars) - height, own, true)


def test_ranks_are_even_where_nothing_has_changed() -> None:
    """Also where most counts are none at all."""
    shares = calibrated.rank_counts(ranked())["share"]

    assert shares.between(0.08, 0.12).all()
    assert shares.sum() == pytest.approx(1.0)


def test_ranks_lean_to_the_side_that_is_estimated_too_low() -> None:
    shares = calibrated.rank_counts(ranked(shift=0.5))["share"]

    assert shares.iloc[-1] > 2 * shares.iloc[0]


def test_ranks_pile_up_at_both_ends_where_intervals_are_too_narrow() -> None:
    shares = calibrated.rank_counts(ranked(spread=1.2))["share"]

    assert min(shares.iloc[0], shares.iloc[-1]) > 1.2 * shares.iloc[4]


def test_coverage_is_told_for_every_level_and_for_the_bundle() -> None:
    judged = pd.DataFrame({"true": [1.0, 5.0], "low": [0.0, 0.0], "high": [2.0, 2.0]})
    frame = calibrated.nominal(np.array([0.5, 0.01]), judged, 0.9)

    assert frame["interval"].tolist() == ["by ranks"] * len(calibrated.LEVELS) + ["of the bundle"]
    assert frame["coverage"].tolist() == [0.5] * (len(calibrated.LEVELS) + 1)
    assert ((frame["coverage_low"] <= 0.5) & (frame["coverage_high"] >= 0.5)).all()


def test_bins_hold_all_and_reach_far_up() -> None:
    height, stars = drawn(2_000, 3, spread=0.3)
    frame = calibrated.calibration(pd.DataFrame({"predicted": np.expm1(height), "true": stars}))

    assert frame["repositories"].sum() == 2_000
    assert frame["repositories"].min() >= calibrated.LEAST
    assert frame["predicted"].is_monotonic_increasing
    assert frame["predicted"].iloc[-1] > 20
    near = (np.log1p(frame["predicted"]) - np.log1p(frame["true"])).abs()
    assert near.max() < 0.2


def test_the_real_bundle_is_ranked_row_by_row(evidence: Evidence) -> None:
    ranks = calibrated.ranks(evidence)

    assert ranks.shape == evidence.table.test.shape
    assert ((ranks > 0) & (ranks < 1)).all()
    assert (calibrated.ranks(evidence) == ranks).all()
