"""The policy that answers for each repository is the one that serving uses, and damaged files are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.config import FeaturesSection
from stargaze.errors import ExternalError
from stargaze.features import schema
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.features.split import TEST, VALIDATION
from stargaze.tuning.training.held_out import BUNDLE, find_answering_policies, read_held_out, write_held_out

REPOSITORIES = schema.conform(
    pd.DataFrame(
        {
            "full_name": ["a/b", "c/d", "e/f"],
            "stars": [9.0, 99.0, 0.0],
            "forks": [1.0, None, None],
            "contributors": [1.0, 2.0, None],
        }
    )
)
TABLE = Dataset(REPOSITORIES, np.log1p(REPOSITORIES["stars"].to_numpy()), np.array([0, VALIDATION, TEST]), "f" * 64)
SELECTED = {
    "static": ["description_length"],
    "activity": ["description_length", "contributors"],
    "all": ["description_length", "contributors", "forks"],
}
FEATURE_SET = FeatureSet(SELECTED, {}, FeaturesSection(), "f" * 64, {})
HELD_OUT = {policy: np.arange(9.0).reshape(3, 3) + number for number, policy in enumerate(SELECTED)}
DIGEST = "0" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Written predictions."""
    answering = find_answering_policies(TABLE, FEATURE_SET, tuple(SELECTED))
    write_held_out(tmp_path / "held_out.parquet", TABLE, HELD_OUT, answering, DIGEST)
    return tmp_path / "held_out.parquet"


def test_the_widest_policy_with_a_known_own_feature_answers(path: Path) -> None:
    frame = read_held_out(path, TABLE, DIGEST)

    assert frame["policy"].tolist() == ["all", "activity", "static"]
    assert frame["predicted"].tolist() == [2.0, 2.0, 2.0]  # 0 + 2, 1 + 1, 2 + 0
    assert frame["set"].tolist() == ["training", "validation", "test"]
    assert frame["fold"].tolist() == [0, VALIDATION, TEST]


def test_a_policy_beyond_the_estimate_does_not_answer() -> None:
    assert find_answering_policies(TABLE, FEATURE_SET, ("static", "activity")).tolist() == [
        "activity",
        "activity",
        "static",
    ]


def test_the_features_between_two_used_policies_are_own_features_of_the_wider() -> None:
    """A repository whose contributors are known is answered by the policy that reads them."""
    assert find_answering_policies(TABLE, FEATURE_SET, ("static", "all")).tolist() == ["all", "all", "static"]


def test_a_policy_without_own_features_answers_as_in_serving() -> None:
    same = replace(FEATURE_SET, selected={**SELECTED, "all": SELECTED["activity"]})

    assert set(find_answering_policies(TABLE, same, tuple(SELECTED))) == {"all"}


@pytest.mark.parametrize(
    "change",
    [
        {"full_name": ["x/y", "c/d", "e/f"]},
        {"predicted_all": [1.0, np.inf, 2.0]},
        {"policy": ["all", "none", "static"]},
        {"set": ["test"] * 3},
        {"low_all": ["a", "b", "c"]},
    ],
)
def test_changed_values_are_refused(path: Path, change: dict[str, list[object]]) -> None:
    stored = pq.read_table(path).to_pandas().assign(**change)
    table = pa.Table.from_pandas(stored, preserve_index=False).replace_schema_metadata({BUNDLE: DIGEST.encode()})
    pq.write_table(table, path)

    with pytest.raises(ExternalError) as caught:
        read_held_out(path, TABLE, DIGEST)

    assert caught.value.hint == "stargaze tune creates it again"
