"""Invalid names, counts, flags and dates are found and explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.features import schema
from stargaze.features.ingest.parsing.missing import MISSING
from stargaze.features.ingest.validate import clear_columns, shorten, validate_columns

SOME_FIELDS = ("full_name", "id", "stars", "has_wiki", "created_at", "topics", "license")
NOW = datetime(2025, 6, 1, tzinfo=UTC)
ANY_VALUE = st.one_of(
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
    """Return why one row is invalid; empty if it is valid."""
    _, invalid = validate(pd.DataFrame([{"full_name": "a/b", **values}]), NOW)
    return invalid[0][1] if invalid else ""


@pytest.mark.parametrize(
    "value", [-1, 1.5, float("inf"), -float("inf"), "x", "1,234", True, [1], {"totalCount": 1}, 2**70, 5_000_001]
)
def test_an_invalid_count_is_rejected(value: object) -> None:
    assert reason(stars=value).startswith("stars is ")


@pytest.mark.parametrize(("value", "count"), [(0, 0.0), (3, 3.0), (3.0, 3.0), ("12", 12.0), (np.int64(7), 7.0)])
def test_whole_numbers_of_any_type_are_counts(value: object, count: float) -> None:
    valid, _ = validate(pd.DataFrame({"full_name": ["a/b"], "stars": [value]}), NOW)

    assert valid["stars"].tolist() == [count]


@pytest.mark.parametrize("value", [None, float("nan"), *sorted(MISSING)])
@pytest.mark.parametrize("field", ["forks", "has_wiki", "created_at", "language", "id"])
def test_a_missing_value_is_valid(field: str, value: object) -> None:
    valid, invalid = validate(pd.DataFrame({"full_name": ["a/b"], field: [value]}), NOW)

    assert invalid == []
    assert valid[field].isna().all()


@pytest.mark.parametrize(
    ("value", "flag"),
    [(1, 1.0), (0, 0.0), (True, 1.0), ("true", 1.0), ("False", 0.0), ("1", 1.0), (" no ", 0.0), ("0.0", 0.0)],
)
def test_a_flag_is_parsed_from_numbers_and_words(value: object, flag: float) -> None:
    valid, _ = validate(pd.DataFrame({"full_name": ["a/b"], "has_wiki": [value]}), NOW)

    assert valid["has_wiki"].tolist() == [flag]


@pytest.mark.parametrize("value", [2, -1, "perhaps", [True]])
def test_a_flag_that_is_neither_true_nor_false_is_rejected(value: object) -> None:
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
def test_an_invalid_date_is_rejected(field: str, value: object, why: str) -> None:
    assert why in reason(**{field: value})


def test_an_invalid_commit_date_becomes_missing() -> None:
    """The date comes from an author's clock; the rest of the record is valid."""
    valid, invalid = validate(pd.DataFrame({"full_name": ["a/b"], "first_commit_at": ["2999-01-01"]}), NOW)

    assert invalid == []
    assert valid["first_commit_at"].isna().all()


def test_a_clock_that_is_an_hour_ahead_is_accepted() -> None:
    assert reason(pushed_at=(NOW + timedelta(hours=1)).isoformat()) == ""


@pytest.mark.parametrize(
    "value", ["2020-01-02", "2020-01-02T00:00:00Z", "2020-01-02 00:00:00+00:00", "2020-01-02T00:00:00.000Z"]
)
def test_dates_are_parsed_in_the_formats_of_iso_8601(value: str) -> None:
    valid, _ = validate(pd.DataFrame({"full_name": ["a/b"], "created_at": [value]}), NOW)

    assert valid["created_at"].tolist() == [pd.Timestamp("2020-01-02", tz="UTC")]


@pytest.mark.parametrize("value", ["a, b", "['a', 'b']", '["a","b"]', ["a", "b"], np.array(["a", "b"], dtype=object)])
def test_topics_are_parsed_from_lists_and_texts(value: object) -> None:
    valid, _ = validate(pd.DataFrame({"full_name": ["a/b"], "topics": pd.Series([value], dtype="object")}), NOW)

    assert valid["topics"].tolist() == [["a", "b"]]


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    """JSON may contain a lone surrogate, which no Parquet file can store."""
    record = {"full_name": ["a/b"], "description": ["x\ud800"], "topics": [["y\ud800", "z"]]}
    valid, _ = validate(pd.DataFrame(record, dtype="object"), NOW)

    assert valid["description"].tolist() == ["x?"]
    assert valid["topics"].tolist() == [["y?", "z"]]


