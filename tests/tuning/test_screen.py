"""Screening in real processes: a family that fails or runs out of time is a row that says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.config import ScreeningSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.store import Store
from stargaze.tuning.screen import COLUMNS, _sample, leaderboard_rows, read_leaderboard, screen
from tests.tuning.conftest import fill

pytestmark = pytest.mark.real

Screened = tuple[Store, pd.DataFrame, list[str]]


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory, few: pd.DataFrame) -> Screened:
    """A store after a screening, what it returned and what it reported.

    Some counts are infinite: that is beyond linear models, trees do not mind and the median does not look.
    """
    store, said = Store(tmp_path_factory.mktemp("screened")), list[str]()
    infinite = few.copy()
    infinite.loc[infinite.index[::50], "forks"] = np.inf
    fill(store, infinite)
    section = ScreeningSection(families=["ridge", "lightgbm"])
    return store, screen(section, store, 0, lambda what, done: said.append(f"{done:.0%} {what}")), said


def test_every_family_has_a_row_for_each_policy_best_first(screened: Screened) -> None:
    _, board, _ = screened

    assert board["policy"].tolist() == ["all"] * 3 + ["activity"] * 3 + ["static"] * 3
    for _, rows in board.groupby("policy"):
        assert set(rows["family"]) == {"lightgbm", "dummy", "ridge"}
        assert rows["rmsle"].dropna().is_monotonic_increasing
        assert rows["status"].tolist() == ["ok", "ok", "failed"]
    assert board.columns.tolist() == COLUMNS


def test_a_family_that_fails_is_a_row_that_says_why(screened: Screened) -> None:
    _, board, said = screened

    failed = board[board["family"] == "ridge"]

    assert failed["note"].str.contains("infinity").all()
    assert failed["rmsle"].isna().all()
    assert any("ridge" in line and "infinity" in line for line in said)


def test_the_leaderboard_is_written_and_read_back(screened: Screened) -> None:
    store, board, _ = screened
    _, feature_set = read_dataset_and_features(store)

    back = read_leaderboard(store, feature_set)

    pd.testing.assert_frame_equal(back.fillna({"note": ""}), board)
    assert leaderboard_rows(back)[0]["family"] == "lightgbm"


def test_progress_ends_at_all_of_it(screened: Screened) -> None:
    _, _, said = screened

    assert len(said) == 3
    assert said[-1].startswith("100% ")
    assert "lightgbm: all " in "".join(said)


def test_nothing_is_left_of_the_work(screened: Screened) -> None:
    store, _, _ = screened

    assert sorted(path.name for path in store.root.iterdir()) == [
        "features.json",
        "leaderboard.csv",
        "repositories.parquet",
    ]


def test_a_leaderboard_of_another_feature_set_is_refused(screened: Screened, learnt: Store, few: pd.DataFrame) -> None:
    learnt.leaderboard.write_bytes(screened[0].leaderboard.read_bytes())
    _, feature_set = fill(learnt, few.head(700))

    with pytest.raises(ExternalError, match="another feature set") as raised:
        read_leaderboard(learnt, feature_set)
    assert raised.value.hint == "stargaze screen"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", '"', "\x00\x01", "policy\n" * 3])
def test_a_leaderboard_that_is_none_is_refused(learnt: Store, text: str) -> None:
    learnt.leaderboard.write_text(text)
    _, feature_set = read_dataset_and_features(learnt)

    with pytest.raises(ExternalError, match="leaderboard") as raised:
        read_leaderboard(learnt, feature_set)
    assert "stargaze screen" in raised.value.hint


def test_a_leaderboard_that_is_not_there_names_the_command(learnt: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        read_leaderboard(learnt, read_dataset_and_features(learnt)[1])
    assert raised.value.hint == "stargaze screen"


def test_a_family_that_runs_out_of_time_is_a_row_that_says_so(learnt: Store) -> None:
    """Nobody is done in no time, and then there is no leaderboard to go on with: the old one stays."""
    learnt.leaderboard.write_text("the one before")

    with pytest.raises(ExternalError, match=r"no family could be fitted: time limit of 0\.01 s reached") as raised:
        screen(ScreeningSection(families=["ridge"], time_limit=0.01), learnt, 0)

    assert "--time-limit" in raised.value.hint
    assert learnt.leaderboard.read_text() == "the one before"


@pytest.mark.parametrize(("name", "hint"), [("rigde", "Did you mean ridge?"), ("magic", "families: dummy, ridge, ")])
def test_an_unknown_family_is_named_beside_what_is_known(learnt: Store, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: no such family") as raised:
        screen(ScreeningSection(families=["ridge", name]), learnt, 0)
    assert raised.value.hint.startswith(hint)


def test_before_select_features_the_command_is_named(store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        screen(ScreeningSection(families=["ridge"]), store, 0)
    assert raised.value.hint == "stargaze select-features"


@pytest.mark.parametrize("most", [0, 100, 100_000])
def test_a_part_of_the_rows_is_of_whole_owners(learnt: Store, most: int) -> None:
    """All but the last owner, who is cut off where there are enough rows."""
    table, _ = read_dataset_and_features(learnt)

    rows = _sample(table, most, seed=0)

    owners = table.repositories["full_name"].str.lower().str.partition("/")[0]
    outside = set(owners.iloc[np.setdiff1d(table.training, rows)])
    assert len(rows) == min(most or len(table.training), len(table.training))
    assert set(rows) <= set(table.training)
    assert len(set(owners.iloc[rows]) & outside) <= 1
    assert np.array_equal(rows, _sample(table, most, seed=0))
