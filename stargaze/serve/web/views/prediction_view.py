"""A prediction as the page shows it: every text, and the position of every mark on the axis of stars."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.bundle.manifest import MALFORMED
from stargaze.formatting import format_count, format_percent, format_stars
from stargaze.serve.prediction.sentence import SET_NOTES, note_sentence, prediction_sentence
from stargaze.serve.prediction_request import PredictionJob, visitor_error
from stargaze.serve.web.views.bundle_view import decade_label, is_coverage_quoted
from stargaze.serve.web.views.explanation_view import ExplanationView, explanation_views, format_interval
from stargaze.serve.web.views.history_chart import HistoryChart, history_chart
from stargaze.serve.web.views.star_chart import MIN_DAYS, Tick, log_position, log_ticks
from stargaze.serve.web.views.what_if_view import ControlView, WhatIf, list_warnings, what_if_controls, what_if_view

MAX_MISSING = 8
"""Missing fields that are named; the most important ones are first."""
EDGES = {"interval": 0.14, "count": 0.22}
"""A label nearer to an edge of the chart than this share is aligned with its mark instead of centered."""


@dataclass(frozen=True)
class Mark:
    """A label at a position of the axis, and how it is aligned."""

    label: str
    at: str
    anchor: str


@dataclass(frozen=True)
class Scale:
    """The chart of one prediction: its marks, the interval, and the ticks of the axis."""

    description: str
    expected: Mark | None
    """None if the data are not enough for a useful estimate."""
    actual: Mark | None
    interval: Mark
    left: str
    width: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class PredictionView:
    """One repository of a result, as texts and positions."""

    rank: int
    name: str
    link: str | None
    sentence: str
    expected: str
    interval: str
    actual: str | None
    scale: Scale
    facts: tuple[str, ...]
    """Interval with its measured coverage, percentile, source and date."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """Values out of range of the training data, and whether the repository is unlike the training ones."""
    set_text: str
    """Whether the model was trained on the repository, if it was among its data."""
    enough_data: bool
    missing: tuple[str, ...]
    explanations: tuple[ExplanationView, ...]
    similar: tuple[tuple[str, str, str], ...]
    """Name, stars, similarity."""
    controls: tuple[ControlView, ...]
    what_if: WhatIf | None
    chart: HistoryChart | None
    history_note: str

    @property
    def owner_and_name(self) -> tuple[str, str]:
        """Return owner and name of the repository."""
        owner, _, name = self.name.partition("/")
        return owner, name


def readable_job(job: PredictionJob) -> PredictionJob:
    """Return a job as a visitor may read it.

    If its answer cannot be shown, because another version or somebody else wrote it, it is a failed one.
    """
    if not is_readable(job):
        message = "the stored result cannot be read"
        error = {"code": "unreadable_result", "message": message, "hint": "submit the request again"}
        return dataclasses.replace(job, state="failed", answer=None, error=error)
    return dataclasses.replace(job, error=visitor_error(job.error, job.request_id)) if job.error else job


def is_readable(job: PredictionJob) -> bool:
    """Return whether the answer of a job, if it has one, can be shown."""
    try:
        if job.answer is not None:
            prediction_views(job.answer["predictions"])
            _ = [(error["name"], error["message"], error["hint"]) for error in job.answer["errors"]]
    except MALFORMED:
        return False
    return True


def prediction_views(
    predictions: Sequence[Mapping[str, Any]],
    entered: Mapping[str, Any] | None = None,
    errors: Mapping[str, str] | None = None,
) -> list[PredictionView]:
    """Return the views of ranked predictions on one axis; ``entered`` and ``errors`` are those of the what-if's form."""
    largest = max(max(row["interval_high"], row["expected_stars"], row["actual_stars"] or 0) for row in predictions)
    end = 1.15 * float(max(10.0, largest))  # so that no mark is at the edge
    return [_view(prediction, end, entered or {}, errors or {}) for prediction in predictions]