def test_a_language_of_a_thousand_characters_is_rejected() -> None:
    assert "longer than" in reason(language="x" * 1000)


def test_the_first_defect_of_each_row_is_listed_with_its_position() -> None:
    frame = pd.DataFrame({"full_name": ["a/b", "../etc", "c/d"], "stars": [1, -1, -2]}, index=[10, 20, 30])

    valid, invalid = validate(frame, NOW)

    assert valid.index.tolist() == [10]
    assert [row for row, _ in invalid] == [1, 2]
    assert invalid[0][1].startswith("full_name is '../etc'")


def test_a_required_field_must_not_be_missing() -> None:
    _, invalid = validate(pd.DataFrame({"full_name": ["a/b"]}), NOW, required=("full_name", "stars"))

    assert invalid == [(0, "stars is missing")]


def test_only_known_columns_are_returned() -> None:
    frame = pd.DataFrame({"stars": [1], "full_name": ["a/b"], "stranger": [2]})

    assert list(validate_columns(frame, NOW)[0].columns) == ["full_name", "stars"]
    assert list(validate(frame, NOW)[0].columns) == [field.name for field in schema.FIELDS]


@pytest.mark.thorough
@settings(deadline=None, max_examples=150)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(SOME_FIELDS, ANY_VALUE)), min_size=1, max_size=5))
def test_any_values_are_valid_or_invalid_and_never_a_crash(rows: list[dict[str, object]]) -> None:
    valid, invalid = validate(pd.DataFrame(rows, dtype="object"), NOW)

    assert len(valid) + len(invalid) == len(rows)
    assert (valid["stars"].dropna() >= 0).all()
    assert valid["full_name"].notna().all()


@given(ANY_VALUE)
def test_a_value_in_a_message_is_one_short_line(value: object) -> None:
    assert len(shorten(value)) < 200
    assert "\n" not in shorten(value)


ANY_OBJECT = st.one_of(
    ANY_VALUE,
    st.binary(max_size=5),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.datetimes(),
    st.sampled_from(
        [10**5000, -(10**400), 2**63, "\ud800", b"\xff", np.float32(2.5), np.int64(7), np.datetime64("2020-01-01")]
    ),
    st.sampled_from(
        [pd.NA, pd.NaT, pd.Timestamp("2020-01-01"), pd.Timedelta("1D"), object(), (1, 2), {"a"}, 1j, range(3)]
    ),
)


ONE_FIELD_OF_EACH_KIND = (
    "id",
    "full_name",
    "stars",
    "forks",
    "has_wiki",
    "has_homepage",
    "license",
    "pushed_at",
    "topics",
)


@pytest.mark.thorough
@settings(max_examples=60)
@given(st.sampled_from(ONE_FIELD_OF_EACH_KIND), st.lists(ANY_OBJECT, min_size=1, max_size=8))
def test_any_object_in_any_column_is_read_cleared_or_refused(field: str, values: list[object]) -> None:
    frame = pd.DataFrame({"full_name": [f"a/b{i}" for i in range(len(values))], "stars": 1}, dtype="object")
    frame[field] = pd.Series(values, dtype="object")

    valid, invalid, items = clear_columns(frame, NOW, required=("full_name", "stars"))

    assert len(valid) + len(invalid) == len(values)
    assert not invalid or field in ("full_name", "stars")
    assert all(item.field == field and len(shorten(item.values.iloc[item.rows[0]])) < 200 for item in items)
    schema.conform(valid)


def cleared(**columns: object) -> tuple[list[object], list[tuple[str, list[int]]]]:
    """Return the values of one optional column that are left, and what was cleared with its rows."""
    ((name, values),) = columns.items()
    assert isinstance(values, list)
    frame = pd.DataFrame({"full_name": [f"a/b{i}" for i in range(len(values))], "stars": 1}, dtype="object")
    valid, invalid, items = clear_columns(
        frame.assign(**{name: pd.Series(values, dtype="object")}), NOW, required=("full_name", "stars")
    )
    assert invalid == []
    return valid[name].astype("object").where(valid[name].notna(), None).tolist(), [
        (item.reason, item.rows.tolist()) for item in items
    ]


