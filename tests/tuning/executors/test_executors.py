"""All executors: the same leaderboard, rows for failures and time limits, nothing left behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.config import ScreeningSection
from stargaze.errors import ExternalError
from stargaze.store import Store
from stargaze.tuning.screen import screen
from tests.tuning.conftest import fill

pytestmark = pytest.mark.real
FAMILIES = ["ridge", "random-forest", "histogram-boosting", "perceptron", "lightgbm"]


@pytest.fixture(scope="module")
def by_process(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard of the process executor."""
    return leaderboard("process", tmp_path_factory.mktemp("process"), small_sample, FAMILIES)


def test_ray_and_processes_produce_the_same_leaderboard(
    by_process: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame
) -> None:
    by_ray = leaderboard("ray", tmp_path_factory.mktemp("ray"), small_sample, FAMILIES)

    pd.testing.assert_frame_equal(by_ray, by_process, check_exact=True)


@pytest.mark.parametrize("executor", ["process", "ray"])
def test_a_failed_family_is_a_row_with_the_reason(
    executor: str, tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame
) -> None:
    """Some counts are infinite: linear models fail, the median does not use them."""
    infinite = small_sample.copy()
    infinite.loc[infinite.index[::50], "forks"] = np.inf

    rows = leaderboard(executor, tmp_path_factory.mktemp(executor), infinite, ["ridge"]).set_index(["family", "policy"])

    assert rows.loc["dummy", "status"].tolist() == ["ok"] * 3
    assert rows.loc[("ridge", "all"), "status"] == "failed"
    assert "infinity" in rows.loc[("ridge", "all"), "note"]


@pytest.mark.parametrize("executor", ["process", "ray"])
def test_a_family_that_reaches_the_time_limit_is_a_row_with_the_reason(executor: str, selected_store: Store) -> None:
    with pytest.raises(ExternalError, match=r"no family could be fitted: time limit of 0\.01 s reached"):
        screen(
            ScreeningSection(families=["perceptron"], time_limit=0.01, executor=executor, max_concurrent=1),
            selected_store,
            0,
        )

    assert not list(selected_store.root.glob(".screen-*"))


def leaderboard(executor: str, root: object, repositories: pd.DataFrame, families: list[str]) -> pd.DataFrame:
    """Screen in a new store; fit times are not reproducible."""
    store = Store(root)  # type: ignore[arg-type]
    fill(store, repositories)
    return screen(ScreeningSection(families=families, executor=executor), store, 0).drop(columns="fit_time")
