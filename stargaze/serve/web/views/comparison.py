"""The rows of a comparison: one repository each, as texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.formatting import format_count, format_factor
from stargaze.serve.prediction.sentence import compare, forecast_phrase, format_range

MAX_FACTORS = 3


@dataclass(frozen=True)
class ComparedRow:
    """One repository of the table, as texts."""

    name: str
    expected: str
    interval: str
    actual: str
    ratio: str
    is_outside: bool
    forecast: str
    factors: tuple[tuple[str, str], ...]
    """Feature with its value, and factor."""
    enough_data: bool


def compared_rows(predictions: Sequence[Mapping[str, Any]]) -> list[ComparedRow]:
    """Return the rows of an answer's predictions, in their order."""
    return [_row(prediction) for prediction in predictions]


def _row(prediction: Mapping[str, Any]) -> ComparedRow:
    low, high, actual = prediction["interval_low"], prediction["interval_high"], prediction["actual_stars"]
    is_compared = actual is not None and prediction["enough_data"]
    inside = bool(prediction["inside_interval"])
    return ComparedRow(
        name=prediction["full_name"],
        expected=format_count(prediction["expected_stars"]),
        interval=format_range(low, high),
        actual="unknown" if actual is None else format_count(actual),
        ratio=compare(actual, prediction["expected_stars"], inside_interval=inside) if is_compared else "",
        is_outside=not inside,
        forecast=forecast_phrase(prediction) or prediction["history_note"] or "no forecast",
        factors=_main_factors(prediction["explanation"]),
        enough_data=bool(prediction["enough_data"]),
    )


def _main_factors(explanation: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    factors = sorted((explanation or {}).get("factors", ()), key=lambda item: -abs(math.log(max(item["factor"], 1e-9))))
    return tuple(
        (f"{item['label']}: {item['value']}" if item["value"] else item["label"], format_factor(item["factor"]))
        for item in factors[:MAX_FACTORS]
    )
