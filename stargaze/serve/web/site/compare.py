"""The comparison: several repositories in one table, and their star histories in one chart."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from stargaze.errors import InvalidInputError
from stargaze.features.ingest.user_input import parse_name
from stargaze.formatting import format_count, format_factor
from stargaze.serve.prediction.sentence import compare, forecast_phrase, format_range

SEPARATOR = re.compile(r"\.{3}(?=[A-Za-z0-9_-]{1,48}/)")
"""Names may contain dots, but no owner does: the three dots before an owner separate."""
MAX_FACTORS = 3


@dataclass(frozen=True)
class ComparedRow:
    """One repository of the table, as texts."""

    name: str
    url: str
    expected: str
    interval: str
    actual: str
    ratio: str
    is_outside: bool
    forecast: str
    factors: tuple[tuple[str, str], ...]
    """Feature with its value, and factor."""
    enough_data: bool


def compare_url(names: Sequence[str], **arguments: Any) -> str:
    """Return the address of the comparison."""
    return url_for("pages.compare", names="...".join(names), **arguments)


def parse_compared(text: str) -> list[str]:
    """Return the names in the path of a comparison, each once; InvalidInputError if one is not a name.

    >>> parse_compared("a/b...c/d.js...A/B"), parse_compared("a/b....c/d"), parse_compared("a/x...y...c/.d")
    (['a/b', 'c/d.js'], ['a/b.', 'c/d'], ['a/x...y', 'c/.d'])
    """
    try:
        names = [parse_name(part) for part in SEPARATOR.split(text.strip("/"))]
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint="use /compare/owner/name...owner/name") from error
    unique: dict[str, str] = {}
    for name in names:
        unique.setdefault(name.casefold(), name)
    return list(unique.values())


def compared_rows(predictions: Sequence[Mapping[str, Any]]) -> list[ComparedRow]:
    """Return the rows of an answer's predictions, in their order."""
    return [_row(prediction) for prediction in predictions]


def _row(prediction: Mapping[str, Any]) -> ComparedRow:
    low, high, actual = prediction["interval_low"], prediction["interval_high"], prediction["actual_stars"]
    owner, _, name = prediction["full_name"].partition("/")
    is_compared = actual is not None and prediction["enough_data"]
    inside = bool(prediction["inside_interval"])
    return ComparedRow(
        name=prediction["full_name"],
        url=url_for("pages.repository", owner=owner, name=name),
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
