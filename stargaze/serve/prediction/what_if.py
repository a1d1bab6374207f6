"""The prediction with some fields changed: an association in the data, not advice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from stargaze.errors import InvalidInputError, did_you_mean
from stargaze.features import schema
from stargaze.features.ingest.contradictions import find_contradictions
from stargaze.features.ingest.derive import OWNER_TYPES
from stargaze.features.ingest.user_input import FIELDS_HINT, FORM_FIELDS, InvalidFieldError, expand_counts
from stargaze.features.ingest.validate import GITHUB_START, MAX_CATEGORY_LENGTH, shorten, validate_columns
from stargaze.features.licenses import license_key
from stargaze.serve.prediction.labels import UNKNOWN, field_label
from stargaze.serve.prediction.linked_fields import recompute_linked_fields

WHAT_IF_FIELDS = tuple(field.name for field in FORM_FIELDS if field.name != "full_name")
"""The fields that a what-if may change: those that can be entered, except the name."""
NONE_WORDS = frozenset({"none", "no"})
NONE, TODAY = "none", "today"
OPTIONAL_FIELDS = frozenset({"license", "language", "first_release_at", "latest_release_at"})
"""Fields that a repository may lack: "none" stands for no license, no language and no release yet."""
OLDER_THAN_GITHUB = frozenset({"first_commit_at"})
Values = dict[str, Any]


def what_if_words(name: str) -> frozenset[str]:
    """Return the words that a field accepts beside its values.

    >>> sorted(what_if_words("latest_release_at")), sorted(what_if_words("forks"))
    (['no', 'none', 'today'], [])
    """
    words = NONE_WORDS if name in OPTIONAL_FIELDS else frozenset()
    return words | {TODAY} if schema.FIELD_BY_NAME[name].kind == "date" else words


def parse_what_if(what_if: Mapping[str, Any], now: datetime) -> Values:
    """Validate entered values and return them in the types of their fields; empty ones are left out.

    "none" stands for no license, language or release. "today" is resolved when the day of the values is known.

    >>> from datetime import UTC
    >>> parse_what_if({"license": "MIT License", "topic_count": " 4"}, datetime(2026, 3, 1, tzinfo=UTC))
    {'license': 'mit', 'topic_count': 4.0}
    """
    for name in what_if:
        if name not in WHAT_IF_FIELDS:
            hint = did_you_mean(str(name), WHAT_IF_FIELDS, FIELDS_HINT, cutoff=0.7)
            raise InvalidInputError(f"{shorten(name)} is not a field that a what-if can change", hint=hint)
    parsed, entered = Values(), Values()
    for name, value in expand_counts(what_if).items():
        text = value.strip() if isinstance(value, str) and len(value) <= MAX_CATEGORY_LENGTH else value
        if text in ("", None):
            continue
        if str(text).lower() in what_if_words(name):
            parsed[name] = TODAY if str(text).lower() == TODAY else None
        else:
            entered[name] = text
    parsed |= _parse_entered(entered, now) if entered else {}
    return {name: parsed[name] for name in WHAT_IF_FIELDS if name in parsed}


def apply_what_if(frame: pd.DataFrame, values: Values, now: datetime) -> pd.DataFrame:
    """Return the rows with these values, and with the fields that follow from them.

    "today" is the day of a row's values, which is ``now`` for new ones. An event later than that day raises InvalidInputError:
    the model was not trained on later data.
    """
    fetched = _fetched_column(frame, values, now)
    columns = {
        name: _date_column(frame, name, value, fetched)
        if schema.FIELD_BY_NAME[name].kind == "date"
        else _column(frame, name, value)
        for name, value in values.items()
    }
    changed = frame.assign(**columns)
    changed = recompute_linked_fields(frame, changed, values)
    _check_contradictions(changed.assign(fetched_at=fetched), values)
    return changed


def list_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the fields that differ, with both values as texts."""
    changed = [name for name in WHAT_IF_FIELDS if before[name] != after[name]]
    return [
        {
            "field": name,
            "label": field_label(schema.FIELD_BY_NAME[name]),
            "before": _format(name, before[name], UNKNOWN),
            "after": _format(name, after[name], NONE),
        }
        for name in changed
    ]


