"""The data card counts every repository once and reports missing values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.report.dataset import count_values, label_decades, parse_owners
from stargaze.report.inputs import ReportInputs
from stargaze.report.tables import ReportTables

pytestmark = pytest.mark.thorough


def test_every_repository_is_in_one_decade_and_in_one_set(tables: ReportTables) -> None:
    frame = tables["stars"]

    assert frame["repositories"].sum() == tables["split"]["repositories"].sum() == 900
    assert (frame[["training", "validation", "test"]].sum(axis="columns") == frame["repositories"]).all()
    assert np.isclose(tables["split"]["share"].sum(), 1.0)


def test_decades_start_at_powers_of_ten() -> None:
    edges = np.array([0, 1, 9, 10, 99, 100, 99_999, 100_000, 3_000_000], dtype=float)

    assert label_decades(edges) == [
        "0",
        "1–9",
        "1–9",
        "10–99",
        "10–99",
        "100–999",
        "10,000–99,999",
        *["100,000 and more"] * 2,
    ]


def test_no_owner_is_in_two_sets(inputs: ReportInputs, tables: ReportTables) -> None:
    n_owners = parse_owners(inputs.dataset.repositories["full_name"]).nunique()

    assert tables["split"]["owners"].sum() == n_owners


def test_other_and_unknown_values_are_counted() -> None:
    frame = count_values(pd.Series([*"aaabbcd", None], name="language"), max_values=2)

    assert frame["language"].tolist() == ["a", "b", "2 others", "unknown"]
    assert frame["repositories"].tolist() == [3, 2, 2, 1]
    assert frame["share"].sum() == 1.0


def test_missing_rates_match_the_repositories(inputs: ReportInputs, tables: ReportTables) -> None:
    rates = tables["missing"].set_index("field")["missing"]

    assert rates["description_length"] == inputs.dataset.repositories["description_length"].isna().mean() > 0
    assert rates["stars"] == 0
    assert rates["commits"] == 1


def test_features_list_their_source_and_the_policies_that_select_them(tables: ReportTables) -> None:
    features = tables["features"].set_index("feature")

    assert features.loc["age", "source"] == "created_at, fetched_at"
    assert features.loc["age", "selected"] == "static, activity, all"
    assert features.loc["forks", "selected"] == "all"
    assert features.loc["watchers", "selected"] == "–"
