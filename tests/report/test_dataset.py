"""The data card counts every repository once, and says what is not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.report import dataset as data
from stargaze.report.inputs import Evidence
from stargaze.report.tables import Numbers

pytestmark = pytest.mark.thorough


def test_every_repository_stands_in_one_decade_and_on_one_side(found: Numbers) -> None:
    frame = found["stars"]

    assert frame["repositories"].sum() == found["sides"]["repositories"].sum() == 900
    assert (frame[["training", "validation", "test"]].sum(axis="columns") == frame["repositories"]).all()
    assert np.isclose(found["sides"]["share"].sum(), 1.0)


def test_decades_begin_where_a_digit_is_added() -> None:
    edges = np.array([0, 1, 9, 10, 99, 100, 99_999, 100_000, 3_000_000], dtype=float)

    assert data.decades(edges) == [
        "0",
        "1–9",
        "1–9",
        "10–99",
        "10–99",
        "100–999",
        "10,000–99,999",
        *["100,000 and more"] * 2,
    ]


def test_no_owner_stands_on_two_sides(evidence: Evidence, found: Numbers) -> None:
    owners = data.owners(evidence.table.repositories["full_name"]).nunique()

    assert found["sides"]["owners"].sum() == owners


def test_the_rest_of_the_values_is_counted_too() -> None:
    frame = data.common(pd.Series([*"aaabbcd", None], name="language"), most=2)

    assert frame["language"].tolist() == ["a", "b", "2 others", "not known"]
    assert frame["repositories"].tolist() == [3, 2, 2, 1]
    assert frame["share"].sum() == 1.0


def test_missing_rates_are_those_of_the_repositories(evidence: Evidence, found: Numbers) -> None:
    rates = found["missing"].set_index("field")["missing"]

    assert rates["description_length"] == evidence.table.repositories["description_length"].isna().mean() > 0
    assert rates["stars"] == 0
    assert rates["commits"] == 1


def test_a_feature_says_where_it_comes_from_and_where_it_was_kept(found: Numbers) -> None:
    features = found["features"].set_index("feature")

    assert features.loc["age", "source"] == "created_at, fetched_at"
    assert features.loc["age", "kept"] == "static, activity, all"
    assert features.loc["forks", "kept"] == "all"
    assert features.loc["watchers", "kept"] == "–"