def adds_information(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether a field that was unknown has a value."""
    return any(before[name] is None and after[name] is not None for name in WHAT_IF_FIELDS)


def format_day(time: pd.Timestamp) -> str:
    """Format the day; records hold years that Python's own dates do not support."""
    return f"{time.year:04d}-{time.month:02d}-{time.day:02d}"


def _parse_entered(entered: Values, now: datetime) -> Values:
    """Validate the values with the checks of ``fetch``."""
    valid, invalid = validate_columns(pd.DataFrame([entered], dtype="object"), now, required=())
    if invalid:
        raise InvalidInputError(invalid[0][1], hint="correct the value and try again")
    parsed: Values = {name: valid[name].iloc[0] for name in entered}
    lists = (list, np.ndarray)
    missing = next((name for name, value in parsed.items() if not isinstance(value, lists) and pd.isna(value)), None)
    if missing is not None:
        raise InvalidInputError(f"{missing} is {shorten(entered[missing])}: not a valid value", hint="leave it empty")
    for name, value in parsed.items():
        is_date = schema.FIELD_BY_NAME[name].kind == "date" and name not in OLDER_THAN_GITHUB
        if is_date and value < pd.Timestamp(GITHUB_START):
            began = f"before GitHub began ({GITHUB_START:%Y-%m-%d})"
            raise InvalidInputError(f"{name} is {shorten(entered[name])}: {began}", hint="enter a later day")
    return {name: _convert(name, value) for name, value in parsed.items()}


def _convert(name: str, value: Any) -> Any:
    """Return a valid value in the type of its field."""
    if name == "license":
        return license_key(value)
    if name == "owner_type":
        return OWNER_TYPES.get(str(value).lower(), str(value))
    types: dict[str, Callable[[Any], Any]] = {"count": float, "flag": float, "date": pd.Timestamp, "list": list}
    return types.get(schema.FIELD_BY_NAME[name].kind, str)(value)


def _column(frame: pd.DataFrame, name: str, value: Any) -> pd.Series:
    return pd.Series([value] * len(frame), index=frame.index, dtype=schema.DTYPES[schema.FIELD_BY_NAME[name].kind])


def _fetched_column(frame: pd.DataFrame, values: Values, now: datetime) -> pd.Series:
    """Return the time of each row's values."""
    fetched, value = frame["fetched_at"].fillna(pd.Timestamp(now).floor("s")), values.get("fetched_at")
    if value is None or value == TODAY:
        return fetched
    return fetched.where(fetched.dt.normalize() == value.normalize(), value)


def _date_column(frame: pd.DataFrame, name: str, value: Any, fetched: pd.Series) -> pd.Series:
    if name == "fetched_at" or value == TODAY:
        return fetched
    if value is None:
        return _column(frame, name, pd.NaT)
    before = frame[name]
    same_day = before.dt.normalize() == value.normalize()
    return before.where(same_day, value).astype(before.dtype)  # an unchanged day keeps its hour


def _check_contradictions(frame: pd.DataFrame, changed: Collection[str]) -> None:
    """Raise InvalidFieldError if changed values contradict each other or the day of the values; other fields follow them."""
    for item in find_contradictions(frame, changed):
        if "fetched_at" not in item.fields:
            raise InvalidFieldError(item.problem, hint="correct one of them", fields=item.fields)
        last = format_day(frame["fetched_at"].iloc[item.row])
        hint = f"enter a day up to {last}, or {TODAY}"
        raise InvalidFieldError(f"{item.problem} ({last})", hint=hint, fields=item.fields)


def _format(name: str, value: Any, missing: str) -> str:
    kind = schema.FIELD_BY_NAME[name].kind
    if value is None:
        return missing
    if kind == "date":
        return format_day(value)
    if kind == "flag":
        return "yes" if value else "no"
    if kind == "list":
        return ", ".join(map(str, value)) or NONE
    return f"{value:,.0f}" if isinstance(value, float) else str(value)
