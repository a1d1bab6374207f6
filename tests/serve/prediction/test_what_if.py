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

from stargaze.errors import InvalidInputError
from stargaze.features import schema
from stargaze.features.extract import extract
from stargaze.features.ingest.contradictions import EARLY_PUSH, describe_unusual
from stargaze.features.ingest.user_input import InvalidFieldError
from stargaze.serve.prediction.predict import records_of
from stargaze.serve.prediction.what_if import (
    WHAT_IF_FIELDS,
    adds_information,
    apply_what_if,
    list_changes,
    parse_what_if,
    what_if_words,
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
        ({"first_commit_at": "1999-05-01"}, pd.Timestamp("1999-05-01", tz="UTC")),
        ({"pushed_at": "TODAY"}, "today"),
        ({"has_wiki": "no"}, 0.0),
        ({"has_wiki": True}, 1.0),
        ({"forks": 1e5}, 100_000.0),
        ({"forks": "12,345"}, 12_345.0),
        ({"forks": " 1.2k"}, 1_200.0),
        ({"language": "None"}, None),
        ({"owner_type": "organization"}, "Organization"),
        ({"topics": "web, http"}, ["web", "http"]),
        ({"description": "none"}, "none"),
    ],
)
def test_entered_values_are_parsed(entered: dict[str, Any], value: Any) -> None:
    assert parse_what_if(entered, NOW) == {next(iter(entered)): value}


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_field_is_not_changed(empty: Any) -> None:
    assert parse_what_if(dict.fromkeys(WHAT_IF_FIELDS, empty), NOW) == {}


@pytest.mark.parametrize(
    ("entered", "reason"),
    [
        ({"stars": "3"}, "'stars' is not a field that a what-if can change"),
        ({"owner_id": "3"}, "'owner_id' is not a field"),
        ({"language": "C" + 300 * " "}, "longer than 255 characters"),
        ({"has_wiki": "perhaps"}, "should be true or false"),
        ({"forks": "none"}, "not a valid value"),
        ({"forks": "nothing"}, "not a whole number"),
        ({"pushed_at": "never"}, "not a date"),
        ({"created_at": "2007-01-01"}, "before GitHub began"),
        ({"readme_length": "-1"}, "readme_length is '-1': a count cannot be negative"),
        ({"readme_length": "long"}, "not a whole number"),
        ({"readme_length": "today"}, "not a whole number"),
        ({"topic_count": "1e99"}, "larger than any on GitHub"),
        ({"topic_count": "nan"}, "not a valid value"),
        ({"topic_count": [1]}, "not a whole number"),
        ({"latest_release_at": "soon"}, "not a date"),
        ({"latest_release_at": "2031-01-01"}, "in the future"),
        ({"latest_release_at": "1969-07-20"}, "before GitHub began"),
        ({"latest_release_at": "-0001-01-01"}, "not a date"),
        ({"license": "x" * 300}, "longer than 255 characters"),
    ],
)
def test_impossible_values_are_rejected(entered: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        parse_what_if(entered, NOW)


def test_the_hint_suggests_a_similar_field() -> None:
    with pytest.raises(InvalidInputError) as excinfo:
        parse_what_if({"readme_lenght": "3"}, NOW)

    assert excinfo.value.hint == "Did you mean readme_length?"


@pytest.mark.thorough
@given(
    st.dictionaries(
        st.sampled_from(WHAT_IF_FIELDS), st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none())
    )
)
def test_any_input_is_parsed_or_rejected_with_a_message(entered: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidInputError):
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
    with pytest.raises(InvalidFieldError, match=r"latest_release_at must not be after the date .* \(2020-05-17\)"):
        apply_what_if(repository(), {"latest_release_at": pd.Timestamp("2021-01-01", tz="UTC")}, NOW)


def test_an_unchanged_release_day_keeps_its_hour() -> None:
    before = repository(latest_release_at="2020-05-01T09:30:00Z")

    after = apply_what_if(before, {"latest_release_at": pd.Timestamp("2020-05-01", tz="UTC")}, NOW)

    assert after["latest_release_at"].iloc[0] == before["latest_release_at"].iloc[0]


