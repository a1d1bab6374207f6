"""The table of all trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.tuning.search.trial_table import write_trials


def trial(number: int) -> dict[str, Any]:
    """Return a finished trial."""
    return {
        "family": "ridge",
        "parameters": {"alpha": float(number)},
        "rmsle": 1.0 / (1 + number),
        "folds": [0.5, 0.6],
        "seconds": 1.5,
        "at": 3.0 * number,
        "stopped": "done",
    }


def test_the_table_of_trials_has_the_best_first(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.parquet", [trial(0), trial(2), trial(1)])

    table = pd.read_parquet(tmp_path / "trials.parquet")

    assert table["rmsle"].tolist() == [1 / 3, 1 / 2, 1.0]
    assert json.loads(table["parameters"][0]) == {"alpha": 2.0}
    assert table.columns.tolist() == ["family", "parameters", "rmsle", "fold_0", "fold_1", "seconds", "at", "stopped"]


def test_a_trial_without_a_time_has_a_missing_value(tmp_path: Path) -> None:
    old = {name: value for name, value in trial(0).items() if name != "at"}

    write_trials(tmp_path / "trials.parquet", [old, trial(1)])

    assert pd.read_parquet(tmp_path / "trials.parquet")["at"].isna().tolist() == [False, True]


def test_folds_that_a_stopped_trial_did_not_run_have_no_score(tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.parquet", [trial(0), {**trial(1), "folds": [0.7], "stopped": "lost after fold 1"}])

    table = pd.read_parquet(tmp_path / "trials.parquet")

    assert table["stopped"].tolist() == ["done", "lost after fold 1"]  # its score is extrapolated
    assert table["fold_0"].tolist() == [0.5, 0.7]
    assert table["fold_1"].isna().tolist() == [False, True]
