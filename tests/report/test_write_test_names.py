"""The report of a test set by name states how it was chosen, and what is in no set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from stargaze.config import TuningSection
from stargaze.features.dataset import read_dataset, read_feature_set, write_feature_set
from stargaze.features.split import read_split
from stargaze.report.write import write_report
from stargaze.store import Store
from stargaze.tuning.training.save import save_best
from tests.report.conftest import SCORED_TRIALS, SECTION, _leaderboard

pytestmark = pytest.mark.thorough


def test_the_page_states_the_test_set_and_what_is_left_out(store: Store, tmp_path: Path) -> None:
    repositories = pd.read_parquet(store.repositories)
    repositories.loc[:59, "full_name"] = [f"owner{row // 2}/name{row}" for row in range(60)]
    repositories.to_parquet(store.repositories)
    path = tmp_path / "names.txt"
    path.write_text("\n".join([*repositories["full_name"].iloc[:60:2], "no/such"]))
    split = read_split(dataclasses.replace(SECTION, test_repositories=str(path)))
    table = read_dataset(store, split)
    feature_set = dataclasses.replace(read_feature_set(store), split=split, fingerprint=table.fingerprint)
    write_feature_set(store, feature_set)
    _leaderboard(feature_set.digest).to_csv(store.leaderboard, index=False)
    save_best(TuningSection(trials=4, seed=5), store, table, feature_set, SCORED_TRIALS)

    write_report(store, tmp_path / "report.html")

    text = " ".join((tmp_path / "report.html").read_text().split())
    assert (
        "The test set are 30 of 31 repositories that <code>features.test_repositories</code> listed;"
        " 30 other repositories of their owners are in no set."
    ) in text
    assert "left out" in text
    assert "test_repositories = &#34;names.txt&#34;" in text or 'test_repositories = "names.txt"' in text
    assert str(path) not in text