@pytest.mark.parametrize("name", WHAT_IF_FIELDS)
def test_every_word_of_every_field_can_be_applied(name: str) -> None:
    """The word "none" for the latest release raised a TypeError."""
    before = repository(created_at="2019-01-01", latest_release_at="2020-05-01", releases=3.0, license="mit")

    for word in what_if_words(name):
        after = apply_what_if(before, parse_what_if({name: word.upper()}, NOW), NOW)

        assert after.dtypes.equals(before.dtypes)
        assert after[name].isna().all() == (word != "today")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pushed_at": "2020-05-18"}, r"pushed_at must not be after the date of the values \(2020-05-17\)"),
        ({"created_at": "2020-05-18"}, r"created_at must not be after the date of the values \(2020-05-17\)"),
        ({"fetched_at": "2020-02-01"}, r"pushed_at must not be after the date of the values \(2020-02-01\)"),
    ],
)
def test_impossible_dates_are_rejected(values: dict[str, str], reason: str) -> None:
    before = repository(created_at="2019-01-01", pushed_at="2020-03-01")

    with pytest.raises(InvalidFieldError, match=reason) as caught:
        apply_what_if(before, parse_what_if(values, NOW), NOW)
    assert caught.value.hint.startswith("enter a day up to 2020-0")


@pytest.mark.parametrize(
    ("values", "is_noted"),
    [
        ({"pushed_at": "2018-05-18"}, True),
        ({"created_at": "2020-03-03"}, True),
        ({"created_at": "2020-03-02"}, False),
        ({"pushed_at": "2018-05-18", "is_fork": "yes"}, False),
        ({"pushed_at": "2018-05-18", "created_at": "2018-01-01"}, False),
    ],
)
def test_a_push_before_the_creation_is_possible_and_noted(values: dict[str, str], is_noted: bool) -> None:
    before = repository(created_at="2019-01-01", pushed_at="2020-03-01")

    after = apply_what_if(before, parse_what_if(values, NOW), NOW)

    assert describe_unusual(records_of(before)[0]) == []
    assert describe_unusual(records_of(after)[0]) == [EARLY_PUSH] * is_noted


@pytest.mark.parametrize(
    ("values", "linked"),
    [
        ({"open_issues": 15}, {"issues": 25.0}),
        ({"closed_issues": 4}, {"issues": 14.0}),
        ({"issues": 7}, {"open_issues": 7.0, "closed_issues": 7.0}),
        ({"open_pull_requests": 9}, {"pull_requests": 9.0}),
        ({"recent_commits": 500}, {"commits": 500.0}),
        ({"commits": 5}, {"recent_commits": 5.0}),
        ({"description": "four words are here"}, {"description_length": 19.0}),
        ({"topics": "a, b"}, {"topic_count": 2.0}),
        ({"topics": "a, b", "topic_count": 7}, {}),
        ({"latest_release_at": "none"}, {"releases": 0.0, "first_release_at": None}),
        ({"releases": 0}, {"first_release_at": None, "latest_release_at": None}),
        ({"latest_release_at": "2019-03-01"}, {"first_release_at": pd.Timestamp("2019-03-01", tz="UTC")}),
        ({"readme_length": 5}, {}),
    ],
)
def test_fields_that_follow_from_others_are_recomputed(values: dict[str, Any], linked: dict[str, Any]) -> None:
    before = repository(
        created_at="2019-01-01", open_issues=10.0, closed_issues=10.0, issues=20.0, commits=90.0, recent_commits=40.0,
        releases=3.0, first_release_at="2020-01-01", latest_release_at="2020-05-01", description="one", topic_count=9.0,
        pull_requests=5.0, open_pull_requests=5.0, merged_pull_requests=0.0, description_length=3.0,
    )  # fmt: skip

    after = apply_what_if(before, parse_what_if(values, NOW), NOW)

    changes = {change["field"] for change in list_changes(records_of(before)[0], records_of(after)[0])}
    assert changes == set(values) | set(linked)
    record = records_of(after)[0]
    assert {name: record[name] for name in linked} == linked
    assert after.dtypes.equals(before.dtypes)


