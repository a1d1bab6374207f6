"""What the page says and draws of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.serve.web.prediction_view import cards_of, number


def prediction(**changed: Any) -> dict[str, Any]:
    factors = [
        {"feature": "a", "label": "contributors", "value": "12", "factor": 4.0},
        {"feature": "b", "label": "open issues; with pull requests", "value": "not known", "factor": 0.5},
    ]
    row = {
        "rank": 1, "known": True, "full_name": "a/b", "stars": 99.0, "low": 9.0, "high": 999.0, "coverage": 0.9,
        "percentile": 93.4, "expected": 99.0, "base": 2.3, "factors": factors, "other_factors": 1.04, "actual": 99.0,
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


def test_what_lies_outside_is_said_in_words() -> None:
    beyond = [
        {"label": "forks", "value": "900,000", "low": "0", "high": "20,000"},
        {"label": "language", "value": "Brainfuck", "low": "", "high": ""},
    ]

    assert cards_of([prediction(out_of_range=beyond)])[0][0].out_of_range == (
        "forks: 900,000 (it learnt from 0 to 20,000)",
        "language: Brainfuck (it never saw that)",
    )


def test_a_change_is_told_with_before_and_after() -> None:
    change = {"field": "license", "label": "License", "before": "not known", "after": "mit"}
    told = {"stars": 120.0, "low": 10.0, "high": 1_200.0, "factor": 1.21, "changes": [change]}

    found = cards_of([prediction(what_if=told)])[0][0].what_if

    assert found is not None
    assert (found.before, found.after, found.factor) == ("99", "120", "× 1.2")
    assert found.changes == ("License: not known → mit",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"source": "github"}, "as GitHub gave them on 2017-01-20"),
        ({"source": "known"}, "as they were on 2017-01-20"),
        ({"source": "typed", "known": False}, "as you typed them"),
    ],
)
def test_it_is_said_where_the_figures_come_from(row: dict[str, Any], words: str) -> None:
    assert words in cards_of([prediction(**row)])[0][0].source


def test_remarks_are_sentences() -> None:
    card = cards_of([prediction(notes=["is a fork", "GitHub could not be reached; figures of 2026-01-01"])])[0][0]

    assert card.notes == ("It is a fork.", "GitHub could not be reached; figures of 2026-01-01.")


def test_an_answer_without_reasons_has_none() -> None:
    assert cards_of([prediction(factors=[], base=None, rest=None, expected=None)])[0][0].bars == ()


def test_a_repository_that_was_typed_has_no_link() -> None:
    assert cards_of([prediction(known=False)])[0][0].link is None


def test_an_interval_of_one_count_says_so() -> None:
    assert "the true count is 0." in cards_of([prediction(stars=0.2, low=-0.0, high=0.0)])[0][0].interval


def test_counts_read_well() -> None:
    assert number(12340.4) == "12,340"
