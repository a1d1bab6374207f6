"""The kinds of own columns follow from all of their values; unusable ones become missing and are counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.config import FetchSection
from stargaze.errors import ConfigError
from stargaze.features.matrix import CATALOG
from stargaze.features.own_columns import MAX_COLUMNS, MAX_TEXT, OwnColumn, conform
from stargaze.features.own_values import check_found, check_own_columns, convert_own_column


def texts(*values: str | None) -> pd.Series:
    """Return cells as a CSV has them."""
    return pd.Series(values, dtype="str")


def objects(*values: Any) -> pd.Series:
    """Return values as JSON has them."""
    return pd.Series(values, dtype="object")


@pytest.mark.parametrize(
    ("raw", "kind", "values"),
    [
        (texts("4", " 5.25", "-1e3", "", "NaN"), "number", [4.0, 5.25, -1000.0, None, None]),
        (texts("1", "0", "1"), "number", [1.0, 0.0, 1.0]),
        (texts("yes", "No", "", "1"), "flag", [1.0, 0.0, None, 1.0]),
        (texts("TRUE", "false"), "flag", [1.0, 0.0]),
        (texts("yes", "no", "maybe"), "category", ["yes", "no", "maybe"]),
        (texts("7", "eight", "", " core  team "), "category", ["7", "eight", None, "core team"]),
        (texts("2024-01-05", "n/a"), "category", ["2024-01-05", None]),
        (texts("", "null", None), "number", [None, None, None]),
        (texts(), "number", []),
        (objects(True, False, None), "flag", [1.0, 0.0, None]),
        (objects(3, 4.5, None, float("nan")), "number", [3.0, 4.5, None, None]),
        (objects("3", 4, Decimal("0.5")), "number", [3.0, 4.0, 0.5]),
        (objects("core", "labs\nx\t", None), "category", ["core", "labs x", None]),
        (objects(date(2024, 2, 3), "x"), "category", ["2024-02-03", "x"]),
        (pd.Series([1.5, np.nan]), "number", [1.5, None]),
        (pd.Series([True, False]), "flag", [1.0, 0.0]),
        (pd.Series([1, None], dtype="Int64"), "number", [1.0, None]),
    ],
)
def test_the_kind_follows_from_all_values(raw: pd.Series, kind: str, values: list[Any]) -> None:
    found = convert_own_column("team", raw, {}, {})

    assert found.column == OwnColumn("team", kind, "all")  # type: ignore[arg-type]
    assert [None if pd.isna(value) else value for value in found.values] == values
    assert found.cleared == []


@pytest.mark.parametrize(
    ("kind", "raw", "values", "reasons"),
    [
        ("number", texts("1", "2", "3", "fast", "4 km"), [1, 2, 3, None, None], {"not a number": ["fast", "4 km"]}),
        (
            "number",
            texts("1", "2", "inf", "1e300"),
            [1, 2, None, None],
            {"not a number": ["inf"], "larger than 1e+15": ["1e300"]},
        ),
        ("number", objects(1, 2, [3], True), [1, 2, None, None], {"not a number": [[3], True]}),
        ("flag", texts("y", "n", "1", "2"), [1, 0, 1, None], {"should be true or false": ["2"]}),
        ("category", objects("a", "b", {"c": 1}), ["a", "b", None], {"not a text": [{"c": 1}]}),
        (
            "category",
            texts("a", "b", "c" * (MAX_TEXT + 1)),
            ["a", "b", None],
            {"longer than 255 characters": ["c" * 256]},
        ),
        ("category", texts("5", "6"), ["5", "6"], {}),
    ],
)
def test_values_of_another_kind_than_the_config_says_become_missing(
    kind: str, raw: pd.Series, values: list[Any], reasons: dict[str, list[Any]]
) -> None:
    found = convert_own_column("team", raw, {"team": kind}, {"team": "static"})

    assert found.column == OwnColumn("team", kind, "static")  # type: ignore[arg-type]
    assert [None if pd.isna(value) else value for value in found.values] == values
    assert {item.reason: [item.values.iloc[row] for row in item.rows] for item in found.cleared} == reasons


@pytest.mark.parametrize(
    ("kinds", "raw", "message", "hint"),
    [
        (
            {"team": "number"},
            texts("core", "labs", "7", ""),
            "2 of 3 values of 'team' are unusable, as 'core'",
            '"category"',
        ),
        ({"team": "flag"}, texts("core", "yes", "labs"), "2 of 3 values", '"category"'),
        (
            {},
            objects({"a": 1}, ["b"], "c"),
            "2 of 3 values of 'team' are unusable, as a dict: not a text",
            "by its path: 'team.a'",
        ),
        ({}, objects(["a"], ["b"], "c"), "2 of 3 values of 'team' are unusable, as a list: not a text", "remove it"),
        ({}, texts("x" * 300, "y" * 400, "z"), "longer than 255", "remove it"),
    ],
)
def test_a_column_of_mostly_unusable_values_is_an_error(
    kinds: dict[str, str], raw: pd.Series, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_own_column("team", raw, kinds, {})

    assert message in caught.value.message
    assert hint in caught.value.hint


def test_half_of_the_values_may_be_unusable() -> None:
    found = convert_own_column("team", texts("core", "7", ""), {"team": "number"}, {})

    assert found.values.tolist()[1] == 7.0


CELLS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=300), st.lists(st.integers(), max_size=2)),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["yes", "no", "1", "1.5", "nan", "\\N", "\ud800", "\x00", "1_000", "0x10", "１２"]),
)


@given(st.lists(CELLS, max_size=12))
def test_any_values_are_converted_counted_or_an_error(values: list[Any]) -> None:
    """What is converted can be stored, and nothing is missing that was not missing before or counted."""
    try:
        found = convert_own_column("team", objects(*values), {}, {})
    except ConfigError:
        return

    frame = pd.DataFrame({"full_name": "a/b", "team": found.values}, index=range(len(values)))
    assert conform(frame, [found.column])["team"].isna().tolist() == found.values.isna().tolist()
    cleared = set(itertools.chain.from_iterable(item.rows.tolist() for item in found.cleared))
    for row, value in enumerate(values):
        if isinstance(value, (bool, int, list, dict)):
            assert row in cleared or pd.notna(found.values.iloc[row])


SECTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a field": ({"extra": ["forks"]}, "fetch.extra: 'forks' is a field", "remove it"),
    "a feature": ({"extra": ["fork_rate"]}, "'fork_rate' is a feature of stargaze", "rename"),
    "a column of the target": ({"extra": ["stargazers_count"]}, "is read as the field stars", "remove it"),
    "a path of a field": ({"extra": ["owner.type"]}, "is read as the field owner_type", "remove it"),
    "a flattened path": ({"extra": ["owner_type"]}, "is a field", "remove it"),
    "a mapped column": (
        {"extra": ["n"], "columns": {"stars": "n"}},
        "'n' is mapped to stars in [fetch.columns]",
        "one of them",
    ),
    "a part of the name": ({"extra": ["owner"]}, "uses itself", "rename"),
    "no name": ({"extra": [""]}, "1 to 100 characters", "rename"),
    "a line break": ({"extra": ["a\nb"]}, "cannot be printed", "rename"),
    "twice": ({"extra": ["team", "team"]}, "'team' is there twice", "remove one"),
    "also left out": ({"extra": ["team"], "exclude": ["team"]}, "'team' is in fetch.exclude too", "one of them"),
    "too many": ({"extra": [f"n{i}" for i in range(MAX_COLUMNS + 1)]}, "names 101 columns", "say something"),
    "a kind of nothing": (
        {"extra": ["team"], "extra_kinds": {"teams": "flag"}},
        "fetch.extra_kinds: 'teams' is not in fetch.extra",
        "Did you mean team?",
    ),
    "a policy of nothing": ({"extra_policies": {"team": "all"}}, "'team' is not in fetch.extra", 'extra = ["team"]'),
    "a policy of another one": (
        {"extra": ["n"], "extra_policies": {"team": "all"}},
        "'team' is not in fetch.extra",
        'extra = ["n", "team"]',
    ),
    "the target": ({"exclude": ["stars"]}, "fetch.exclude: 'stars' cannot be left out", "remove it"),
    "a mapped column left out": (
        {"exclude": ["n"], "columns": {"stars": "n"}},
        "'n' cannot be left out: fetch.columns reads it",
        "remove it",
    ),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_a_config_that_cannot_work_is_refused_before_any_file_is_read(case: str) -> None:
    values, message, hint = SECTIONS[case]

    with pytest.raises(ConfigError) as caught:
        check_own_columns(FetchSection(**values), CATALOG)

    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["score", "Größe [m]", "metrics.score", "Forks of forks", "source", "size per file"])
def test_names_that_no_field_has_are_accepted(name: str) -> None:
    check_own_columns(
        FetchSection(extra=[name], extra_kinds={name: "number"}, exclude=["size", "readme.html"]), CATALOG
    )


@pytest.mark.parametrize(
    ("check", "message", "hint"),
    [
        (
            lambda: check_found(FetchSection(extra=["scor"]), ["stars"], ["score", "repo"]),
            "fetch.extra: no file",
            "score?",
        ),
        (lambda: check_found(FetchSection(extra=["TEAM"]), [], ["tear", "team"]), "no file has", "Did you mean team?"),
        (lambda: check_found(FetchSection(extra=["fork"]), [], ["forks", "size"]), "no file has", "check the spelling"),
        (lambda: check_found(FetchSection(exclude=["sise"]), [], ["size"]), "fetch.exclude: no file has", "size?"),
        (lambda: check_found(FetchSection(exclude=["a.b"]), [], ["a.c"]), "fetch.exclude: no file has", "a.c?"),
    ],
)
def test_a_column_that_no_file_has_is_named_with_a_similar_one(
    check: Callable[[], None], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check()

    assert message in caught.value.message
    assert hint in caught.value.hint


def test_fields_can_be_left_out_whether_a_file_has_them_or_not() -> None:
    check_found(FetchSection(extra=["score"], exclude=["forks", "size"]), ["score"], ["score", "size"])
