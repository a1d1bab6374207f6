"""The prediction with some fields changed: an association in the data, not advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from stargaze.errors import InvalidInputError, did_you_mean
from stargaze.features import schema
from stargaze.features.ingest.validate import GITHUB_START, shorten, validate_columns
from stargaze.features.licenses import license_key
from stargaze.serve.prediction.labels import UNKNOWN, field_label

EDITABLE_FIELDS = ("readme_length", "topic_count", "license", "latest_release_at")
"""The fields that a maintainer can change at once."""
NONE_WORDS = frozenset({"none", "no"})
"""No license, or no release yet."""
TODAY = "today"
KEYWORDS = {"license": NONE_WORDS, "latest_release_at": NONE_WORDS | {TODAY}}
CONTROL_KINDS = {"count": "number", "date": "date", "flag": "flag", "category": "choice", "text": "choice"}
"""The kind of a control for each kind of a field."""
Values = dict[str, Any]


def parse_what_if(what_if: Mapping[str, Any], now: datetime) -> Values:
    """Validate entered values and return them as numbers, texts and times; empty fields are left out.

    "none" stands for no license and for no release. "today" is resolved when the day of the figures is known.

    >>> from datetime import UTC
    >>> parse_what_if({"license": "MIT License", "topic_count": " 4"}, datetime(2026, 3, 1, tzinfo=UTC))
    {'topic_count': 4.0, 'license': 'mit'}
    """
    for name in what_if:
        if name not in EDITABLE_FIELDS:
            fields = ", ".join(EDITABLE_FIELDS)
            hint = did_you_mean(str(name), EDITABLE_FIELDS, f"editable fields: {fields}", cutoff=0.7)
            raise InvalidInputError(f"{shorten(name)} cannot be changed here, only {fields}", hint=hint)
    parsed, entered = Values(), Values()
    for name, value in what_if.items():
        text = value.strip() if isinstance(value, str) else value
        if text in ("", None):
            continue
        if str(text).lower() in KEYWORDS.get(name, ()):
            parsed[name] = TODAY if str(text).lower() == TODAY else None
        else:
            entered[name] = text
    parsed |= _parse_entered(entered, now) if entered else {}
    return {name: parsed[name] for name in EDITABLE_FIELDS if name in parsed}


def apply_what_if(frame: pd.DataFrame, values: Values, now: datetime) -> pd.DataFrame:
    """Return the rows with these values; "today" is the day of a row's figures, which is ``now`` for new ones.

    A release later than the figures raises InvalidInputError: the model was not trained on later data.
    """
    columns = {}
    for name, value in values.items():
        if name == "latest_release_at":
            columns[name] = _release_column(frame, value, now)
        else:
            dtype = schema.DTYPES[schema.FIELD_BY_NAME[name].kind]
            columns[name] = pd.Series([value] * len(frame), index=frame.index, dtype=dtype)
    return frame.assign(**columns)


def editable_values(record: Mapping[str, Any]) -> Values:
    """Return the present values of the editable fields, None if unknown."""
    released = record["latest_release_at"]
    values = {name: record[name] for name in EDITABLE_FIELDS}
    return values | {"latest_release_at": None if released is None else _day(released)}


def list_controls(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the fields that a what-if may change: ``field``, ``label``, ``kind``, ``unit``, ``value`` and ``options``."""
    values = editable_values(record)
    return [
        {
            "field": name,
            "label": field_label(schema.FIELD_BY_NAME[name]),
            "kind": CONTROL_KINDS[schema.FIELD_BY_NAME[name].kind],
            "unit": schema.FIELD_BY_NAME[name].unit,
            "value": values[name],
            "options": None,
        }
        for name in EDITABLE_FIELDS
    ]


def list_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the fields that differ, with both values as texts."""
    old, new = editable_values(before), editable_values(after)
    changed = [name for name in EDITABLE_FIELDS if old[name] != new[name]]
    labels = {name: field_label(schema.FIELD_BY_NAME[name]) for name in changed}
    values = {name: {"before": _format(old[name]), "after": _format(new[name])} for name in changed}
    return [{"field": name, "label": labels[name], **values[name]} for name in changed]


def _parse_entered(entered: Values, now: datetime) -> Values:
    """Validate the values with the checks of ``fetch``."""
    valid, invalid = validate_columns(pd.DataFrame([entered], dtype="object"), now, required=())
    if invalid:
        raise InvalidInputError(invalid[0][1], hint="correct the value and try again")
    parsed: Values = {name: valid[name].iloc[0] for name in entered}
    missing = next((name for name, value in parsed.items() if pd.isna(value)), None)
    if missing is not None:
        raise InvalidInputError(f"{missing} is {shorten(entered[missing])}: not a valid value", hint="leave it empty")
    released = parsed.get("latest_release_at")
    if released is not None and released < pd.Timestamp(GITHUB_START):
        began = f"before GitHub began ({GITHUB_START:%Y-%m-%d})"
        message = f"latest_release_at is {shorten(entered['latest_release_at'])}: {began}"
        raise InvalidInputError(message, hint="enter the day of a release")
    types: dict[str, Callable[[Any], Any]] = {"license": license_key, "latest_release_at": pd.Timestamp}
    return {name: types.get(name, float)(value) for name, value in parsed.items()}


def _release_column(frame: pd.DataFrame, value: Any, now: datetime) -> pd.Series:
    fetched = frame["fetched_at"].fillna(pd.Timestamp(now))
    if value is None:
        times = pd.Series(pd.NaT, index=frame.index, dtype=schema.DTYPES["date"])
    elif value == TODAY:
        times = fetched
    else:
        too_late = fetched.dt.normalize() < value.normalize()
        if too_late.any():
            last = _day(fetched[too_late].iloc[0])
            message = f"latest_release_at {_day(value)} is later than the figures ({last})"
            raise InvalidInputError(message, hint=f"enter a day up to {last}, or {TODAY}")
        before = frame["latest_release_at"]
        times = before.where(before.dt.normalize() == value.normalize(), value)  # an unchanged day keeps its hour
    return times.astype(schema.DTYPES["date"])  # type: ignore[call-overload, no-any-return]


def _day(time: pd.Timestamp) -> str:
    """Format the day; records hold years that Python's own dates do not support."""
    return f"{time.year:04d}-{time.month:02d}-{time.day:02d}"


def _format(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if isinstance(value, float) else str(value)
