"""Numbers of own columns with separators, percent signs, currencies and units."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stargaze.errors import BadDataError
from stargaze.features.own_values import MANY_VALUES, convert_own_column
from tests.conftest import Ended


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["31,415", "2,718,281", "160"], [31415, 2718281, 160]),
        (["-31,415", "+160", "\N{MINUS SIGN}27"], [-31415, 160, -27]),
        (["1.618.033", "31.415"], [1618033, 31415]),
        (["31.415", "2,5"], [31415, 2.5]),
        (["31.415", "0.577"], [31.415, 0.577]),
        (["31.415", "4669"], [31.415, 4669]),
        (["31'415", "2'718'281"], [31415, 2718281]),
        (["31 415", "160"], [31415, 160]),
        (["16,18", "2,5"], [16.18, 2.5]),
        (["16%", "2.5 %"], [16, 2.5]),
        (["$31,415", "$160"], [31415, 160]),
        (["160 €", "2,5 €"], [160, 2.5]),
        (["3.1k", "2M"], [3100, 2e6]),
        (["5", "7", "inf"], [5, 7, None]),
    ],
)
def test_numbers_as_people_write_them_are_numbers(values: list[str], numbers: list[float | None]) -> None:
    found = convert_own_column("votes", pd.Series(values, dtype="str"), {}, {})

    assert found.column.kind == "number"
    assert [None if pd.isna(value) else value for value in found.values] == numbers
    assert found.warning == ""


@pytest.mark.parametrize("values", [["31.415", "2.718"], ["31.000"], ["31,000", "160"]])
def test_a_column_that_does_not_show_its_separator_is_an_error(values: list[str]) -> None:
    with pytest.raises(BadDataError, match=r"'votes' is '.*': thousands or decimals") as caught:
        convert_own_column("votes", pd.Series(values, dtype="str"), {}, {})
    assert f'fetch.thousands = "{values[0][2]}"' in (caught.value.hint or "")


def test_the_config_decides_what_separates_thousands() -> None:
    column = pd.Series(["31.415", "2.718"], dtype="str")

    assert convert_own_column("votes", column, {}, {}, ".").values.tolist() == [31415.0, 2718.0]
    assert convert_own_column("votes", column, {}, {}, "").values.tolist() == [31.415, 2.718]


def test_numbers_that_are_no_texts_have_no_separators() -> None:
    column = pd.Series([31.415, 2.718, None], dtype="object")

    assert convert_own_column("votes", column, {}, {}, ".").values.tolist()[:2] == [31.415, 2.718]


def test_percent_signs_in_some_values_only_make_no_number() -> None:
    found = convert_own_column("votes", pd.Series(["45%", "0.45"], dtype="str"), {}, {})

    assert found.column.kind == "category"


@pytest.mark.parametrize(
    ("values", "kinds", "warning"),
    [
        (["4", "5", "many"], {}, '2 of 3 values are numbers, but not \'many\'; [fetch.extra_kinds] "votes" = "number"'),
        ([f"key-{i}" for i in range(MANY_VALUES)], {}, "20 values in 20 records"),
        ([f"key-{i}" for i in range(MANY_VALUES)], {"votes": "category"}, "20 values in 20 records"),
        ([f"key-{i % 9}" for i in range(MANY_VALUES)], {}, ""),
        (["4", "5", "many"], {"votes": "category"}, ""),
        (["few", "many"], {}, ""),
    ],
)
def test_a_category_of_little_use_is_a_warning(values: list[str], kinds: dict[str, str], warning: str) -> None:
    found = convert_own_column("votes", pd.Series(values, dtype="str"), kinds, {}).warning

    assert warning in found
    assert bool(found) == bool(warning)


def test_the_command_reads_them_and_warns(run: Callable[..., Ended], tmp_path: Path) -> None:
    file, config = tmp_path / "votes.csv", tmp_path / "stargaze.toml"
    config.write_text('[fetch]\nextra = ["votes"]\n', encoding="utf-8")

    file.write_text(
        'full_name,stars,votes\nkiln/jar,7,"31,415"\nkiln/cup,8,160\nkiln/urn,9,none yet\n', encoding="utf-8"
    )
    ended = run("fetch", "--from", str(file), "-c", str(config), "--json")
    summary = json.loads(ended.out)
    assert summary["own_columns"] == [{"name": "votes", "kind": "category", "policy": "all"}]
    assert any("but not 'none yet'" in warning for warning in summary["warnings"])

    file.write_text("full_name;stars;votes\nkiln/jar;7;31.415\n", encoding="utf-8")
    ended = run("fetch", "--from", str(file), "-c", str(config))
    assert ended.code == 2
    assert "thousands or decimals?" in ended.err
