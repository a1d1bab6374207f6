"""The program of one screening process, called as a function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stargaze.config import POLICIES
from stargaze.tuning.cross_validation import Arrays
from stargaze.tuning.executors.run_family import main, score_family
from stargaze.tuning.families import FAMILIES


def test_a_row_has_scores_time_and_size(arrays: Arrays) -> None:
    row = score_family(FAMILIES["ridge"], arrays, seed=0)

    assert set(row) == {"rmsle", "rmse", "r2", "mdape", "rho", "spread", "fit_time", "size_mb"}
    assert 0 < row["rmsle"] < score_family(FAMILIES["dummy"], arrays, seed=0)["rmsle"]
    assert 0 < row["size_mb"] < 1


@pytest.mark.thorough
def test_one_file_per_policy_is_written(arrays: Arrays, tmp_path: Path) -> None:
    for policy in POLICIES:
        arrays.save(tmp_path / f"{policy}.npz")

    main(["ridge", str(tmp_path), str(tmp_path), "0", *POLICIES])

    rows = [json.loads((tmp_path / f"ridge-{policy}.json").read_text()) for policy in POLICIES]
    assert len({row["rmsle"] for row in rows}) == 1


def test_rows_before_a_failure_are_written(arrays: Arrays, tmp_path: Path) -> None:
    arrays.save(tmp_path / "all.npz")

    with pytest.raises(FileNotFoundError):
        main(["ridge", str(tmp_path), str(tmp_path), "0", "all", "static"])

    assert (tmp_path / "ridge-all.json").is_file()
