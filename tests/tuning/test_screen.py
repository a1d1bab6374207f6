"""Screening in real processes: a family that fails or reaches the time limit is a row with the reason."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, ScreeningSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.store import Store
from stargaze.tuning.executors.executor import FamilyJob
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.screen import (
    BEST_FIRST,
    COLUMNS,
    SCORE_COLUMNS,
    SLOWEST_FIRST,
    _sample,
    leaderboard_rows,
    read_leaderboard,
    screen,
)
from tests.tuning.conftest import fill, limit_policies

pytestmark = pytest.mark.real

Screened = tuple[Store, pd.DataFrame, list[str]]


@pytest.fixture(scope="module")
def screening(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> Screened:
    """A store after a screening, the leaderboard and the progress reports.

    Some counts are infinite: linear models fail, trees and the median do not.
    """
    store, reports = Store(tmp_path_factory.mktemp("screened")), list[str]()
    infinite = small_sample.copy()
    infinite.loc[infinite.index[::50], "forks"] = np.inf
    fill(store, infinite)
    section = ScreeningSection(families=["ridge", "lightgbm"])
    return store, screen(section, store, 0, lambda what, done: reports.append(f"{done:.0%} {what}")), reports


def test_every_family_has_a_row_for_each_policy_best_first(screening: Screened) -> None:
    _, board, _ = screening

    assert board["policy"].tolist() == ["all"] * 3 + ["activity"] * 3 + ["static"] * 3
    for _, rows in board.groupby("policy"):
        assert set(rows["family"]) == {"lightgbm", "dummy", "ridge"}
        assert rows["rmsle"].dropna().is_monotonic_increasing
        assert rows["status"].tolist() == ["ok", "ok", "failed"]
    assert board.columns.tolist() == COLUMNS


def test_a_policy_without_features_is_not_screened(selected_store: Store) -> None:
    limit_policies(selected_store, "activity")
    reports = list[float]()

    board = screen(ScreeningSection(families=["ridge"]), selected_store, 0, lambda _what, done: reports.append(done))

    assert board[["policy", "status"]].drop_duplicates().to_numpy().tolist() == [["activity", "ok"]]
    assert set(board["family"]) == {"ridge", "dummy"}
    assert reports[-1] == 1.0


def test_a_failed_family_is_a_row_with_the_reason(screening: Screened) -> None:
    _, board, reports = screening

    failed = board[board["family"] == "ridge"]

    assert failed["note"].str.contains("infinity").all()
    assert failed["rmsle"].isna().all()
    assert any("ridge" in line and "infinity" in line for line in reports)


def test_the_leaderboard_is_written_and_read_back(screening: Screened) -> None:
    store, board, _ = screening
    _, feature_set = read_dataset_and_features(store)

    loaded = read_leaderboard(store, feature_set)

    pd.testing.assert_frame_equal(loaded.fillna({"note": ""}), board)
    assert leaderboard_rows(board)[0]["family"] == "lightgbm"


def test_progress_ends_at_100_percent(screening: Screened) -> None:
    _, _, reports = screening

    assert len(reports) == 3
    assert reports[-1].startswith("100% ")
    assert "lightgbm: all " in "".join(reports)


def test_temporary_files_are_removed(screening: Screened) -> None:
    store, _, _ = screening

    assert sorted(path.name for path in store.root.iterdir()) == [
        "features.json",
        "leaderboard.csv",
        "repositories.parquet",
    ]


def test_a_leaderboard_of_another_feature_set_is_refused(
    screening: Screened, selected_store: Store, small_sample: pd.DataFrame
) -> None:
    selected_store.leaderboard.write_bytes(screening[0].leaderboard.read_bytes())
    _, feature_set = fill(selected_store, small_sample.head(700))

    with pytest.raises(ExternalError, match="another feature set") as raised:
        read_leaderboard(selected_store, feature_set)
    assert raised.value.hint == "stargaze screen"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", '"', "\x00\x01", "policy\n" * 3])
def test_a_broken_leaderboard_is_refused(selected_store: Store, text: str) -> None:
    selected_store.leaderboard.write_text(text)
    _, feature_set = read_dataset_and_features(selected_store)

    with pytest.raises(ExternalError, match="leaderboard") as raised:
        read_leaderboard(selected_store, feature_set)
    assert "stargaze screen" in raised.value.hint


def test_a_leaderboard_of_an_earlier_version_names_the_column_that_it_lacks(
    screening: Screened, selected_store: Store
) -> None:
    pd.read_csv(screening[0].leaderboard).drop(columns="rmse").to_csv(selected_store.leaderboard, index=False)

    with pytest.raises(ExternalError) as raised:
        read_leaderboard(selected_store, read_dataset_and_features(selected_store)[1])
    assert raised.value.message == f"{selected_store.leaderboard}: was written by another version: it lacks rmse"
    assert raised.value.hint == "stargaze screen writes it again"


def test_a_missing_leaderboard_names_the_command(selected_store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        read_leaderboard(selected_store, read_dataset_and_features(selected_store)[1])
    assert raised.value.hint == "stargaze screen"


def test_a_screening_in_which_every_family_fails_keeps_the_old_leaderboard(selected_store: Store) -> None:
    """No family finishes within the time limit."""
    selected_store.leaderboard.write_text("the one before")

    with pytest.raises(ExternalError, match=r"no family could be fitted: time limit of 0\.01 s reached") as raised:
        screen(ScreeningSection(families=["ridge"], time_limit=0.01), selected_store, 0)

    assert "--time-limit" in raised.value.hint
    assert selected_store.leaderboard.read_text() == "the one before"


@pytest.mark.parametrize(("name", "hint"), [("rigde", "Did you mean ridge?"), ("magic", "families: dummy, ridge, ")])
def test_an_unknown_family_is_refused_with_a_suggestion(selected_store: Store, name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: no such family") as raised:
        screen(ScreeningSection(families=["ridge", name]), selected_store, 0)
    assert raised.value.hint.startswith(hint)


def test_without_a_feature_set_the_hint_names_the_command(store: Store) -> None:
    with pytest.raises(MissingInputError) as raised:
        screen(ScreeningSection(families=["ridge"]), store, 0)
    assert raised.value.hint == "stargaze select-features"


@pytest.mark.parametrize("max_rows", [0, 100, 100_000])
def test_a_sample_of_rows_contains_whole_owners(selected_store: Store, max_rows: int) -> None:
    """Except the last owner, whose rows are limited to the number of rows."""
    table, _ = read_dataset_and_features(selected_store)

    rows = _sample(table, max_rows, seed=0)

    owners = table.repositories["full_name"].str.lower().str.partition("/")[0]
    outside = set(owners.iloc[np.setdiff1d(table.training, rows)])
    assert len(rows) == min(max_rows or len(table.training), len(table.training))
    assert set(rows) <= set(table.training)
    assert len(set(owners.iloc[rows]) & outside) <= 1
    assert np.array_equal(rows, _sample(table, max_rows, seed=0))


class EndedFamily:
    """A family that has ended at once."""

    def has_ended(self) -> bool:
        return True

    def kill(self) -> None:
        """Do nothing."""

    def failure_reason(self) -> str:
        return ""


class SlowFamily(EndedFamily):
    """A family that never ends by itself."""

    def __init__(self) -> None:
        self.is_killed = False

    def has_ended(self) -> bool:
        return False

    def kill(self) -> None:
        self.is_killed = True


class FakeExecutor:
    """Runs one family at a time: 40 s each by the fake clock, and the slow family for ever."""

    max_concurrent = 1

    def __init__(self, slow: str = "") -> None:
        self.now = 0.0
        self.started, self.slow, self.running = list[str](), slow, SlowFamily()

    def start(self, job: FamilyJob) -> EndedFamily:
        """Write the rows of all policies, of a slow family only the first."""
        self.started.append(job.family)
        self.now += 40.0
        for policy in ("all",) if job.family == self.slow else POLICIES:
            scores = dict.fromkeys(SCORE_COLUMNS, 0.5)
            job.result_path(policy).write_text(json.dumps(scores), encoding="utf-8")
        return self.running if job.family == self.slow else EndedFamily()


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> FakeExecutor:
    """The executor of the next screening."""
    fake = FakeExecutor()
    monkeypatch.setattr(
        "stargaze.tuning.screen.open_executor", lambda *_arguments: contextlib.nullcontext(enter_result=fake)
    )
    return fake


def test_every_family_has_a_place_within_a_time_budget() -> None:
    assert sorted(BEST_FIRST) == sorted(FAMILIES)
    assert set(SLOWEST_FIRST) < set(FAMILIES)


def test_without_a_time_budget_the_slowest_family_starts_first(selected_store: Store, executor: FakeExecutor) -> None:
    section = ScreeningSection(families=["ridge", "lightgbm", "random-forest"])

    board = screen(section, selected_store, 0, clock=lambda: executor.now)

    assert executor.started[:2] == ["random-forest", "lightgbm"]
    assert (board["status"] == "ok").all()


def test_within_a_time_budget_slow_families_that_seldom_help_are_left_out(
    selected_store: Store, executor: FakeExecutor
) -> None:
    """Two families of 40 s are started within 60 s; the others are rows with the reason."""
    section = ScreeningSection(families=["random-forest", "ridge", "lightgbm"], time_budget=60.0)

    board = screen(section, selected_store, 0, clock=lambda: executor.now).set_index(["family", "policy"])

    assert executor.started == ["dummy", "lightgbm"]
    assert (board.loc["lightgbm", "status"] == "ok").all()
    assert board.loc["random-forest", "status"].tolist() == ["time"] * 3
    assert board.loc[("ridge", "all"), "note"] == "time budget of 60 s reached"


def test_a_family_that_runs_at_the_end_of_the_budget_keeps_its_finished_policies(
    selected_store: Store, executor: FakeExecutor
) -> None:
    executor.slow = "lightgbm"
    section = ScreeningSection(families=["lightgbm"], time_budget=60.0)

    board = screen(section, selected_store, 0, clock=lambda: executor.now).set_index(["family", "policy"])

    assert executor.running.is_killed
    assert board.loc["lightgbm", "status"].to_dict() == {"all": "ok", "activity": "time", "static": "time"}


def test_a_budget_in_which_no_family_ends_names_a_longer_one(selected_store: Store, executor: FakeExecutor) -> None:
    times = iter([0.0])

    with pytest.raises(ExternalError, match="time budget of 5 s reached") as raised:
        screen(ScreeningSection(families=["ridge"], time_budget=5.0), selected_store, 0, clock=lambda: next(times, 9.0))

    assert raised.value.hint == "stargaze screen --time-budget 10"
    assert not executor.started
