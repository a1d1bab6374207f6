"""A lever that is moved: what may be typed, and which row the model is then asked about."""

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
from stargaze.serve.prediction.what_if import LEVERS, changed, differences, levers, read

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def repository(**fields: Any) -> pd.DataFrame:
    """Return one repository."""
    return schema.conform(pd.DataFrame([{"full_name": "a/b", "fetched_at": "2020-05-17T10:00:00Z", **fields}]))


@pytest.mark.parametrize(
    ("typed", "value"),
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
def test_what_is_typed_is_read(typed: dict[str, Any], value: Any) -> None:
    assert read(typed, NOW) == {next(iter(typed)): value}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_field_is_not_changed(empty: Any) -> None:
    assert read(dict.fromkeys(LEVERS, empty), NOW) == {}


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({"forks": "3"}, "only readme_length, topic_count, license, latest_release_at"),
        ({"stars": "3"}, "only readme_length"),
        ({"readme_length": "-1"}, "readme_length is '-1': a count cannot be negative"),
        ({"readme_length": "long"}, "not a whole number"),
        ({"readme_length": "today"}, "not a whole number"),
        ({"topic_count": "1e99"}, "larger than GitHub can have"),
        ({"topic_count": "nan"}, "nothing that it can be"),
        ({"topic_count": [1]}, "not a whole number"),
        ({"latest_release_at": "soon"}, "not a date"),
        ({"latest_release_at": "2031-01-01"}, "in the future"),
        ({"latest_release_at": "1969-07-20"}, "before GitHub began"),
        ({"latest_release_at": "-0001-01-01"}, "before GitHub began"),
        ({"license": "x" * 300}, "longer than 255 characters"),
    ],
)
def test_what_cannot_be_is_refused(typed: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadDataError, match=reason):
        read(typed, NOW)


def test_a_near_lever_is_the_hint() -> None:
    with pytest.raises(BadDataError) as caught:
        read({"readme_lenght": "3"}, NOW)

    assert caught.value.hint == "Did you mean readme_length?"


@pytest.mark.thorough
@given(st.dictionaries(st.sampled_from(LEVERS), st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none())))
def test_anything_typed_is_a_value_or_one_clear_line(typed: dict[str, Any]) -> None:
    with contextlib.suppress(BadDataError):
        values = read(typed, NOW)
        after = changed(repository(), values, NOW)

        assert set(values) <= set(typed)
        assert after.dtypes.equals(repository().dtypes)


def test_only_the_levers_are_otherwise() -> None:
    before = repository(readme_length=10.0, license="mit", forks=3.0)

    after = changed(before, {"readme_length": 20.0, "license": "gpl-3.0"}, NOW)

    assert after[["readme_length", "license"]].iloc[0].tolist() == [20.0, "gpl-3.0"]
    rest = [name for name in before if name not in ("readme_length", "license")]
    pd.testing.assert_frame_equal(after[rest], before[rest])


def test_today_is_the_day_of_the_figures() -> None:
    """A release of this year beside figures of 2020 would be one from the future."""
    old, new = repository(), repository(fetched_at=NOW)

    assert changed(old, {"latest_release_at": "today"}, NOW)["latest_release_at"].iloc[0].year == 2020
    assert changed(new, {"latest_release_at": "today"}, NOW)["latest_release_at"].iloc[0] == NOW


def test_a_release_after_the_figures_is_refused() -> None:
    with pytest.raises(BadDataError, match=r"2021-01-01 lies after the day of the figures \(2020-05-17\)"):
        changed(repository(), {"latest_release_at": pd.Timestamp("2021-01-01", tz="UTC")}, NOW)


def test_a_release_day_that_stays_keeps_its_hour() -> None:
    before = repository(latest_release_at="2020-05-01T09:30:00Z")

    after = changed(before, {"latest_release_at": pd.Timestamp("2020-05-01", tz="UTC")}, NOW)

    assert after["latest_release_at"].iloc[0] == before["latest_release_at"].iloc[0]


def test_what_is_otherwise_is_said_in_words() -> None:
    before = repository(readme_length=1000.0, topic_count=3.0)
    after = changed(before, {"readme_length": 20_000.0, "topic_count": 3.0, "license": "mit"}, NOW)

    said = differences(records_of(before)[0], records_of(after)[0])

    assert said == [
        {"field": "readme_length", "label": "Readme length", "before": "1,000", "after": "20,000"},
        {"field": "license", "label": "License", "before": "not known", "after": "mit"},
    ]


def test_a_year_that_no_calendar_has_is_still_a_text() -> None:
    frame = repository(latest_release_at="2020-05-01T09:30:00Z")
    frame["latest_release_at"] = pd.Series(np.array(["-0001-01-01"], dtype="datetime64[s]")).dt.tz_localize("UTC")

    assert levers(records_of(frame)[0])["latest_release_at"] == "-001-01-01"


def test_the_present_values_are_ready_for_a_form() -> None:
    record = records_of(repository(latest_release_at="2020-05-01T09:30:00Z", license="mit"))[0]

    assert levers(record) == {
        "readme_length": None,
        "topic_count": None,
        "license": "mit",
        "latest_release_at": "2020-05-01",
    }
