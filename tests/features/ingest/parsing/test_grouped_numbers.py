"""What a text such as 12.000 says follows from the other texts of its column, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.ingest.parsing.grouped_numbers import SeparatorUse, depends_on_column, read_grouped


def find(*texts: str) -> tuple[str, str]:
    """Return the mark that these texts show, and the first undecided one."""
    use = SeparatorUse()
    use.add(texts)
    return use.find_thousands()


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["3.000", "1.234.567"], "."),
        (["3.000", "4.250"], "."),
        (["3.000", "1.234,5"], "."),
        (["3.000", "7,5"], "."),
        (["3,000", "1,234,567"], ","),
        (["3,000", "4,250"], ","),
        (["3,000", "12.0"], ","),
        (["3.000", "7.5"], ","),
        (["3.000", "12.0"], ","),
        (["3.000", "1234.000"], ","),
        (["3.000", "0.125"], ","),
        (["3.000", "1,234"], ","),
        (["12.5", "60.6"], ","),
        (["950", "12"], ""),
    ],
)
def test_other_values_of_the_column_show_what_a_mark_separates(texts: list[str], mark: str) -> None:
    assert find(*texts) == find(*reversed(texts)) == (mark, "")


@pytest.mark.parametrize(
    "texts",
    [
        ["3.000"],
        ["3.000", "950", "20"],
        ["3,000", "x"],
        ["3.000", "4.250", "7.5"],
        ["3.000", "1.234.567", "7.5"],
        ["3.000", "5,000"],
        ["3.000", "4.250", "1,234"],
    ],
)
def test_without_proof_or_with_a_contradiction_nothing_is_decided(texts: list[str]) -> None:
    assert find(*texts)[1] == "3.000" or find(*texts)[1] == "3,000"


@pytest.mark.parametrize(
    ("text", "thousands", "expected"),
    [
        ("3.000", ".", "3000"),
        ("3.000", "", "3.000"),
        ("3.000", ",", "3.000"),
        ("3,000", ",", "3000"),
        ("3,000", "", "3.000"),
        ("1.234.567", "", "1234567"),
        ("1.234.567,00", ".", "1234567.00"),
        ("1,234.50", ",", "1234.50"),
        ("7,5", ".", "7.5"),
        ("12 345", "", "12345"),
        ("1\u202f234\u202f567", "", "1234567"),
        ("1\u00a0234", "", "1234"),
        ("12'345", "", "12345"),
        ("12\u2019345", "", "12345"),
        ("12_345", "", "12345"),
        ("1.2k", "", "1200"),
        ("1,2k", "", "1200"),
        ("3M", "", "3000000"),
        ("12 34", "", "12 34"),
        ("1.234k", "", "1.234k"),
        ("1.23.456", "", "1.23.456"),
        ("about 5", "", "about 5"),
        ("", "", ""),
    ],
)
def test_a_count_is_read(text: str, thousands: str, expected: str) -> None:
    assert read_grouped(text, thousands) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("3.000", True), ("12,345", True), ("12.0", False), ("1.234.567", False)]
)
def test_only_one_group_of_three_digits_depends_on_the_column(text: str, expected: bool) -> None:
    assert depends_on_column(text) is expected


@given(st.lists(st.integers(0, 4_000_000), min_size=1, max_size=20), st.sampled_from(".,"))
def test_what_a_writer_groups_is_read_or_undecided(numbers: list[int], mark: str) -> None:
    texts = [f"{number:,}".replace(",", mark) for number in numbers]
    proved, undecided = find(*texts)

    if not undecided:
        assert [read_grouped(text, proved) for text in texts] == [str(number) for number in numbers]


@given(st.text(), st.sampled_from(["", ".", ","]))
def test_any_text_is_read_without_an_error(text: str, thousands: str) -> None:
    find(text)
    assert isinstance(read_grouped(text, thousands), str)
