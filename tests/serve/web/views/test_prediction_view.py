"""Texts and positions on the result page."""

from __future__ import annotations

from typing import Any

import pytest

from stargaze.serve.prediction_request import PredictionJob
from stargaze.serve.web.views.prediction_view import PredictionView, prediction_views, readable_job
from tests.serve.web.views.example_prediction import example_prediction


def view(**changed: Any) -> PredictionView:
    return prediction_views([example_prediction(**changed)])[0]


def at(text: str) -> float:
    return float(text.removesuffix("%"))


def test_a_similar_repository_without_a_known_number_of_stars_is_listed() -> None:
    similar = [{"full_name": "c/d", "actual_stars": None, "similarity": 0.5}]

    assert view(similar=similar).similar == (("c/d", "–", "50%"),)


def test_the_axis_is_logarithmic() -> None:
    """The distance from 9 to 99 is that from 99 to 999."""
    scale = view(expected_stars=99.0, interval_low=9.0, interval_high=999.0).scale

    assert scale.expected
    assert at(scale.expected.at) - at(scale.left) == pytest.approx(at(scale.width) / 2, abs=0.02)


def test_all_repositories_share_one_axis() -> None:
    small, large = prediction_views([example_prediction(), example_prediction(interval_high=6_000.0)])

    assert at(small.scale.width) < at(large.scale.width)
    assert small.scale.ticks == large.scale.ticks
    assert small.scale.expected == large.scale.expected


@pytest.mark.parametrize("field", ["interval_low", "interval_high", "expected_stars", "actual_stars"])
def test_all_marks_are_inside_the_chart(field: str) -> None:
    scale = view(**{field: 4_000_000.0 if field != "interval_low" else 0.0}, enough_data=True).scale

    assert scale.expected
    assert scale.actual
    assert all(0 <= at(mark.at) <= 100 for mark in (scale.expected, scale.actual, scale.interval, *scale.ticks))
    assert at(scale.left) + at(scale.width) <= 100.01


def test_the_chart_is_described_in_words() -> None:
    assert view().scale.description == (
        "pallets/flask on a logarithmic scale: 430 stars expected, interval 61–2,900, 896 actual"
    )


def test_a_label_at_the_edge_is_aligned_with_its_mark() -> None:
    scale = view(expected_stars=0.0, interval_low=0.0, actual_stars=2_900.0, enough_data=True).scale

    assert scale.actual
    assert scale.expected
    assert (scale.expected.anchor, scale.actual.anchor) == ("begin", "end")


def test_coverage_is_quoted_for_the_decade_of_the_estimate() -> None:
    assert view().facts[0] == (
        "90% prediction interval: 61–2,900 stars. For estimates of 100–999 stars it contained the actual count of 91% "
        "of 812 held-out repositories."
    )
    for without in (view(decade_coverage=None), view(enough_data=False)):
        assert without.facts[0] == "90% prediction interval: 61–2,900 stars."


def test_a_coverage_of_few_repositories_is_not_quoted() -> None:
    few, enough = (view(decade_coverage={"decade": "100-999", "n": n, "coverage": 0.9}).facts[0] for n in (29, 30))

    assert few == (
        "90% prediction interval: 61–2,900 stars. For estimates of 100–999 stars too few repositories were held out to "
        "measure how often it contains the actual count."
    )
    assert enough.endswith("90% of 30 held-out repositories.")


def test_one_star_is_singular_and_less_is_below_one() -> None:
    bounds = {"interval_low": 0.0, "interval_high": 9.0}
    one = view(expected_stars=0.6, **bounds)
    less = view(expected_stars=0.4, **bounds, decade_coverage={"decade": "0", "n": 99, "coverage": 0.96})

    assert "1 star expected," in one.scale.description
    assert one.explanations[0].stars == "1 star"
    assert "less than 1 star expected" in less.sentence
    assert "For estimates below 1 star it contained" in less.facts[0]


def test_a_history_of_one_day_has_no_chart_and_the_reason() -> None:
    history = {"source": "github", "as_of": "2026-02-21", "dates": ["2026-02-21"], "stars": [3]}

    shown = view(history=history, forecast=None, milestone=None, history_note="")

    assert shown.chart is None
    assert shown.history_note == "The star history is too short for a chart."


def test_without_enough_data_the_chart_has_no_estimate() -> None:
    """The sentence above it has none either."""
    shown = view(enough_data=False)

    assert shown.scale.expected is None
    assert "expected" not in shown.scale.description
    assert shown.facts[1] == ""


@pytest.mark.parametrize(
    ("percentile", "text"),
    [(96.2, "Top 3.8% of"), (99.7, "Top 0.3% of"), (99.999, "Top 0.1% of"), (12.0, "More than 12% of"), (100.0, "all")],
)
def test_the_percentile_is_not_capped(percentile: float, text: str) -> None:
    assert text in view(percentile=percentile).facts[1]


def test_values_out_of_range_are_texts() -> None:
    rows = [
        {"label": "forks", "value": "900,000", "low": "0", "high": "20,000"},
        {"label": "language", "value": "Brainfuck", "low": "", "high": ""},
    ]

    assert view(out_of_range=rows).warnings == (
        "forks: 900,000 (training data: 0 to 20,000)",
        "language: Brainfuck (not in the training data)",
    )


def test_a_repository_unlike_the_training_ones_has_a_warning() -> None:
    text = "Farther from the training data than 99% of the repositories held out from it, mostly in forks and age"

    assert view(unlike_training={"labels": ["forks", "age"], "text": text}).warnings == (text,)
    assert view(unlike_training=None).warnings == ()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("github", "Live from GitHub, 2026-02-21. The estimate is for this day."),
        ("bundle", "Data from 2026-02-21. The estimate is for this day."),
        ("entered", "Your values, 2026-02-21. The estimate is for this day."),
    ],
)
def test_the_source_of_the_figures_is_shown(source: str, text: str) -> None:
    assert view(source=source).facts[-1] == text


def test_the_most_important_missing_fields_are_named() -> None:
    fields = [{"field": f"f{number}", "label": f"field {number}"} for number in range(20)]

    assert view(missing_fields=fields).missing[-2:] == ("field 7", "and 12 more")
    assert view(missing_fields=fields[:2]).missing == ("field 0", "field 1")


def test_notes_are_sentences() -> None:
    notes = ["is a fork", "GitHub could not be reached; figures of 2026-01-01"]

    assert view(notes=notes).notes == ("It is a fork.", "GitHub could not be reached; figures of 2026-01-01.")


def test_an_entered_repository_has_no_link() -> None:
    assert view(source="entered").link is None


def test_an_interval_of_one_count_is_one_number() -> None:
    assert view(expected_stars=0.2, interval_low=-0.0, interval_high=0.0, actual_stars=0.0).interval == "0"


@pytest.mark.parametrize(
    "answer",
    [
        {"digest": "x", "predictions": [{"stars": 3}], "errors": []},
        {"digest": "x", "predictions": [example_prediction()]},
        {"digest": "x", "predictions": [], "errors": []},
        {"digest": "x", "predictions": [example_prediction(history={"dates": ["x"] * 2})], "errors": []},
    ],
)
def test_an_answer_of_another_version_is_a_failed_job(answer: dict[str, Any]) -> None:
    job = readable_job(PredictionJob("x", "done", None, None, None, answer=answer))

    assert job.state == "failed"
    assert job.error
    assert job.error["message"] == "the stored result cannot be read"
