"""What the page says and draws of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.serve.cards import cards_of, number, times


def prediction(**changed: Any) -> dict[str, Any]:
    factors = [
        {"feature": "a", "label": "contributors", "value": "12", "times": 4.0},
        {"feature": "b", "label": "open issues; with pull requests", "value": "not known", "times": 0.5},
    ]
    row = {
        "rank": 1, "known": True, "full_name": "a/b", "stars": 99.0, "low": 9.0, "high": 999.0, "coverage": 0.9,
        "percentile": 93.4, "expected": 99.0, "base": 2.3, "factors": factors, "rest": 1.04, "actual": 99.0,
        "fetched_at": "2017-01-20",
    }  # fmt: skip
    return row | changed


def at(text: str) -> float:
    return float(text.removesuffix("%"))


def test_the_drawing_is_logarithmic() -> None:
    """From 9 to 99 is as far as from 99 to 999."""
    card = cards_of([prediction()])[0][0]

    assert at(card.at) - at(card.low_at) == pytest.approx(at(card.width) / 2, abs=0.02)


def test_all_cards_share_one_axis() -> None:
    small, large = cards_of([prediction(), prediction(stars=9_999.0, high=99_999.0)])[0]

    assert at(small.at) < at(large.at)


@pytest.mark.parametrize("field", ["low", "high", "stars", "actual"])
def test_no_mark_leaves_the_drawing(field: str) -> None:
    card = cards_of([prediction(**{field: 4_000_000.0 if field != "low" else 0.0})])[0][0]

    assert all(0 <= at(mark) <= 100 for mark in (card.at, card.low_at, card.actual_at or "0%"))
    assert at(card.low_at) + at(card.width) <= 100.01


@pytest.mark.parametrize(
    ("actual", "words"),
    [(300.0, "more than expected"), (99.0, "about as expected"), (20.0, "less than expected"), (None, None)],
)
def test_the_true_count_is_compared_with_what_is_expected(actual: float | None, words: str | None) -> None:
    surprise = cards_of([prediction(actual=actual)])[0][0].surprise

    assert surprise == (f"{words} for such a repository" if words else None)


def test_a_factor_above_one_goes_right_and_below_one_left() -> None:
    raising, lowering = cards_of([prediction()])[0][0].bars

    assert (raising.left, raising.width, raising.times) == ("50.00%", "50.00%", "× 4.0")
    assert (lowering.left, lowering.width, lowering.times) == ("25.00%", "25.00%", "× 0.50")


def test_a_note_on_the_source_is_no_part_of_the_label() -> None:
    assert cards_of([prediction()])[0][0].bars[1].label == "open issues"


def test_a_repository_that_was_typed_has_no_link() -> None:
    assert cards_of([prediction(known=False)])[0][0].link is None


def test_an_interval_of_one_count_says_so() -> None:
    assert "the true count is 0." in cards_of([prediction(stars=0.2, low=-0.0, high=0.0)])[0][0].interval


@pytest.mark.parametrize(("factor", "text"), [(1.8, "× 1.8"), (1.04, "× 1.04"), (0.41, "× 0.41"), (1234.5, "× 1,234")])
def test_factors_read_well(factor: float, text: str) -> None:
    assert times(factor) == text


def test_counts_read_well() -> None:
    assert number(12340.4) == "12,340"