def _view(
    prediction: Mapping[str, Any], end: float, entered: Mapping[str, Any], errors: Mapping[str, str]
) -> PredictionView:
    is_entered = prediction["source"] == "entered"
    actual = prediction["actual_stars"]
    return PredictionView(
        rank=prediction["rank"],
        name=prediction["full_name"],
        link=None if is_entered else f"https://github.com/{prediction['full_name']}",
        sentence=prediction_sentence(prediction),
        expected=format_stars(prediction["expected_stars"]),
        interval=format_interval(prediction),
        actual=None if actual is None else format_count(actual),
        scale=_scale(prediction, end),
        facts=(
            _coverage_text(prediction),
            percentile_text(prediction["percentile"]) if prediction["enough_data"] else "",
            _source(prediction),
        ),
        notes=tuple(map(note_sentence, prediction["notes"])),
        warnings=list_warnings(prediction),
        set_text=note_sentence(SET_NOTES.get(str(prediction.get("set")), "")),
        enough_data=bool(prediction["enough_data"]),
        missing=_missing([str(field["label"]) for field in prediction["missing_fields"]]),
        explanations=explanation_views(prediction),
        similar=tuple(map(_similar, prediction["similar"])),
        controls=what_if_controls(prediction, entered, errors),
        what_if=what_if_view(prediction),
        chart=history_chart(prediction),
        history_note=_history_note(prediction),
    )


def _scale(prediction: Mapping[str, Any], end: float) -> Scale:
    low, high = (log_position(prediction[name], end) for name in ("interval_low", "interval_high"))
    expected, actual = prediction["expected_stars"], prediction["actual_stars"]
    is_useful = bool(prediction["enough_data"])
    texts = [f"{format_stars(expected)} expected"] if is_useful else []
    texts += [f"interval {format_interval(prediction)}"]
    texts += [] if actual is None else [f"{format_count(actual)} actual"]
    return Scale(
        f"{prediction['full_name']} on a logarithmic scale: {', '.join(texts)}",
        _mark(f"{format_count(expected)} expected", log_position(expected, end)) if is_useful else None,
        None if actual is None else _mark(f"{format_count(actual)} actual", log_position(actual, end)),
        _mark(format_interval(prediction), (low + high) / 2, EDGES["interval"]),
        format_percent(low, 2),
        format_percent(high - low, 2),
        log_ticks(end),
    )


def _mark(label: str, position: float, edge: float = EDGES["count"]) -> Mark:
    anchor = "begin" if position < edge else "end" if position > 1 - edge else ""
    return Mark(label, format_percent(position, 2), anchor)


def _coverage_text(prediction: Mapping[str, Any]) -> str:
    text = f"{format_percent(prediction['coverage'])} prediction interval: {format_interval(prediction)} stars."
    decade = prediction["decade_coverage"]
    if not decade or not prediction["enough_data"]:  # without an estimate, no text about estimates
        return text
    estimates = "below 1 star" if decade["decade"] == "0" else f"of {decade_label(decade['decade'])} stars"
    start = f"{text} For estimates {estimates}"
    if not is_coverage_quoted(decade):
        return f"{start} too few repositories were held out to measure how often it contains the actual count."
    share = f"{format_percent(decade['coverage'])} of {format_count(decade['n'])} held-out repositories"
    return f"{start} it contained the actual count of {share}."


def percentile_text(percentile: float) -> str:
    """Return the place of an estimate among the training repositories.

    >>> percentile_text(99.72), percentile_text(34.5), percentile_text(100.0), percentile_text(0.0)
    ('Top 0.3% of training repositories.', 'More than 34% of training repositories.', 'More than all training repositories.', '')
    """
    above = 100 - percentile
    if above <= 0:
        return "More than all training repositories."
    if above < 50:
        digits = 1 if above < 9.95 else 0
        return f"Top {max(above, 0.1):.{digits}f}%".replace(".0%", "%") + " of training repositories."
    return f"More than {percentile:.0f}% of training repositories." if percentile >= 0.5 else ""


def _missing(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the most important missing fields, and how many more there are."""
    others = len(labels) - MAX_MISSING
    return (*labels[:MAX_MISSING], *([f"and {others} more"] if others > 0 else []))


def _similar(row: Mapping[str, Any]) -> tuple[str, str, str]:
    stars = row["actual_stars"]
    return str(row["full_name"]), "–" if stars is None else format_count(stars), format_percent(row["similarity"])


def _source(prediction: Mapping[str, Any]) -> str:
    day = prediction["fetched_at"] or "an unknown day"
    texts = {"github": f"Live from GitHub, {day}.", "bundle": f"Data from {day}.", "entered": f"Your values, {day}."}
    return f"{texts[prediction['source']]} The estimate is for this day."


def _history_note(prediction: Mapping[str, Any]) -> str:
    """Return the note of the answer; without one, why a history has no chart."""
    days = len(prediction["history"]["dates"]) if prediction.get("history") else MIN_DAYS
    note = prediction["history_note"] or ("" if days >= MIN_DAYS else "the star history is too short for a chart")
    return note_sentence(note) if note else ""
