"""The feature table is complete without a store; a store adds missing values and importances."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stargaze.config import POLICIES
from stargaze.errors import ExternalError
from stargaze.features.matrix import CATALOG
from stargaze.features.selection.select_features import COLUMNS, list_features
from stargaze.store import Store


def test_without_a_store_only_the_definitions_are_listed(tmp_path: Path) -> None:
    rows = list_features(Store(tmp_path / "none"))

    assert [row["feature"] for row in rows] == list(CATALOG)
    assert all(list(row) == COLUMNS for row in rows)
    assert all(row["source"] and row["unit"] and row["meaning"] and row["policy"] in POLICIES for row in rows)
    assert all(row[name] is None for row in rows for name in ("missing", *POLICIES))


def test_a_learned_feature_is_marked(tmp_path: Path) -> None:
    rows = {row["feature"]: row for row in list_features(Store(tmp_path))}

    assert rows["text_score"]["source"] == "full_name description description_tokens topics (learned)"
    assert rows["age"]["source"] == "created_at fetched_at"


def test_with_repositories_the_missing_values_are_listed(tmp_path: Path, make_repositories: object) -> None:
    make_repositories(40, language=[None, "C"] * 20).to_parquet(tmp_path / "repositories.parquet")  # type: ignore[operator]

    rows = {row["feature"]: row for row in list_features(Store(tmp_path))}

    assert rows["language"]["missing"] == 0.5
    assert rows["text_score"]["missing"] is None
    assert rows["language"]["all"] is None


def test_with_a_selection_the_importances_and_reasons_are_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results = {policy: ["selected", "constant"] for policy in POLICIES}
    importances = {f"importance_{policy}": [0.25, None] for policy in POLICIES}
    selection = {"feature": ["age", "forks"], "missing": [0.0, 0.125], **results, **importances}
    pd.DataFrame(selection).to_csv(store.selection, index=False)

    rows = {row["feature"]: row for row in list_features(store)}

    assert rows["age"]["all"] == 0.25
    assert (rows["forks"]["all"], rows["forks"]["missing"]) == ("constant", 0.125)
    assert rows["language"]["all"] is None


@pytest.mark.parametrize(
    ("name", "hint"), [("selection.csv", "stargaze select-features"), ("repositories.parquet", "stargaze fetch")]
)
def test_a_broken_file_is_an_error_that_names_the_command_to_run(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"no,table\n1,2\n")

    with pytest.raises(ExternalError, match=f"{name}: cannot be read") as caught:
        list_features(Store(tmp_path))

    assert hint in caught.value.hint
