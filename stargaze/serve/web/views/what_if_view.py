"""The what-if of a repository as form controls: present and entered values, options, and why a value is invalid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stargaze.errors import StargazeError
from stargaze.formatting import format_count, format_factor, format_stars
from stargaze.serve.prediction.labels import label_fields
from stargaze.serve.prediction.sentence import note_sentence
from stargaze.serve.prediction.what_if import parse_what_if
from stargaze.serve.web.views.explanation_view import format_interval

NO_EFFECT = format_factor(1.0)
FLAG_OPTIONS = (("1", "yes"), ("0", "no"))


@dataclass(frozen=True)
class ControlView:
    """One control: ``value`` is shown, ``original`` is the present value of the repository."""

    field: str
    label: str
    kind: str
    unit: str
    original: str
    value: str
    options: tuple[tuple[str, str], ...]
    error: str


@dataclass(frozen=True)
class WhatIf:
    """The estimate with some values changed."""

    before: str
    after: str
    factor: str
    interval: str
    changes: tuple[str, ...]
    outside: str = ""
    """Changed values that are outside of the training data."""
    notes: str = ""

    @property
    def has_effect(self) -> bool:
        """Whether the numbers shown differ."""
        return self.after.split(" ")[0] != self.before or self.factor != NO_EFFECT


def what_if_controls(
    prediction: Mapping[str, Any], entered: Mapping[str, Any], errors: Mapping[str, str]
) -> tuple[ControlView, ...]:
    """Return the controls; ``entered`` has the values of the request, and ``errors`` why some of them are invalid."""
    return tuple(
        _control(item, entered.get(item["field"]), errors.get(item["field"], ""))
        for item in prediction.get("controls") or ()
    )


def what_if_errors(what_if: Mapping[str, Any], now: datetime) -> dict[str, str]:
    """Return the message for each value that is invalid alone."""
    errors = {}
    for name, value in what_if.items():
        try:
            parse_what_if({name: value}, now)
        except StargazeError as error:
            message = label_fields(error.message.removeprefix(f"{name} is "))
            errors[name] = "; ".join(filter(None, (message, error.hint)))
    return errors


def what_if_view(prediction: Mapping[str, Any]) -> WhatIf | None:
    """Return the what-if of a prediction, None if none was requested."""
    what_if = prediction.get("what_if")
    if not what_if:
        return None
    return WhatIf(
        format_count(prediction["expected_stars"]),
        format_stars(what_if["expected_stars"]),
        format_factor(what_if["factor"]),
        format_interval(what_if),
        tuple(f"{change['label']}: {change['before']} → {change['after']}" for change in what_if["changes"]),
        "; ".join(list_warnings(what_if, prediction)),
        " ".join(map(note_sentence, what_if.get("notes", ()))),
    )


def list_warnings(values: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return the warnings about a prediction or a what-if; of a what-if only what is new."""
    unlike = values.get("unlike_training")  # earlier versions stored neither
    is_new = unlike and not (before or {}).get("unlike_training")
    outside = map(format_outside, values.get("out_of_range", ()))
    return (*([str(unlike["text"])] if unlike and is_new else []), *outside)


def format_outside(row: Mapping[str, str]) -> str:
    """Return a value outside of the training data, with the range of the training data."""
    known = f"training data: {row['low']} to {row['high']}" if row["low"] else "not in the training data"
    return f"{row['label']}: {row['value']} ({known})"


def _control(item: Mapping[str, Any], entered: Any, error: str) -> ControlView:
    original = _text(item["value"], item["kind"])
    value = original if entered is None or entered == "" else _text(entered, item["kind"])
    return ControlView(
        field=str(item["field"]),
        label=str(item["label"]),
        kind=str(item["kind"]),
        unit="" if item["unit"] in (None, "UTC") else str(item["unit"]),
        original=original,
        value=value,
        options=_options(item, original, value),
        error=error,
    )


def _options(item: Mapping[str, Any], *present: str) -> tuple[tuple[str, str], ...]:
    """Return the options of a select element with the present values among them; none for other controls."""
    if item["kind"] == "flag":
        options = dict(FLAG_OPTIONS)
    elif item.get("options"):
        options = {str(option): str(option) for option in item["options"]}
    else:
        return ()
    added = {value: value for value in present if value and value not in options}
    unknown = {} if present[0] else {"": "unknown"}
    return tuple((unknown | options | added).items())


def _text(value: Any, kind: str) -> str:
    """Return a value as the control shows it: flags as 1 and 0, whole numbers without decimals."""
    if value is None:
        return ""
    if kind == "flag" and str(value).strip().lower() in ("true", "yes", "1", "1.0"):
        return "1"
    if kind == "flag" and str(value).strip().lower() in ("false", "no", "0", "0.0"):
        return "0"
    return f"{value:g}" if isinstance(value, float) and not value.is_integer() else _whole(value)


def _whole(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)
