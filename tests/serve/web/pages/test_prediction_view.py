"""Texts and positions on the result page, and the waterfall chart of an explanation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.formatting import format_count, format_factor
from stargaze.serve.web.pages.prediction_view import prediction_views, waterfall


def prediction(**changed: Any) -> dict[str, Any]:
    factors = [
        {"feature": "a", "label": "contributors", "value": "12", "factor": 4.0},
        {"feature": "b", "label": "open issues; with pull requests", "value": "unknown", "factor": 0.5},
    ]
    row = {
        "rank": 1, "source": "bundle", "full_name": "a/b", "expected_stars": 99.0, "interval_low": 9.0,
        "interval_high": 999.0, "coverage": 0.9, "percentile": 93.4, "actual_stars": 99.0, "fetched_at": "2017-01-20",
        "explanation": {"method": "exact", "baseline_stars": 2.3, "factors": factors, "other_factors": 1.04},
    }  # fmt: skip
    row |= changed
    actual = row["actual_stars"]
    return row | {"ratio": None if actual is None else (actual + 1) / (row["expected_stars"] + 1)}


def at(text: str) -> float:
    return float(text.removesuffix("%"))


def test_a_factor_that_is_rounded_to_zero_has_a_bar() -> None:
    factors = [{"feature": "a", "label": "contributors", "value": "0", "factor": 0.0}]
    explanation = {"method": "exact", "baseline_stars": -1.0, "factors": factors, "other_factors": 0.0}

    bars = prediction_views([prediction(explanation=explanation)])[0][0].bars

    assert [bar.factor for bar in bars] == ["", "× 0.00", "× 0.00", ""]


def test_a_similar_repository_without_a_known_number_of_stars_is_listed() -> None:
    similar = [{"full_name": "c/d", "actual_stars": None, "similarity": 0.5}]

    assert prediction_views([prediction(similar=similar)])[0][0].similar == (("c/d", "–", "50%"),)


def test_the_axis_is_logarithmic() -> None:
    """The distance from 9 to 99 is that from 99 to 999."""
    view = prediction_views([prediction()])[0][0]

    assert at(view.at) - at(view.low_at) == pytest.approx(at(view.width) / 2, abs=0.02)


def test_all_repositories_share_one_axis() -> None:
    small, large = prediction_views([prediction(), prediction(expected_stars=9_999.0, interval_high=99_999.0)])[0]

    assert at(small.at) < at(large.at)


@pytest.mark.parametrize("field", ["interval_low", "interval_high", "expected_stars", "actual_stars"])
def test_all_marks_are_inside_the_chart(field: str) -> None:
    view = prediction_views([prediction(**{field: 4_000_000.0 if field != "interval_low" else 0.0})])[0][0]

    assert all(0 <= at(position) <= 100 for position in (view.at, view.low_at, view.actual_at or "0%"))
    assert at(view.low_at) + at(view.width) <= 100.01


@pytest.mark.parametrize(
    ("actual", "text"),
    [(300.0, "more than expected"), (99.0, "about as expected"), (20.0, "less than expected"), (None, None)],
)
def test_the_true_count_is_compared_with_the_estimate(actual: float | None, text: str | None) -> None:
    assert prediction_views([prediction(actual_stars=actual)])[0][0].comparison == text


def test_values_out_of_range_are_texts() -> None:
    rows = [
        {"label": "forks", "value": "900,000", "low": "0", "high": "20,000"},
        {"label": "language", "value": "Brainfuck", "low": "", "high": ""},
    ]

    assert prediction_views([prediction(out_of_range=rows)])[0][0].out_of_range == (
        "forks: 900,000 (training data: 0 to 20,000)",
        "language: Brainfuck (not in the training data)",
    )


def test_a_what_if_shows_values_before_and_after() -> None:
    change = {"field": "license", "label": "License", "before": "unknown", "after": "mit"}
    what_if = {
        "expected_stars": 120.0,
        "interval_low": 10.0,
        "interval_high": 1_200.0,
        "factor": 1.21,
        "changes": [change],
    }

    view = prediction_views([prediction(what_if=what_if)])[0][0].what_if

    assert view is not None
    assert (view.before, view.after, view.factor) == ("99", "120", "× 1.2")
    assert view.changes == ("License: unknown → mit",)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"source": "github"}, "Live from GitHub, 2017-01-20."),
        ({"source": "bundle"}, "Data from 2017-01-20."),
        ({"source": "entered"}, "Your values."),
    ],
)
def test_the_source_of_the_figures_is_shown(row: dict[str, Any], text: str) -> None:
    assert prediction_views([prediction(**row)])[0][0].source == text


def test_notes_are_sentences() -> None:
    view = prediction_views([prediction(notes=["is a fork", "GitHub could not be reached; figures of 2026-01-01"])])[0][
        0
    ]

    assert view.notes == ("It is a fork.", "GitHub could not be reached; figures of 2026-01-01.")


def test_without_an_explanation_there_are_no_bars() -> None:
    assert prediction_views([prediction(explanation=None)])[0][0].bars == ()


def test_an_entered_repository_has_no_link() -> None:
    assert prediction_views([prediction(source="entered")])[0][0].link is None


def test_an_interval_of_one_count_is_one_number() -> None:
    assert (
        prediction_views([prediction(expected_stars=0.2, interval_low=-0.0, interval_high=0.0)])[0][0].interval
        == "90% prediction interval: 0 stars."
    )


def test_counts_have_thousands_separators() -> None:
    assert format_count(12340.4) == "12,340"


# ---- waterfall ------------------------------------------------------------------------------------------------------


def explanation(factors: list[float], other: float = 1.04, base: float = 2.3) -> dict[str, Any]:
    items = [{"feature": "a", "label": "issues; with more", "value": "12", "factor": factor} for factor in factors]
    expected = (base + 1) * math.prod(factors) * other - 1
    explanation = {"method": "exact", "baseline_stars": base, "factors": items, "other_factors": other}
    return {"expected_stars": max(expected, 0.0), "explanation": explanation}


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=10), st.floats(0.1, 10.0))
def test_each_step_starts_at_the_end_of_the_previous_one(factors: list[float], other: float) -> None:
    bars = waterfall(explanation(factors, other))

    assert len(bars) == len(factors) + 3
    assert bars[1].begin == bars[0].end
    assert all(after.begin == before.end for before, after in itertools.pairwise(bars[1:-1]))
    assert bars[-1].end == bars[-2].end
    assert all(at(bar.left) >= 0 and at(bar.left) + at(bar.width) <= 100.5 for bar in bars)


def test_raising_factors_go_right_and_lowering_ones_left() -> None:
    bars = waterfall(explanation([4.0, 0.5]))

    assert [bar.kind for bar in bars] == ["total", "raises", "lowers", "raises", "total"]
    assert at(bars[1].begin) < at(bars[1].end)
    assert at(bars[2].begin) > at(bars[2].end)
    assert at(bars[1].width) == pytest.approx(2 * at(bars[2].width), abs=0.05)


def test_the_label_omits_the_note_on_the_source() -> None:
    assert waterfall(explanation([2.0]))[1].label == "issues"


@pytest.mark.parametrize(("factor", "text"), [(1.8, "× 1.8"), (1.04, "× 1.04"), (0.41, "× 0.41"), (1234.5, "× 1,234")])
def test_factors_are_formatted(factor: float, text: str) -> None:
    assert format_factor(factor) == text
