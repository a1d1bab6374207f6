"""A policy has a feature of its own if one of its features has a value in any row."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.features.own_columns import OwnColumn, conform
from stargaze.features.policy_values import warn_of_empty_policies


def warned(**columns: Any) -> list[str]:
    """Return the policies that are warned of."""
    frame = schema.conform(pd.DataFrame({"full_name": ["ada/one", "ada/two"], "stars": [1, 2], **columns}))
    return [warning.split()[2] for warning in warn_of_empty_policies(frame)]


@pytest.mark.parametrize(
    ("columns", "policies"),
    [
        ({}, ["activity", "all"]),
        ({"watchers": [1, 2]}, ["activity", "all"]),
        ({"language": ["C", "C"], "topics": [["x"], []]}, ["activity", "all"]),
        ({"commits": [None, 3]}, ["all"]),
        ({"forks": [None, 3]}, ["activity"]),
        ({"open_issues": [0, None], "forks": [1, 1]}, []),
        ({"commits": [None, None], "forks": [1, 1]}, ["activity"]),
    ],
)
def test_policies_without_a_value_are_named(columns: dict[str, Any], policies: list[str]) -> None:
    assert warned(**columns) == policies


def test_dates_give_the_policies_their_ages() -> None:
    days = pd.to_datetime(["2020-01-01", "2021-01-01"], utc=True)

    assert warned(pushed_at=days, fetched_at=days) == ["all"]
    assert warned(pushed_at=days) == ["activity", "all"]


@pytest.mark.parametrize(("values", "policies"), [([3.0, None], ["all"]), ([None, None], ["activity", "all"])])
def test_an_own_column_counts_for_its_policy(values: list[float | None], policies: list[str]) -> None:
    columns = (OwnColumn("reviews", "number", "activity"),)
    frame = conform(
        pd.DataFrame({"full_name": ["ada/one", "ada/two"], "reviews": pd.Series(values, dtype="float64")}), columns
    )

    assert [warning.split()[2] for warning in warn_of_empty_policies(frame, columns)] == policies
