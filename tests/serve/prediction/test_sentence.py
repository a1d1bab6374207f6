"""One sentence for each repository: numbers, nouns and comparisons agree with each other."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.serve.prediction.sentence import prediction_sentence


def row(expected: float, low: float, high: float, actual: float | None = None, **others: Any) -> dict[str, Any]:
    return {
        "full_name": "a/b", "expected_stars": expected, "interval_low": low, "interval_high": high, "coverage": 0.9,
        "actual_stars": actual, "ratio": (actual + 1) / (expected + 1) if actual is not None else None,
        "inside_interval": low <= actual <= high if actual is not None else None, **others,
    }  # fmt: skip


MILESTONE = {"stars": 10_000, "date": "2027-05-09", "earliest": "2027-03-20", "latest": "2027-09-01", "coverage": 0.8}
FORECAST = [
    {
        "days": days,
        "date": f"2027-0{days // 90 + 1}-01",
        "stars": 900.0 + days,
        "low": 890.0,
        "high": 1300.0,
        "coverage": 0.9,
    }
    for days in (30, 90, 365)
]
OF_99 = "about 99 stars expected (9–999)"
ALONE = "about 99 stars expected (90% interval: 9–999)"
SENTENCES = [
    (row(2538.2, 754, 8071, 21089), "about 2,500 stars expected (754–8,071)", "actual 21,089, 8.3× more, outside"),
    (row(99.4, 9, 999, 47), OF_99, "actual 47, 2.1× less, inside"),
    (row(99.4, 9, 999, 101), OF_99, "actual 101, about as expected, inside"),
    (row(1.2, 1, 41, 1), "about 1 star expected (1–41)", "actual 1, about as expected, inside"),
    (row(1.4, 0, 8, 0), "about 1 star expected (0–8)", "actual 0, about as expected, inside"),
    (row(0.2, 0, 3, 0), "less than 1 star expected (0–3)", "actual 0, about as expected, inside"),
    (row(0.2, 0, 0, 1), "less than 1 star expected (0)", "actual 1, 1.7× more, outside"),
    (row(40, 8, 300, 0), "about 40 stars expected (8–300)", "actual 0, 41× less, outside"),
    (row(40, 8, 9e6, 7_000_000), "about 40 stars expected (8–9,000,000)", "actual 7,000,000, 170,732× more, inside"),
]


@pytest.mark.parametrize(("prediction", "expected", "actual"), SENTENCES)
def test_the_sentence_has_estimate_interval_and_comparison(
    prediction: dict[str, Any], expected: str, actual: str
) -> None:
    assert prediction_sentence(prediction) == f"a/b: {expected}; {actual} the 90% interval."


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, f"{ALONE}."),
        ({"coverage": 0.95}, "about 99 stars expected (95% interval: 9–999)."),
        ({"milestone": MILESTONE}, f"10,000 stars around May 2027 (80%: March–September 2027); {ALONE}."),
        ({"milestone": None, "forecast": FORECAST}, f"1,265 stars forecast for 2027-05-01 (90%: 890–1,300); {ALONE}."),
    ],
)
def test_the_forecast_is_first_and_the_interval_is_named_once(changed: dict[str, Any], sentence: str) -> None:
    assert prediction_sentence(row(99.4, 9, 999, **changed)) == f"a/b: {sentence}"


def test_an_interval_that_is_too_wide_is_no_estimate() -> None:
    sentence = prediction_sentence(row(24, 1, 41_024, 36_589.0, enough_data=False))

    assert sentence == "a/b: not enough data for a useful estimate (90% interval: 1–41,024); actual 36,589."


@given(st.floats(0, 1e6), st.floats(1, 50), st.integers(0, 1_000_000))
def test_the_sentence_never_contradicts_itself(expected: float, width: float, actual: int) -> None:
    low, high = float(int(expected / width)), float(int(expected * width) + 1)
    sentence = prediction_sentence(row(expected, low, high, float(actual)))

    shown = re.search(r"about ([\d,]+) stars? expected", sentence)
    estimate = int(shown[1].replace(",", "")) if shown else 0
    assert low <= estimate <= high
    assert ("outside" in sentence) == (not low <= actual <= high)
    assert not ("outside" in sentence and "about as expected" in sentence)
    if "more," in sentence:
        assert actual > expected
    if "less," in sentence:
        assert actual < expected
    assert not re.search(r"(?<![\d,])1 stars", sentence)