@pytest.mark.parametrize("description", ["a web server", None])
def test_another_description_replaces_the_stored_facts(description: str | None) -> None:
    """Of a repository whose text is not stored, as in a sample."""
    facts = {"description_tokens": [7, 9], "description_keywords": ["list"], "description_non_ascii": 2.0}
    before = repository(**facts)

    after = apply_what_if(before, {"description": description}, NOW)
    other = apply_what_if(before, {"forks": 3.0}, NOW)

    names = ["description_words", "description_mentions_list", "description_non_ascii"]
    expected = [3.0, 0.0, 0.0] if description else [np.nan] * 3
    assert extract(after, names).iloc[0].tolist() == pytest.approx(expected, nan_ok=True)
    assert extract(other, names).iloc[0].tolist() == [2.0, 1.0, 2.0]


def test_a_first_release_has_number_and_date() -> None:
    after = apply_what_if(repository(releases=0.0), {"latest_release_at": "today"}, NOW)

    assert after["releases"].tolist() == [1.0]
    assert after["first_release_at"].equals(after["fetched_at"].rename("first_release_at"))


@pytest.mark.parametrize(
    ("values", "added"), [({"forks": 3.0}, True), ({"license": "gpl-3.0"}, False), ({"license": None}, False)]
)
def test_only_unknown_fields_can_add_information(values: dict[str, Any], added: bool) -> None:
    before = repository(license="mit")

    assert adds_information(records_of(before)[0], records_of(apply_what_if(before, values, NOW))[0]) is added


def test_changes_are_listed_as_texts() -> None:
    before = repository(readme_length=1000.0, topic_count=3.0)
    after = apply_what_if(before, {"readme_length": 20_000.0, "topic_count": 3.0, "license": "mit"}, NOW)

    changes = list_changes(records_of(before)[0], records_of(after)[0])

    assert changes == [
        {"field": "license", "label": "License", "before": "unknown", "after": "mit"},
        {"field": "readme_length", "label": "README length", "before": "1,000", "after": "20,000"},
    ]


def test_a_year_that_python_dates_do_not_support_is_formatted() -> None:
    frame = repository(latest_release_at="2020-05-01T09:30:00Z")
    frame["latest_release_at"] = pd.Series(np.array(["-0001-01-01"], dtype="datetime64[s]")).dt.tz_localize("UTC")

    changes = list_changes(records_of(frame)[0], records_of(repository())[0])

    assert [(change["before"], change["after"]) for change in changes] == [("-001-01-01", "none")]


@pytest.mark.parametrize(
    ("entered", "problem"),
    [
        ({"issues": 1, "open_issues": 9}, "issues must not be less than open_issues"),
        ({"issues": 9, "open_issues": 5, "closed_issues": 5}, "open_issues and closed_issues together"),
        ({"releases": 0, "latest_release_at": "2016-01-01"}, "releases must not be 0"),
        ({"first_release_at": "2016-03-01", "latest_release_at": "2016-02-01"}, "must not be after latest_release_at"),
    ],
)
def test_entered_values_that_contradict_each_other_are_refused(entered: dict[str, Any], problem: str) -> None:
    frame = repository(created_at="2015-01-01T00:00:00Z")

    with pytest.raises(InvalidFieldError, match=problem):
        apply_what_if(frame, parse_what_if(entered, NOW), NOW)


@pytest.mark.parametrize("topics", [["web", "http"], []])
def test_topics_may_be_a_list(topics: list[str]) -> None:
    changed = apply_what_if(repository(), parse_what_if({"topics": topics}, NOW), NOW)

    assert list(changed["topics"].iloc[0]) == topics
    assert changed["topic_count"].tolist() == [len(topics)]


def test_an_unknown_field_has_a_short_hint() -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_what_if({"nonsense": 1}, NOW)

    assert "forks" in caught.value.hint
    assert len(caught.value.hint) < 120