def test_unusable_counts_are_cleared_with_their_reasons() -> None:
    values, reasons = cleared(contributors=[60.6, "12", None, "NaN", -1, [1], 10**400, "\\N", float("nan"), "12.0"])

    assert values == [None, 12.0, None, None, None, None, None, None, None, 12.0]
    assert reasons == [
        ("not a whole number", [0, 5]),
        ("a count cannot be negative", [4]),
        ("larger than any on GitHub (1,000,000,000)", [6]),
    ]


def test_flags_are_read_as_words_or_cleared() -> None:
    values, reasons = cleared(is_archived=["yes", "TRUE", "archived", "off", "F", 2, "", "1.0", {}, np.True_])

    assert values == [1.0, 1.0, None, 0.0, 0.0, None, None, 1.0, None, 1.0]
    assert reasons == [("should be true or false", [2, 5, 8])]


def test_lists_are_read_in_every_spelling_or_cleared() -> None:
    values, reasons = cleared(
        topics=["a;b", "a|b", "a, b", "{a,b}", '["a", "b"]', [{"name": "a"}, "b"], "null", "", 7, {}]
    )

    assert values == [["a", "b"]] * 6 + [None, [], None, None]
    assert reasons == [("not a list", [8, 9])]


def test_texts_of_other_types_are_cleared() -> None:
    values, reasons = cleared(description=["x", {"a": 1}, ["y"], b"z", 5, True, "\\N", "\ud800"])

    assert values == ["x", None, None, None, "5", None, None, "?"]
    assert reasons == [("not a text", [1, 2, 3, 5])]


def test_dates_in_other_forms_are_read_and_zero_dates_are_missing() -> None:
    values, reasons = cleared(
        pushed_at=[1_577_836_800, "2020-01-01 00:00:00 UTC", "0000-00-00", 0, "01/02/2020", "2999-01-01"]
    )

    assert values[:2] == [pd.Timestamp("2020-01-01", tz="UTC")] * 2
    assert values[2:] == [None] * 4
    assert reasons == [("not a date; write it YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ", [4]), ("in the future", [5])]


def test_stars_that_are_nan_are_missing() -> None:
    frame = pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": [float("nan"), 2]})

    _, invalid, _ = clear_columns(frame, NOW, required=("full_name", "stars"))

    assert invalid == [(0, "stars is missing")]


def test_values_of_refused_rows_are_not_cleared() -> None:
    frame = pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": ["x", "2"], "forks": ["-1", "-2"]})

    _, invalid, items = clear_columns(frame, NOW, required=("full_name", "stars"))

    assert [row for row, _ in invalid] == [0]
    assert [item.rows.tolist() for item in items] == [[1]]


def test_ids_of_which_a_spreadsheet_lost_digits_are_missing() -> None:
    """Two repositories would get the same id, and one of them would disappear as a duplicate."""
    texts = ["4.71235E+08", " 4,71235E+08", "4.71235881E8", "471235882.0", "4.71235883E+08"]
    rows = pd.DataFrame({"full_name": [f"a/b{i}" for i in range(5)], "id": texts})

    valid, _, cleared = clear_columns(rows, NOW, required=("full_name",))

    assert valid["id"].isna().tolist() == [True, True, False, False, False]
    assert valid["id"].dropna().tolist() == [471235881, 471235882, 471235883]
    assert {item.reason: item.rows.tolist() for item in cleared} == {
        "not a whole number": [1],
        "digits are lost in a spreadsheet": [0],
    }


def test_categories_have_no_spaces_around_them() -> None:
    rows = pd.DataFrame({"full_name": ["a/b", "c/d", "e/f"], "language": [" Go", "Visual Basic  ", "\tNone "]})

    valid, _ = validate(rows, NOW)

    assert valid["language"].fillna("?").tolist() == ["Go", "Visual Basic", "?"]
