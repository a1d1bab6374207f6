"""The rows of a comparison: one repository each, as texts, or why it has no answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.features.ingest.user_input import METRICS_HINT
from stargaze.formatting import as_sentence, format_count, format_factor
from stargaze.serve.lookup.exclusion import ExcludedRepositoryError
from stargaze.serve.prediction.labels import label_fields
from stargaze.serve.prediction.sentence import compare, forecast_phrase, format_range, note_sentence

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
    notes: tuple[str, ...]
    """For instance that it was renamed."""


@dataclass(frozen=True)
class FailedRow:
    """One repository without an answer; ``offers_metrics`` says whether its metrics may be entered."""

    name: str
    message: str
    hint: str
    """Without what the link says."""
    offers_metrics: bool


def failed_rows(errors: Sequence[Mapping[str, str]]) -> list[FailedRow]:
    """Return the rows of an answer's errors."""
    return [
        FailedRow(
            error["name"],
            as_sentence(label_fields(error["message"].removeprefix(f"{error['name']}: "))),
            as_sentence(hint_beside_link(error["hint"])),
            offers_metrics(error),
        )
        for error in errors
    ]


def hint_beside_link(hint: str) -> str:
    """Return a hint without the text of the link beside it.

    >>> hint_beside_link("check its spelling, or enter its metrics instead"), hint_beside_link("enter its metrics instead")
    ('check its spelling', '')
    """
    return hint.removesuffix(METRICS_HINT).removesuffix(", or ")


def offers_metrics(error: Mapping[str, str] | None) -> bool:
    """Return whether the metrics of a repository may be entered instead: not those of an excluded one."""
    return error is None or error["code"] != ExcludedRepositoryError.code


def compared_rows(predictions: Sequence[Mapping[str, Any]]) -> list[ComparedRow]:
    """Return the rows of an answer's predictions, in their order; one that was entered by two names is one row."""
    notes: dict[str, dict[str, None]] = {}
    for prediction in predictions:
        notes.setdefault(prediction["full_name"], {}).update(dict.fromkeys(prediction["notes"]))
    unique = {prediction["full_name"]: prediction for prediction in reversed(predictions)}
    return [_row(unique[name], notes[name]) for name in notes]


def _row(prediction: Mapping[str, Any], notes: Iterable[str]) -> ComparedRow:
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
        notes=tuple(map(note_sentence, notes)),
    )


def _main_factors(explanation: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    factors = sorted((explanation or {}).get("factors", ()), key=lambda item: -abs(math.log(max(item["factor"], 1e-9))))
    return tuple(
        (f"{item['label']}: {item['value']}" if item["value"] else item["label"], format_factor(item["factor"]))
        for item in factors[:MAX_FACTORS]
    )
