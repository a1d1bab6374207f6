"""User input becomes repositories or an error of one line: names, URLs or entered figures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest.user_input import (
    FORM_FIELDS,
    InvalidFieldError,
    find_invalid_fields,
    repositories_from_figures,
    unknown_repositories,
)

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
KNOWN = schema.conform(
    pd.DataFrame({"full_name": ["pallets/flask", "Torvalds/Linux", "another/flask-login"], "stars": [3.0, 2.0, 1.0]})
)


# ---- known ones ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("somebody/flask", "Did you mean pallets/flask?"),
        ("pallets/flsk", "Did you mean pallets/flask?"),
        ("Another/Flask-Logn", "Did you mean another/flask-login?"),
        ("zzz/nothing-like-it", "enter its metrics instead"),
    ],
)
def test_an_unknown_name_is_an_error_with_similar_names(name: str, hint: str) -> None:
    error = unknown_repositories([name], KNOWN)

    assert error.message == f"{name}: not among the 3 known repositories"
    assert error.hint == hint
    assert error.exit_code == 3


def test_without_known_repositories_every_name_is_unknown() -> None:
    assert unknown_repositories(["a/b"], KNOWN.head(0)).message == "a/b: not among the 0 known repositories"


# ---- figures ------------------------------------------------------------------------------------------------------


def test_entered_figures_have_the_date_of_today() -> None:
    repositories = repositories_from_figures(
        [{"full_name": "a/b", "forks": "12", "language": "C", "has_wiki": "yes", "stars": ""}], NOW
    )

    assert list(repositories.columns) == list(schema.FIELD_BY_NAME)
    row = repositories.iloc[0]
    assert (row["full_name"], row["forks"], row["language"], row["has_wiki"]) == ("a/b", 12.0, "C", 1.0)
    assert np.isnan(row["stars"])
    assert row["fetched_at"] == pd.Timestamp(NOW)


def test_entered_figures_may_have_a_date() -> None:
    repositories = repositories_from_figures([{"full_name": "a/b", "fetched_at": "2020-01-01"}], NOW)

    assert repositories["fetched_at"].iloc[0] == pd.Timestamp("2020-01-01", tz="UTC")


def test_several_repositories_keep_their_order() -> None:
    repositories = repositories_from_figures(
        [{"full_name": "c/d", "forks": 1}, {"full_name": "a/b", "commits": 2}], NOW
    )

    assert repositories["full_name"].tolist() == ["c/d", "a/b"]
    assert repositories["forks"].tolist()[0] == 1.0
    assert np.isnan(repositories["forks"].iloc[1])


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"full_name": "a/b", "first_commit_at": "soon"}, "first_commit_at is 'soon': not a valid value"),
        ({"full_name": "a/b", "forks": "-1"}, "'a/b': forks is '-1': a count cannot be negative"),
        ({"full_name": "a/b", "forks": -1}, "forks is -1: a count cannot be negative"),
        ({"full_name": "a/b", "forks": 10**12}, "larger than any on GitHub"),
        ({"full_name": "a/b", "forks": 10**30}, "larger than any on GitHub"),
        ({"full_name": "a/b", "forks": 1e400}, "not a whole number"),
        ({"full_name": "a/b", "forks": "many"}, "forks is 'many': not a whole number"),
        ({"full_name": "a/b", "forks": [1]}, "forks is a list: not a whole number"),
        ({"full_name": "a/b", "forks": {"a": 1}}, "forks is a dict: not a whole number"),
        ({"full_name": "a/b", "has_wiki": "perhaps"}, "should be true or false"),
        ({"full_name": "a/b", "created_at": "2999-01-01"}, "created_at is '2999-01-01': in the future"),
        ({"full_name": "a/b", "created_at": "1999-01-01"}, "before GitHub began"),
        ({"full_name": "a/b", "created_at": "soon"}, "not a date"),
        ({"full_name": "a/b", "fetched_at": "2999-01-01"}, "in the future"),
        ({"full_name": "../etc"}, "not owner/name"),
        ({"full_name": "a" * 10_000}, "10,000 characters"),
        ({"full_name": 7}, "not owner/name"),
        ({"forks": -1}, "repository 1: forks is -1"),
        ({"full_name": ""}, "enter at least one value"),
        ({"fetched_at": "2020-01-01"}, "enter at least one value"),
        ({}, "enter at least one value"),
        ({"latest_release_at": "2020-02-02", "fetched_at": "2020-01-01"}, "must not be after the date"),
        ({"full_name": "a/b", "language": "x" * 300}, "longer than 255 characters"),
        ({"full_name": "a/b", "fork": 1}, "'fork' is not a field of a repository"),
        ({"full_name": "a/b", "x" * 10_000: 1}, "is not a field of a repository"),
        ({"full_name": "a/b", "created_at": "2020-01-02", "fetched_at": "2020-01-01"}, "must not be after the date"),
        ({"full_name": "a/b", "pushed_at": "2020-02-02", "fetched_at": "2020-01-01"}, "must not be after the date"),
    ],
)
def test_invalid_figures_are_rejected_with_the_reason(figures: dict[str, Any], message: str) -> None:
    with pytest.raises(BadDataError) as caught:
        repositories_from_figures([figures], NOW)

    assert message in caught.value.message
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_all_invalid_repositories_are_listed_at_once() -> None:
    with pytest.raises(BadDataError, match=r"'a/b': forks .*; 'c/d': commits"):
        repositories_from_figures([{"full_name": "a/b", "forks": -1}, {"full_name": "c/d", "commits": -1}], NOW)


def test_a_misspelled_field_has_a_suggestion() -> None:
    with pytest.raises(BadDataError) as caught:
        repositories_from_figures([{"full_name": "a/b", "contributers": 1}], NOW)

    assert caught.value.hint == "Did you mean contributors?"


@pytest.mark.thorough
@given(
    st.dictionaries(
        st.sampled_from([*schema.FIELD_BY_NAME, "nonsense"]),
        st.none() | st.text(max_size=20) | st.integers() | st.floats() | st.booleans() | st.lists(st.integers()),
        max_size=5,
    )
)
@settings(max_examples=40)
def test_any_figures_are_a_repository_or_rejected(figures: dict[str, Any]) -> None:
    """A program may send any JSON; none may end in a traceback."""
    try:
        repositories = repositories_from_figures([{"full_name": "a/b", **figures}], NOW)
    except BadDataError as error:
        message = error.message
    else:
        message = ""
        assert list(repositories.columns) == list(schema.FIELD_BY_NAME)
    assert "\n" not in message


def test_figures_need_no_name() -> None:
    repositories = repositories_from_figures([{"forks": "12"}], NOW)

    assert repositories["forks"].tolist() == [12.0]
    assert repositories["full_name"].isna().tolist() == [True]


@pytest.mark.parametrize(
    ("figures", "reasons"),
    [
        ({"forks": "12", "language": "C", "topics": "a, b", "has_wiki": "1", "created_at": "2020-01-01"}, {}),
        (
            {"forks": "-1", "subscribers": "a few"},
            {"forks": "a count cannot be negative", "subscribers": "not a whole number"},
        ),
        ({"first_commit_at": "soon"}, {"first_commit_at": "not a valid value"}),
        ({"first_commit_at": "1995-01-01"}, {}),
        ({"first_commit_at": "0001-01-01"}, {"first_commit_at": "first_commit_at must not be before 1970-01-01"}),
        ({"pushed_at": "1969-07-20"}, {"pushed_at": "pushed_at must not be before 2007-10-29"}),
        ({"updated_at": "-1"}, {"updated_at": "not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ"}),
        ({"forks": "unknown"}, {"forks": "not a whole number"}),
        ({"forks": "n/a"}, {}),
        ({"created_at": "2020-02-02", "pushed_at": "2019-01-01", "forks": "1"}, {}),
        (
            {"created_at": "2020-02-02", "fetched_at": "2019-01-01", "forks": "1"},
            dict.fromkeys(("created_at", "fetched_at"), "created_at must not be after the date of the values"),
        ),
    ],
)
def test_each_invalid_field_has_its_reason(figures: dict[str, str], reasons: dict[str, str]) -> None:
    assert find_invalid_fields(figures, NOW) == reasons


def test_the_form_has_no_field_that_leaks_the_stars() -> None:
    assert not {"stars", "watchers"} & {field.name for field in FORM_FIELDS}


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ({"issues": 3, "open_issues": 5}, "issues must not be less than open_issues"),
        ({"issues": 3, "open_issues": 2, "closed_issues": 2}, "open_issues and closed_issues together"),
        ({"pull_requests": 3, "merged_pull_requests": 4}, "pull_requests must not be less than merged_pull_requests"),
        ({"commits": 3, "recent_commits": 4}, "commits must not be less than recent_commits"),
        ({"releases": 3, "prereleases": 4}, "releases must not be less than prereleases"),
        ({"releases": 0, "latest_release_at": "2020-01-01"}, "releases must not be 0"),
        ({"first_release_at": "2020-03-03", "latest_release_at": "2020-01-01"}, "must not be after latest_release_at"),
    ],
)
def test_values_that_contradict_each_other_are_refused(figures: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidFieldError, match=problem) as caught:
        repositories_from_figures([figures], NOW)

    assert set(caught.value.fields) <= set(figures)


@pytest.mark.parametrize(
    "figures",
    [
        {"issues": 3, "open_issues": 5, "pull_requests": 2},  # REST counts open pull requests as issues
        {"created_at": "2020-05-05", "pushed_at": "2019-01-01", "is_fork": True},  # a push to the original
        {"issues": 3, "closed_issues": 3, "open_issues": 0},
        {"releases": 2, "prereleases": 2},
    ],
)
def test_values_that_agree_are_accepted(figures: dict[str, Any]) -> None:
    assert len(repositories_from_figures([figures], NOW)) == 1


def test_lengths_and_counts_follow_from_entered_texts() -> None:
    repositories = repositories_from_figures([{"description": "x" * 60, "topics": ["a", "b"]}], NOW)

    assert repositories[["description_length", "topic_count"]].to_numpy().tolist() == [[60.0, 2.0]]


@pytest.mark.parametrize("text", ["1,234", "1 234", "1234", " 1234 "])
def test_counts_are_accepted_as_github_shows_them(text: str) -> None:
    assert repositories_from_figures([{"forks": text}], NOW)["forks"].tolist() == [1234.0]
