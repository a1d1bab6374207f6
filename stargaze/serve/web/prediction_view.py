"""What the page says about an answer: every sentence, and where every mark of the drawings lies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.serve.web.history_chart import Plot, plot_of
from stargaze.serve.web.waterfall import Bar, number_of_times, waterfall

ABOUT = 1.25
"""A true count within this factor of what was expected is "about as expected"."""
POLICY_WORDS = {
    "static": "only what its maintainers write",
    "activity": "what its maintainers write and do, not how popular it is already",
    "all": "all figures, forks and subscribers among them",
}


@dataclass(frozen=True)
class Tick:
    """A mark on the axis of stars."""

    label: str
    at: str


@dataclass(frozen=True)
class WhatIf:
    """What the estimate would be with some figures otherwise."""

    changes: tuple[str, ...]
    before: str
    after: str
    factor: str
    range: str


@dataclass(frozen=True)
class PredictionView:
    """One repository of an answer, in words and positions."""

    rank: int
    name: str
    link: str | None
    stars: str
    interval: str
    percentile: str
    surprise: str | None
    sign: str | None
    actual: str | None
    date: str
    bars: tuple[Bar, ...]
    at: str
    low_at: str
    width: str
    actual_at: str | None
    in_training_data: bool
    missing: str
    policy: str
    source: str
    notes: tuple[str, ...]
    out_of_range: tuple[str, ...]
    similar: tuple[tuple[str, str, str], ...]
    """Name, stars, and how alike."""
    editable_fields: dict[str, Any]
    what_if: WhatIf | None
    plot: Plot | None


def cards_of(predictions: list[Mapping[str, Any]]) -> tuple[list[PredictionView], list[Tick]]:
    """Turn ranked predictions into cards on one common axis, so that the drawings can be compared by eye."""
    top = _top(predictions)
    ticks = [Tick(number(value), _at(value, top)) for value in _powers(top)]
    return [_card(prediction, top) for prediction in predictions], ticks


def number(value: float) -> str:
    """Write a count for people: ``12,340``."""
    return f"{round(value):,}"


def _card(prediction: Mapping[str, Any], top: float) -> PredictionView:
    low, high, actual = prediction["low"], prediction["high"], prediction["actual"]
    left, right = _share(low, top), _share(high, top)
    return PredictionView(
        rank=prediction["rank"],
        name=prediction["full_name"],
        link=f"https://github.com/{prediction['full_name']}" if prediction["known"] else None,
        stars=number(prediction["stars"]),
        interval=f"In {prediction['coverage'] * 100:g} of 100 cases the true count {_between(low, high)}.",
        percentile=f"{prediction['percentile']:.0f} % of the repositories it learnt from have as many or fewer.",
        surprise=None if actual is None else _surprise(actual, prediction["stars"])[1],
        sign=None if actual is None else _surprise(actual, prediction["stars"])[0],
        actual=None if actual is None else number(actual),
        date=prediction["fetched_at"] or "",
        bars=waterfall(prediction),
        at=_at(prediction["stars"], top),
        low_at=_percent(left),
        width=_percent(right - left),
        actual_at=None if actual is None else _at(actual, top),
        in_training_data=bool(prediction.get("in_training_data")),
        missing=", ".join(prediction.get("missing", ())),
        policy=prediction.get("policy", ""),
        source=_source(prediction),
        notes=tuple(map(_sentence, prediction.get("notes", ()))),
        out_of_range=tuple(map(_outside, prediction.get("out_of_range", ()))),
        similar=tuple(
            (row["full_name"], number(row["stars"]), f"{100 * row['similarity']:.0f} %")
            for row in prediction.get("similar", ())
        ),
        editable_fields=dict(prediction.get("editable_fields") or {}),
        what_if=_what_if(prediction),
        plot=plot_of(prediction),
    )


def _between(low: float, high: float) -> str:
    return f"is {number(low)}" if low == high else f"lies between {number(low)} and {number(high)}"


def _surprise(actual: float, expected: float) -> tuple[str, str]:
    ratio = (actual + 1) / (expected + 1)
    if ratio >= ABOUT:
        return "▲", "more than expected for such a repository"
    if ratio <= 1 / ABOUT:
        return "▼", "less than expected for such a repository"
    return "=", "about as expected for such a repository"


def _what_if(prediction: Mapping[str, Any]) -> WhatIf | None:
    found = prediction.get("what_if")
    if not found:
        return None
    return WhatIf(
        tuple(f"{change['label']}: {change['before']} → {change['after']}" for change in found["changes"]),
        number(prediction["stars"]),
        number(found["stars"]),
        number_of_times(found["factor"]),
        f"{number(found['low'])} to {number(found['high'])}",
    )


def _source(prediction: Mapping[str, Any]) -> str:
    day = prediction["fetched_at"] or "a day that is not known"
    if prediction.get("source") == "github":
        return f"Figures as GitHub gave them on {day}."
    return f"Figures as they were on {day}." if prediction["known"] else "Figures as you typed them."


def _sentence(note: str) -> str:
    """Make a sentence of a note, so that it can stand behind another one."""
    text = f"It {note}" if note.startswith(("is ", "was ", "has ")) else note[:1].upper() + note[1:]
    return text if text.endswith(".") else f"{text}."


def _outside(row: Mapping[str, str]) -> str:
    learnt = f"it learnt from {row['low']} to {row['high']}" if row["low"] else "it never saw that"
    return f"{row['label']}: {row['value']} ({learnt})"


def _top(predictions: list[Mapping[str, Any]]) -> float:
    largest = max(max(row["high"], row["stars"], row["actual"] or 0) for row in predictions)
    return 1.15 * float(max(10.0, largest))  # so that no mark stands on the edge


def _powers(top: float) -> list[float]:
    return [0.0, *(10.0**power for power in range(int(math.log10(top)) + 1))]


def _share(value: float, top: float) -> float:
    return math.log1p(value) / math.log1p(top)


def _at(value: float, top: float) -> str:
    return _percent(_share(value, top))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
