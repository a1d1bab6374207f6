"""What-if values are validated, and change only their own fields."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.serve.prediction.predict import records_of
from stargaze.serve.prediction.what_if import (
    EDITABLE_FIELDS,
    apply_what_if,
    editable_values,
    list_changes,
    parse_what_if,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def repository(**fields: Any) -> pd.DataFrame:
    """Return one repository."""
    return schema.conform(pd.DataFrame([{"full_name": "a/b", "fetched_at": "2020-05-17T10:00:00Z", **fields}]))


@pytest.mark.parametrize(
    ("entered", "value"),
    [
        ({"readme_length": "9000"}, 9000.0),
        ({"readme_length": 9000}, 9000.0),
        ({"topic_count": " 0 "}, 0.0),
        ({"license": "MIT License"}, "mit"),
        ({"license": "none"}, None),
        ({"latest_release_at": "none"}, None),
        ({"latest_release_at": "Today"}, "today"),
        ({"latest_release_at": "2020-05-01"}, pd.Timestamp("2020-05-01", tz="UTC")),
    ],
)
def test_entered_values_are_parsed(entered: dict[str, Any], value: Any) -> None:
    assert parse_what_if(entered, NOW) == {next(iter(entered)): value}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_field_is_not_changed(empty: Any) -> None:
    assert parse_what_if(dict.fromkeys(EDITABLE_FIELDS, empty), NOW) == {}


@pytest.mark.parametrize(
    ("entered", "reason"),
    [
        ({"forks": "3"}, "only readme_length, topic_count, license, latest_release_at"),
        ({"stars": "3"}, "only readme_length"),
        ({"readme_length": "-1"}, "readme_length is '-1': a count cannot be negative"),
        ({"readme_length": "long"}, "not a whole number"),
        ({"readme_length": "today"}, "not a whole number"),
        ({"topic_count": "1e99"}, "larger than any on GitHub"),
        ({"topic_count": "nan"}, "not a valid value"),
        ({"topic_count": [1]}, "not a whole number"),
        ({"latest_release_at": "soon"}, "not a date"),
        ({"latest_release_at": "2031-01-01"}, "in the future"),
        ({"latest_release_at": "1969-07-20"}, "before GitHub began"),
        ({"latest_release_at": "-0001-01-01"}, "before GitHub began"),
        ({"license": "x" * 300}, "longer than 255 characters"),
    ],
)
def test_impossible_values_are_rejected(entered: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadDataError, match=reason):
        parse_what_if(entered, NOW)


def test_the_hint_suggests_a_similar_field() -> None:
    with pytest.raises(BadDataError) as excinfo:
        parse_what_if({"readme_lenght": "3"}, NOW)

    assert excinfo.value.hint == "Did you mean readme_length?"


@pytest.mark.thorough
@given(
    st.dictionaries(
        st.sampled_from(EDITABLE_FIELDS), st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none())
    )
)
def test_any_input_is_parsed_or_rejected_with_a_message(entered: dict[str, Any]) -> None:
    with contextlib.suppress(BadDataError):
        values = parse_what_if(entered, NOW)
        after = apply_what_if(repository(), values, NOW)

        assert set(values) <= set(entered)
        assert after.dtypes.equals(repository().dtypes)


def test_only_the_given_fields_change() -> None:
    before = repository(readme_length=10.0, license="mit", forks=3.0)

    after = apply_what_if(before, {"readme_length": 20.0, "license": "gpl-3.0"}, NOW)

    assert after[["readme_length", "license"]].iloc[0].tolist() == [20.0, "gpl-3.0"]
    others = [name for name in before if name not in ("readme_length", "license")]
    pd.testing.assert_frame_equal(after[others], before[others])


def test_today_is_the_day_of_the_figures() -> None:
    """With figures of 2020, a release of this year would be in the future."""
    old, new = repository(), repository(fetched_at=NOW)

    assert apply_what_if(old, {"latest_release_at": "today"}, NOW)["latest_release_at"].iloc[0].year == 2020
    assert apply_what_if(new, {"latest_release_at": "today"}, NOW)["latest_release_at"].iloc[0] == NOW


def test_a_release_later_than_the_figures_is_rejected() -> None:
    with pytest.raises(BadDataError, match=r"2021-01-01 is later than the figures \(2020-05-17\)"):
        apply_what_if(repository(), {"latest_release_at": pd.Timestamp("2021-01-01", tz="UTC")}, NOW)


def test_an_unchanged_release_day_keeps_its_hour() -> None:
    before = repository(latest_release_at="2020-05-01T09:30:00Z")

    after = apply_what_if(before, {"latest_release_at": pd.Timestamp("2020-05-01", tz="UTC")}, NOW)

    assert after["latest_release_at"].iloc[0] == before["latest_release_at"].iloc[0]


def test_changes_are_listed_as_texts() -> None:
    before = repository(readme_length=1000.0, topic_count=3.0)
    after = apply_what_if(before, {"readme_length": 20_000.0, "topic_count": 3.0, "license": "mit"}, NOW)

    changes = list_changes(records_of(before)[0], records_of(after)[0])

    assert changes == [
        {"field": "readme_length", "label": "README length", "before": "1,000", "after": "20,000"},
        {"field": "license", "label": "License", "before": "unknown", "after": "mit"},
    ]


def test_a_year_that_python_dates_do_not_support_is_formatted() -> None:
    frame = repository(latest_release_at="2020-05-01T09:30:00Z")
    frame["latest_release_at"] = pd.Series(np.array(["-0001-01-01"], dtype="datetime64[s]")).dt.tz_localize("UTC")

    assert editable_values(records_of(frame)[0])["latest_release_at"] == "-001-01-01"


def test_editable_values_fit_into_a_form() -> None:
    record = records_of(repository(latest_release_at="2020-05-01T09:30:00Z", license="mit"))[0]

    assert editable_values(record) == {
        "readme_length": None,
        "topic_count": None,
        "license": "mit",
        "latest_release_at": "2020-05-01",
    }
