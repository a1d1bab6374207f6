"""The explanation as a table with bars."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.web.views.explanation_view import Bar, explanation_views, waterfall
from tests.serve.web.views.example_prediction import example_explanation, example_prediction


def bars(factors: list[float], expected: float = 430.0) -> tuple[Bar, ...]:
    return waterfall(example_explanation(expected, [("issues", "12", factor) for factor in factors]), expected)


def number(text: str) -> float:
    return float(re.sub(r"[^\d.e-]", "", text))


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=10), st.floats(0.0, 1e6))
def test_the_numbers_shown_multiply_to_the_estimate_shown(factors: list[float], expected: float) -> None:
    rows = bars(factors, expected)

    product = (number(rows[0].value) + 1) * math.prod(number(row.factor) for row in rows[1:-1])

    assert product == pytest.approx(number(rows[-1].value) + 1, rel=0.006)


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=10), st.floats(0.0, 1e6))
def test_each_step_starts_at_the_end_of_the_previous_one(factors: list[float], expected: float) -> None:
    rows = bars(factors, expected)

    assert len(rows) == len(factors) + 3
    assert rows[1].begin == rows[0].end
    assert all(after.begin == before.end for before, after in itertools.pairwise(rows[1:-1]))
    assert rows[-1].end == rows[-2].end
    assert all(number(row.left) >= 0 and number(row.left) + number(row.width) <= 100.5 for row in rows)


def test_raising_factors_go_right_and_lowering_ones_left() -> None:
    rows = bars([4.0, 0.5])

    assert [row.kind for row in rows[:3]] == ["total", "raises", "lowers"]
    assert number(rows[1].begin) < number(rows[1].end)
    assert number(rows[2].begin) > number(rows[2].end)
    assert number(rows[1].width) == pytest.approx(2 * number(rows[2].width), abs=0.05)


def test_a_factor_of_zero_has_a_bar() -> None:
    assert [bar.factor for bar in bars([0.0])][1] == "× 0.00"


def test_the_rows_end_at_the_estimate_that_the_page_shows() -> None:
    views = explanation_views(example_prediction(expected_stars=2_538.4))

    assert [view.stars for view in views] == ["2,538 stars"]
    assert views[0].bars[-1].value == "2,538 stars"


def test_the_second_tab_explains_the_estimate_without_popularity() -> None:
    without = {
        "policy": "activity", "expected_stars": 120.0, "interval_low": 10.0, "interval_high": 900.0,
        "explanation": example_explanation(120.0) | {"method": "sampled"},
    }  # fmt: skip

    first, second = explanation_views(example_prediction(without_popularity=without))

    assert (first.stars, second.stars, second.interval) == ("430 stars", "120 stars", "10–900")
    assert "without popularity" in second.inputs
    assert "Exact" in first.method
    assert "Sampled" in second.method


def test_without_an_explanation_there_is_no_table() -> None:
    assert explanation_views(example_prediction(explanation=None)) == ()
