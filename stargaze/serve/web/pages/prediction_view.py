"""A prediction as the page shows it: every text, and the position of every mark in its charts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.bundle.manifest import MALFORMED
from stargaze.formatting import format_count, format_factor, format_percent
from stargaze.serve.prediction_request import PredictionJob, visitor_error
from stargaze.serve.web.pages.history_chart import HistoryChart, history_chart

AS_EXPECTED = 1.25
"""A true count within this factor of the estimate is "about as expected"."""
SMALLEST_FACTOR = 1e-5
"""Factors have four decimals; a smaller one is 0, which has no logarithm."""
POLICY_TEXTS = {
    "static": "metadata only (what the maintainers write)",
    "activity": "metadata and activity, without popularity",
    "all": "all features, with forks and subscribers",
}


@dataclass(frozen=True)
class Tick:
    """A mark on the axis of stars."""

    label: str
    at: str


@dataclass(frozen=True)
class WhatIf:
    """The estimate with some values changed."""

    changes: tuple[str, ...]
    before: str
    after: str
    factor: str
    range: str


@dataclass(frozen=True)
class PredictionView:
    """One repository of a result, as texts and positions."""

    rank: int
    name: str
    link: str | None
    stars: str
    interval: str
    percentile: str
    comparison: str | None
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
    """Name, stars, similarity."""
    controls: tuple[Mapping[str, Any], ...]
    what_if: WhatIf | None
    chart: HistoryChart | None


def readable_job(job: PredictionJob) -> PredictionJob:
    """Return a job as a visitor may read it.

    If its answer cannot be shown, because another version or somebody else wrote it, it is a failed one.
    """
    try:
        if job.answer is not None:
            prediction_views(job.answer["predictions"])
    except MALFORMED:
        message = "the stored result cannot be read"
        error = {"code": "unreadable_result", "message": message, "hint": "submit the request again"}
        return dataclasses.replace(job, state="failed", answer=None, error=error)
    return dataclasses.replace(job, error=visitor_error(job.error, job.request_id)) if job.error else job


def prediction_views(predictions: list[Mapping[str, Any]]) -> tuple[list[PredictionView], list[Tick]]:
    """Return the views of ranked predictions and the ticks of their common axis."""
    largest = max(max(row["interval_high"], row["expected_stars"], row["actual_stars"] or 0) for row in predictions)
    end = 1.15 * float(max(10.0, largest))  # so that no mark is at the edge
    powers = [0.0, *(10.0**power for power in range(int(math.log10(end)) + 1))]
    ticks = [Tick(format_count(value), format_percent(_position(value, end), 2)) for value in powers]
    return [_view(prediction, end) for prediction in predictions], ticks


def _view(prediction: Mapping[str, Any], end: float) -> PredictionView:
    low, high, actual = prediction["interval_low"], prediction["interval_high"], prediction["actual_stars"]
    left, right = _position(low, end), _position(high, end)
    sign, comparison = (None, None) if actual is None else _compare(prediction["ratio"])
    bounds = format_count(low) if low == high else f"{format_count(low)} to {format_count(high)}"
    return PredictionView(
        rank=prediction["rank"],
        name=prediction["full_name"],
        link=f"https://github.com/{prediction['full_name']}" if prediction["source"] != "entered" else None,
        stars=format_count(prediction["expected_stars"]),
        interval=f"{prediction['coverage'] * 100:g}% prediction interval: {bounds} stars.",
        percentile=f"{prediction['percentile']:.0f}% of the training repositories have as many or fewer.",
        comparison=comparison,
        sign=sign,
        actual=None if actual is None else format_count(actual),
        date=prediction["fetched_at"] or "",
        bars=waterfall(prediction),
        at=format_percent(_position(prediction["expected_stars"], end), 2),
        low_at=format_percent(left, 2),
        width=format_percent(right - left, 2),
        actual_at=None if actual is None else format_percent(_position(actual, end), 2),
        in_training_data=bool(prediction.get("in_training_data")),
        missing=", ".join(field["label"] for field in prediction.get("missing_fields", ())),
        policy=prediction.get("policy", ""),
        source=_source(prediction),
        notes=tuple(map(_sentence, prediction.get("notes", ()))),
        out_of_range=tuple(map(_out_of_range, prediction.get("out_of_range", ()))),
        similar=tuple(
            (
                str(row["full_name"]),
                "–" if row["actual_stars"] is None else format_count(row["actual_stars"]),
                f"{100 * row['similarity']:.0f}%",
            )
            for row in prediction.get("similar", ())
        ),
        controls=tuple(prediction.get("controls") or ()),
        what_if=_what_if(prediction),
        chart=history_chart(prediction),
    )


def _compare(ratio: float) -> tuple[str, str]:
    if ratio >= AS_EXPECTED:
        return "▲", "more than expected"
    if ratio <= 1 / AS_EXPECTED:
        return "▼", "less than expected"
    return "=", "about as expected"


def _what_if(prediction: Mapping[str, Any]) -> WhatIf | None:
    what_if = prediction.get("what_if")
    if not what_if:
        return None
    return WhatIf(
        tuple(f"{change['label']}: {change['before']} → {change['after']}" for change in what_if["changes"]),
        format_count(prediction["expected_stars"]),
        format_count(what_if["expected_stars"]),
        format_factor(what_if["factor"]),
        f"{format_count(what_if['interval_low'])} to {format_count(what_if['interval_high'])}",
    )


def _source(prediction: Mapping[str, Any]) -> str:
    day = prediction["fetched_at"] or "an unknown day"
    if prediction["source"] == "github":
        return f"Live from GitHub, {day}."
    return f"Data from {day}." if prediction["source"] == "bundle" else "Your values."


def _sentence(note: str) -> str:
    """Return a note as a sentence."""
    text = f"It {note}" if note.startswith(("is ", "was ", "has ")) else note[:1].upper() + note[1:]
    return text if text.endswith(".") else f"{text}."


def _out_of_range(row: Mapping[str, str]) -> str:
    known = f"training data: {row['low']} to {row['high']}" if row["low"] else "not in the training data"
    return f"{row['label']}: {row['value']} ({known})"


def _log(factor: float) -> float:
    """Return the logarithm of a factor that may be rounded to 0."""
    return math.log(max(factor, SMALLEST_FACTOR))


def _position(value: float, end: float) -> float:
    """Return the position on the logarithmic axis, from 0 to 1."""
    return math.log1p(value) / math.log1p(end)


@dataclass(frozen=True)
class Bar:
    """One step with its texts and its horizontal positions [%]."""

    label: str
    value: str
    factor: str
    kind: str
    """"raises", "lowers", or "total" for the first and the last bar."""
    left: str
    width: str
    begin: str
    end: str


def waterfall(prediction: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Return the bars of base, factors, other factors and expected stars; none without an explanation."""
    explanation = prediction.get("explanation")
    if explanation is None or not explanation["factors"]:
        return ()
    level = _log(explanation["baseline_stars"] + 1)
    steps = [(0.0, level)]
    for factor in (*(item["factor"] for item in explanation["factors"]), explanation["other_factors"]):
        steps.append((level, level + _log(factor)))
        level = steps[-1][1]
    steps.append((0.0, level))
    low, high = _axis_range(steps)

    def position(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    texts = [("Baseline: a typical repository", f"{_format_stars(explanation['baseline_stars'])} stars", "")]
    texts += [
        (item["label"].partition(";")[0], item["value"], format_factor(item["factor"]))
        for item in explanation["factors"]
    ]
    texts += [("Other features", "", format_factor(explanation["other_factors"]))]
    texts += [("Expected for this repository", f"{_format_stars(prediction['expected_stars'])} stars", "")]
    return tuple(
        _bar(text, position(begin), position(end), is_total=i in (0, len(steps) - 1))
        for i, (text, (begin, end)) in enumerate(zip(texts, steps, strict=True))
    )


def _axis_range(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    levels = [level for step in steps[1:-1] for level in step]
    low, high = min(levels), max(levels)
    margin = max(0.08 * (high - low), 0.15)  # small factors must look small, and totals start at the edge
    return low - margin, high + margin


def _bar(text: tuple[str, str, str], begin: float, end: float, *, is_total: bool) -> Bar:
    kind = "total" if is_total else "raises" if end >= begin else "lowers"
    left = 0.0 if is_total else min(begin, end)
    width = end if is_total else abs(end - begin)
    return Bar(*text, kind, f"{left:.2f}%", f"{max(width, 0.4):.2f}%", f"{begin:.2f}%", f"{end:.2f}%")


def _format_stars(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{round(value):,}"
