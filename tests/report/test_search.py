"""Leaderboard, trials and learning curve tell what was found, and cope with what older versions have not noted."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from stargaze.report import search as searched
from stargaze.report.dataset import owners
from stargaze.report.inputs import Evidence
from stargaze.report.tables import Numbers
from tests.report.conftest import trials

pytestmark = pytest.mark.thorough


def test_families_are_in_the_order_of_the_policy_that_estimates(found: Numbers) -> None:
    frame = found["leaderboard"]

    assert list(dict.fromkeys(frame["family"])) == ["lightgbm", "ridge", "dummy", "perceptron"]
    assert frame["policy"].tolist()[:3] == ["all", "activity", "static"]
    assert frame.loc[frame["family"] == "perceptron", "note"].tolist() == ["took longer than 1 s"]


def test_trials_are_in_the_order_in_which_they_ended() -> None:
    frame = searched.trials(trials())

    assert frame["at"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert frame["rmsle"].tolist() == [0.45, 0.60, 0.40, 0.46]
    assert frame["best"].tolist() == [0.45, 0.45, 0.40, 0.40]
    assert frame["folds"].tolist() == [3, 1, 3, 3]


def test_a_trial_that_was_stopped_is_never_the_best() -> None:
    table = trials()
    table.loc[3, ["rmsle", "fold_0"]] = [np.nan, 0.1]

    frame = searched.trials(table)

    assert frame.loc[1, "rmsle"] == 0.1
    assert frame["best"].min() == 0.40
    assert searched.winner(table) == ("lightgbm", {"n_estimators": 30})


@pytest.mark.parametrize("gone", [["at"], ["stopped"], ["seconds"], ["fold_0", "fold_1", "fold_2"]])
def test_what_was_not_noted_is_not_known(gone: list[str]) -> None:
    frame = searched.trials(trials().drop(columns=gone))

    assert len(frame) == 4
    assert frame["best"].iloc[-1] == 0.40


def test_the_weights_of_a_policy_are_shares_of_one_answer(found: Numbers) -> None:
    weights = found["models"].groupby("policy")["weight"].sum()

    assert sorted(weights.index) == ["activity", "all", "static"]
    assert weights.round(4).eq(1.0).all()


def test_the_learning_curve_learns_from_more_and_more_owners(evidence: Evidence, found: Numbers) -> None:
    frame = found["learning_curve"]
    whole = evidence.table.repositories["full_name"].iloc[evidence.table.training]

    assert frame["policy"].tolist() == ["activity"] * 4 + ["all"] * 4
    for _, part in frame.groupby("policy"):
        assert part["owners"].is_monotonic_increasing
        assert part["owners"].iloc[-1] == owners(whole).nunique()
        assert part["repositories"].iloc[-1] == len(whole)
        assert part["rmsle"].iloc[-1] < part["rmsle"].iloc[0]
    assert ((frame["rmsle_low"] <= frame["rmsle"]) & (frame["rmsle"] <= frame["rmsle_high"])).all()


def test_the_learning_curve_is_bounded(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a million repositories it shall take seconds too."""
    monkeypatch.setattr(searched, "MOST_ROWS", 100)

    frame: pd.DataFrame = searched.learning_curve(evidence)

    assert frame["repositories"].max() < 150


def test_a_part_knows_nothing_of_the_other_owners(evidence: Evidence) -> None:
    """What other rows teach would else come from owners that were not drawn."""
    rows = searched._drawn(evidence.table, 0.25, 0)
    part = searched._part(evidence.table, rows)

    assert set(part.repositories["full_name"]) == {
        *evidence.table.repositories["full_name"].iloc[rows],
        *evidence.test["full_name"],
    }
    assert (part.target == evidence.table.target[np.concatenate([rows, evidence.table.test])]).all()
    assert len(part.training) == len(rows)


def test_a_smaller_part_of_the_owners_lies_in_the_larger(evidence: Evidence) -> None:
    parts = [set(searched._drawn(evidence.table, share, 1)) for share in searched.SHARES]

    assert all(small < large for small, large in itertools.pairwise(parts))
    assert parts[-1] == set(evidence.table.training)
