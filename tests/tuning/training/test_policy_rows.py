"""The rows that the models of a policy are fitted on: complete ones, and copies with less weight."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.features.masking import choose_copies
from stargaze.store import Store
from stargaze.tuning.training.policy_rows import LARGEST_WEIGHT, PolicyRows, copy_weight
from tests.tuning.conftest import fill


def test_copies_follow_the_complete_rows_with_less_weight(store: Store, small_sample: pd.DataFrame) -> None:
    """A copy that keeps one of the largest counts has still less; intervals are calibrated on the first copy of each row."""
    table, feature_set = fill(store, small_sample)
    copies = choose_copies(table.repositories, table.folds)
    rows = PolicyRows.of(table, table.masked(copies, 0), copies, feature_set, "all")
    n, weight = len(table.training), copy_weight(len(table.training))

    fitted, calibrated = (rows.with_copies(rows.training, once=once) for once in (False, True))

    assert (fitted.weights[:n] == 1.0).all()
    assert set(fitted.weights[n:]) == {weight, weight * LARGEST_WEIGHT}
    further = np.flatnonzero(rows.answered & np.isin(copies.rows, table.training) & ~copies.are_drawn)
    assert (fitted.weights == weight * LARGEST_WEIGHT).sum() == len(further) > 0
    assert calibrated.target.tolist() == fitted.target[: len(calibrated.target)].tolist()
    assert set(calibrated.weights[n:]) == {weight}
    assert np.isin(fitted.folds, table.folds[table.training]).all()
    assert weight == pytest.approx(copy_weight(300), abs=0.1)
