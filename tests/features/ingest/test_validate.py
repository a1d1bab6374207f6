"""Names, counts, switches and dates that cannot be true are found and named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features import schema
from stargaze.features.ingest.validate import MISSING, check_name, shorten, validate_columns

SOME_FIELDS = ("full_name", "id", "stars", "has_wiki", "created_at", "topics", "license")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
)


def validate(frame: pd.DataFrame, now: datetime, **options: Any) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Validate and add the missing columns."""
    valid, invalid = validate_columns(frame, now, **options)
    return schema.conform(valid), invalid


def reason(**values: Any) -> str:
    """Return why one row is refused; empty if it is not."""
    _, bad = validate(pd.DataFrame([{"full_name": "a/b", **values}]), NOW)
    return bad[0][1] if bad else ""


@pytest.mark.parametrize(
    "name", ["pallets/flask", "a/b", "0-0/.github", "Some-One/x_y.z-1", "octo_corp/tool", "a" * 39 + "/" + "b" * 100]
)
def test_a_name_that_github_gives_is_returned(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "flask", "../etc", "a/..", "a/.", "a/b/c", "a /b", "a/b\n", "a/b\x00", "ä/b"),
        *("a/" + "b" * 101, "a" * 10_000, "https://github.com/a/b", "a%2Fb"),
    ],
)
def test_a_name_that_github_cannot_give_is_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(BadDataError) as caught:
        check_name(name)

    assert len(caught.value.message) < 120
    assert "\n" not in caught.value.message
    assert "owner/name" in caught.value.hint


@pytest.mark.parametrize(
    "value", [-1, 1.5, float("inf"), -float("inf"), "x", "1,234", True, [1], {"totalCount": 1}, 2**70, 5_000_001]
)
def test_a_count_that_cannot_be_true_is_refused(value: object) -> None:
    assert reason(stars=value).startswith("stars is ")


@pytest.mark.parametrize(("value", "count"), [(0, 0.0), (3, 3.0), (3.0, 3.0), ("12", 12.0), (np.int64(7), 7.0)])
def test_a_whole_number_is_a_count_however_it_is_written(value: object, count: float) -> None:
    good, _ = validate(pd.DataFrame({"full_name": ["a/b"], "stars": [value]}), NOW)

    assert good["stars"].tolist() == [count]


@pytest.mark.parametrize("value", [None, float("nan"), *sorted(MISSING)])
@pytest.mark.parametrize("field", ["forks", "has_wiki", "created_at", "language", "id"])
def test_what_is_missing_is_no_fault(field: str, value: object) -> None:
    good, bad = validate(pd.DataFrame({"full_name": ["a/b"], field: [value]}), NOW)

    assert bad == []
    assert good[field].isna().all()


@pytest.mark.parametrize(
    ("value", "flag"),
    [(1, 1.0), (0, 0.0), (True, 1.0), ("true", 1.0), ("False", 0.0), ("1", 1.0), (" no ", 0.0), ("0.0", 0.0)],
)
def test_a_switch_is_read_from_numbers_and_words(value: object, flag: float) -> None:
    good, _ = validate(pd.DataFrame({"full_name": ["a/b"], "has_wiki": [value]}), NOW)

    assert good["has_wiki"].tolist() == [flag]


@pytest.mark.parametrize("value", [2, -1, "perhaps", [True]])
def test_a_switch_that_is_neither_on_nor_off_is_refused(value: object) -> None:
    assert "true or false" in reason(has_wiki=value)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("pushed_at", "2999-01-01", "in the future"),
        ("created_at", "1999-12-31T00:00:00Z", "before GitHub began"),
        ("created_at", "yesterday", "not a date"),
        ("created_at", 1_400_000_000, "not a date"),
        ("updated_at", "99999-01-01", "not a date"),
        ("fetched_at", "0001-01-01", "before GitHub began"),
    ],
)
def test_a_date_that_cannot_be_true_is_refused(field: str, value: object, why: str) -> None:
    assert why in reason(**{field: value})


def test_the_date_of_a_commit_is_the_authors_claim_and_no_fault_of_the_record() -> None:
    """A wrong clock wrote it: it is not known, and the rest of the record is good."""
    good, bad = validate(pd.DataFrame({"full_name": ["a/b"], "first_commit_at": ["2999-01-01"]}), NOW)

    assert bad == []
    assert good["first_commit_at"].isna().all()


def test_a_clock_that_is_an_hour_ahead_is_forgiven() -> None:
    assert reason(pushed_at=(NOW + timedelta(hours=1)).isoformat()) == ""


@pytest.mark.parametrize(
    "value", ["2020-01-02", "2020-01-02T00:00:00Z", "2020-01-02 00:00:00+00:00", "2020-01-02T00:00:00.000Z"]
)
def test_dates_are_read_in_the_spellings_of_iso_8601(value: str) -> None:
    good, _ = validate(pd.DataFrame({"full_name": ["a/b"], "created_at": [value]}), NOW)

    assert good["created_at"].tolist() == [pd.Timestamp("2020-01-02", tz="UTC")]


@pytest.mark.parametrize("value", ["a, b", "['a', 'b']", '["a","b"]', ["a", "b"], np.array(["a", "b"], dtype=object)])
def test_topics_are_read_from_lists_and_from_their_texts(value: object) -> None:
    good, _ = validate(pd.DataFrame({"full_name": ["a/b"], "topics": pd.Series([value], dtype="object")}), NOW)

    assert good["topics"].tolist() == [["a", "b"]]


def test_half_a_character_in_a_text_becomes_a_question_mark() -> None:
    """JSON may spell a lone surrogate, and no Parquet file can hold it."""
    good, _ = validate(pd.DataFrame({"full_name": ["a/b"], "description": ["x\ud800"]}, dtype="object"), NOW)

    assert good["description"].tolist() == ["x?"]


def test_a_language_of_a_thousand_characters_is_refused() -> None:
    assert "longer than" in reason(language="x" * 1000)


def test_the_first_fault_of_each_row_is_named_by_its_position() -> None:
    frame = pd.DataFrame({"full_name": ["a/b", "../etc", "c/d"], "stars": [1, -1, -2]}, index=[10, 20, 30])

    good, bad = validate(frame, NOW)

    assert good.index.tolist() == [10]
    assert [row for row, _ in bad] == [1, 2]
    assert bad[0][1].startswith("full_name is '../etc'")


def test_a_field_that_is_needed_may_not_be_missing() -> None:
    _, bad = validate(pd.DataFrame({"full_name": ["a/b"]}), NOW, required=("full_name", "stars"))

    assert bad == [(0, "stars is missing")]


def test_only_known_columns_are_returned() -> None:
    frame = pd.DataFrame({"stars": [1], "full_name": ["a/b"], "stranger": [2]})

    assert list(validate_columns(frame, NOW)[0].columns) == ["full_name", "stars"]
    assert list(validate(frame, NOW)[0].columns) == [field.name for field in schema.FIELDS]


@pytest.mark.thorough
@settings(deadline=None, max_examples=150)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SOME_FIELDS, ANYTHING)), min_size=1, max_size=5))
def test_any_values_are_good_or_named_bad_and_never_a_crash(rows: list[dict[str, object]]) -> None:
    good, bad = validate(pd.DataFrame(rows, dtype="object"), NOW)

    assert len(good) + len(bad) == len(rows)
    assert (good["stars"].dropna() >= 0).all()
    assert good["full_name"].notna().all()


@given(ANYTHING)
def test_a_value_in_a_message_is_one_short_line(value: object) -> None:
    assert len(shorten(value)) < 200
    assert "\n" not in shorten(value)
