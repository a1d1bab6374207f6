"""Leaderboard, trials and learning curve, also from tables without optional columns."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from stargaze.report import search
from stargaze.report.dataset import parse_owners
from stargaze.report.inputs import ReportInputs
from stargaze.report.tables import ReportTables
from tests.report.conftest import stored_trials

pytestmark = pytest.mark.thorough


def test_families_are_sorted_by_the_policy_of_the_estimate(tables: ReportTables) -> None:
    frame = tables["leaderboard"]

    assert list(dict.fromkeys(frame["family"])) == ["lightgbm", "ridge", "dummy", "perceptron"]
    assert frame["policy"].tolist()[:3] == ["all", "activity", "static"]
    assert frame.loc[frame["family"] == "perceptron", "note"].tolist() == ["took longer than 1 s"]


def test_trials_are_in_the_order_in_which_they_ended() -> None:
    frame = search.sort_trials(stored_trials())

    assert frame["at"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert frame["rmsle"].tolist() == [0.45, 0.60, 0.40, 0.46]
    assert frame["best"].tolist() == [0.45, 0.45, 0.40, 0.40]
    assert frame["folds"].tolist() == [3, 1, 3, 3]


def test_a_stopped_trial_is_never_the_best() -> None:
    table = stored_trials()
    table.loc[3, ["rmsle", "fold_0"]] = [np.nan, 0.1]

    frame = search.sort_trials(table)

    assert frame.loc[1, "rmsle"] == 0.1
    assert frame["best"].min() == 0.40
    assert search.best_trial(table) == ("lightgbm", {"n_estimators": 30})


def test_trials_of_the_metric_rmse_are_compared_in_stars() -> None:
    table = stored_trials()
    table["rmse"] = [50.0, 40.0, 45.0, 60.0]
    table.loc[0, "stopped"] = "lost after fold 1"

    frame = search.sort_trials(table)

    assert frame["rmse"].tolist() == [40.0, 60.0, 50.0, 45.0]
    assert frame["best"].tolist() == [40.0] * 4
    assert search.best_trial(table) == ("lightgbm", {"n_estimators": 31})


@pytest.mark.parametrize("columns", [["at"], ["stopped"], ["seconds"], ["fold_0", "fold_1", "fold_2"]])
def test_trials_without_optional_columns_are_sorted(columns: list[str]) -> None:
    frame = search.sort_trials(stored_trials().drop(columns=columns))

    assert len(frame) == 4
    assert frame["best"].iloc[-1] == 0.40


def test_the_weights_of_each_policy_sum_to_1(tables: ReportTables) -> None:
    weights = tables["models"].groupby("policy")["weight"].sum()

    assert sorted(weights.index) == ["activity", "all", "static"]
    assert weights.round(4).eq(1.0).all()


def test_the_learning_curve_uses_growing_shares_of_the_owners(inputs: ReportInputs, tables: ReportTables) -> None:
    frame = tables["learning_curve"]
    training = inputs.dataset.repositories["full_name"].iloc[inputs.dataset.training]

    assert frame["policy"].tolist() == ["activity"] * 4 + ["all"] * 4
    for _, subset in frame.groupby("policy"):
        assert subset["owners"].is_monotonic_increasing
        assert subset["owners"].iloc[-1] == parse_owners(training).nunique()
        assert subset["repositories"].iloc[-1] == len(training)
        assert subset["rmsle"].iloc[-1] < subset["rmsle"].iloc[0]
    assert ((frame["rmsle_low"] <= frame["rmsle"]) & (frame["rmsle"] <= frame["rmsle_high"])).all()


def test_the_learning_curve_is_bounded(inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds even for a million repositories."""
    monkeypatch.setattr(search, "MAX_ROWS", 100)

    frame: pd.DataFrame = search.compute_learning_curve(inputs)

    assert frame["repositories"].max() < 150


def test_a_share_excludes_all_other_training_owners(inputs: ReportInputs) -> None:
    """Otherwise encodings would use owners that were not drawn."""
    rows = search._draw_rows(inputs.dataset, 0.25, 0)
    subset = search._select_rows(inputs.dataset, rows)

    assert set(subset.repositories["full_name"]) == {
        *inputs.dataset.repositories["full_name"].iloc[rows],
        *inputs.test["full_name"],
    }
    assert (subset.target == inputs.dataset.target[np.concatenate([rows, inputs.dataset.test])]).all()
    assert len(subset.training) == len(rows)


def test_smaller_shares_are_subsets_of_larger_ones(inputs: ReportInputs) -> None:
    shares = [set(search._draw_rows(inputs.dataset, share, 1)) for share in search.SHARES]

    assert all(small < large for small, large in itertools.pairwise(shares))
    assert shares[-1] == set(inputs.dataset.training)
