"""An answer about one repository as one sentence, for the page, its exports and the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from stargaze.formatting import as_sentence, format_count, format_percent, format_stars
from stargaze.serve.prediction.milestone_text import milestone_text

AS_EXPECTED = 1.25
"""An actual count within this factor of the estimate is "about as expected"."""
SET_NOTES = {
    "training": "used in training: the error is understated here",
    "validation": "not used in training, but to calibrate the intervals",
    "test": "of the test set: not used in training",
}
"""What is said of a repository of each set."""
EXACT_BELOW = 100
"""Estimates below are rounded to whole stars, larger ones to two significant digits [stars]."""


def prediction_sentence(prediction: Mapping[str, Any]) -> str:
    """Return the sentence about a prediction of an answer: forecast if there is one, estimate, actual count.

    >>> row = {"full_name": "nylas/N1", "expected_stars": 2538.2, "interval_low": 754.0, "interval_high": 8071.0}
    >>> row |= {"coverage": 0.9, "actual_stars": 21089.0, "ratio": 8.306, "inside_interval": False}
    >>> prediction_sentence(row)
    'nylas/N1: about 2,500 stars expected (754–8,071); actual 21,089, 8.3× more, outside the 90% interval.'
    """
    actual = actual_phrase(prediction)
    parts = (forecast_phrase(prediction), expected_phrase(prediction, named=not actual), actual)
    return f"{prediction['full_name']}: {'; '.join(filter(None, parts))}."


def forecast_phrase(prediction: Mapping[str, Any]) -> str:
    """Return the next milestone, or the farthest forecast without one; empty without a forecast.

    >>> point = {"days": 365, "date": "2027-03-01", "stars": 920.4, "low": 880.0, "high": 1010.0, "coverage": 0.9}
    >>> forecast_phrase({"forecast": [point]}), forecast_phrase({"forecast": None})
    ('920 stars forecast for 2027-03-01 (90%: 880–1,010)', '')
    """
    if prediction.get("milestone"):
        return milestone_text(prediction["milestone"])
    if not prediction.get("forecast"):
        return ""
    point = max(prediction["forecast"], key=lambda item: item["days"])
    bounds = format_range(point["low"], point["high"])
    return (
        f"{format_stars(point['stars'])} forecast for {point['date']} ({format_percent(point['coverage'])}: {bounds})"
    )


def expected_phrase(prediction: Mapping[str, Any], *, named: bool = True) -> str:
    """Return the estimate with its interval, which is named if nothing else in the sentence names it.

    >>> row = {"expected_stars": 0.4, "interval_low": 0.0, "interval_high": 3.0, "coverage": 0.9}
    >>> expected_phrase(row), expected_phrase({**row, "expected_stars": 1.2}, named=False)
    ('less than 1 star expected (90% interval: 0–3)', 'about 1 star expected (0–3)')
    """
    low, high = prediction["interval_low"], prediction["interval_high"]
    name = f"{format_percent(prediction['coverage'])} interval: " if named else ""
    if not prediction.get("enough_data", True):
        share = format_percent(prediction["coverage"])
        return f"not enough data for a useful estimate ({share} interval: {format_range(low, high)})"
    stars = round_estimate(prediction["expected_stars"], low, high)
    estimate = f"about {format_stars(stars)}" if stars else "less than 1 star"
    return f"{estimate} expected ({name}{format_range(low, high)})"


def actual_phrase(prediction: Mapping[str, Any]) -> str:
    """Return the actual count compared with the estimate; empty if it is unknown.

    >>> row = {"expected_stars": 9.0, "actual_stars": 4.0, "ratio": 0.5, "inside_interval": True, "coverage": 0.9}
    >>> actual_phrase(row)
    'actual 4, 2.0× less, inside the 90% interval'
    """
    actual = prediction["actual_stars"]
    if actual is None:
        return ""
    if not prediction.get("enough_data", True):
        return f"actual {format_count(actual)}"
    side = "inside" if prediction["inside_interval"] else "outside"
    interval = f"{side} the {format_percent(prediction['coverage'])} interval"
    compared = compare(actual, prediction["expected_stars"], inside_interval=prediction["inside_interval"])
    return f"actual {format_count(actual)}, {compared}, {interval}"


def compare(actual: float, expected: float, *, inside_interval: bool = True) -> str:
    """Return how an actual count compares with the estimate; the factor counts one star more on both sides.

    A count outside the interval is never "about as expected"; another one is if it differs by one from the estimate as shown.

    >>> compare(21_089, 2_538.2), compare(0, 40), compare(1_000, 980), compare(0, 1.4), compare(30_000, 20)
    ('8.3× more', '41× less', 'about as expected', 'about as expected', '1,429× more')
    """
    ratio = (actual + 1) / (expected + 1)
    factor = max(ratio, 1 / ratio)
    if inside_interval and (factor < AS_EXPECTED or abs(actual - round(expected)) <= 1):
        return "about as expected"
    return f"{f'{factor:.1f}' if factor < 9.95 else f'{factor:,.0f}'}× {'more' if ratio > 1 else 'less'}"


def round_estimate(expected: float, low: float, high: float) -> float:
    """Return the estimate in a precision that fits its error, inside the interval that is shown beside it.

    >>> round_estimate(2538.2, 754, 8071), round_estimate(41.6, 3, 800), round_estimate(1049, 1010, 1080)
    (2500.0, 42.0, 1049.0)
    >>> round_estimate(996.0, 100, 8000)  # not 1000, which the coverage of estimates of 100-999 does not describe
    996.0
    """
    exact = float(round(expected))
    digits = 0 if expected < EXACT_BELOW else 1 - math.floor(math.log10(expected))
    rounded = float(round(expected, digits))
    is_same_decade = len(f"{rounded:.0f}") == len(f"{exact:.0f}")
    return rounded if is_same_decade and round(low) <= rounded <= round(high) else exact


def format_range(low: float, high: float) -> str:
    """Return both ends of an interval of stars, or one number if they are equal.

    >>> format_range(754, 8071), format_range(-0.0, 0.0)
    ('754–8,071', '0')
    """
    first, last = format_count(low + 0.0), format_count(high + 0.0)
    return first if first == last else f"{first}–{last}"


def note_sentence(note: str) -> str:
    """Return a note of an answer as a sentence.

    >>> note_sentence("is a fork of a/b"), note_sentence("star history until 2026-01-01")
    ('It is a fork of a/b.', 'Star history until 2026-01-01.')
    """
    return as_sentence(f"it {note}" if note.startswith(("is ", "was ", "has ")) else note)
