"""What the estimate would be if a maintainer had done one thing otherwise: an association that the model saw, not advice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from stargaze.errors import BadDataError, did_you_mean
from stargaze.features import schema
from stargaze.features.ingest.validate import GITHUB_START, shorten, validate_columns
from stargaze.features.licenses import license_key
from stargaze.serve.prediction.labels import field_label

LEVERS = ("readme_length", "topic_count", "license", "latest_release_at")
"""What a maintainer can change at once."""
NONE = frozenset({"none", "no"})
"""No licence, or no release yet."""
TODAY = "today"
Values = dict[str, Any]


def read(changes: Mapping[str, Any], now: datetime) -> Values:
    """Check what was typed and return it as numbers, texts and moments; a field that was left empty is not changed.

    "none" stands for no licence and for no release; "today" stays a word until it is known which day the figures are of.

    Raises
    ------
    BadDataError
        If a field is no lever, or its value cannot be true.

    Examples
    --------
    >>> from datetime import UTC
    >>> read({"license": "MIT License", "topic_count": " 4"}, datetime(2026, 3, 1, tzinfo=UTC))
    {'topic_count': 4.0, 'license': 'mit'}
    """
    for name in changes:
        if name not in LEVERS:
            hint = did_you_mean(str(name), LEVERS, "what can be changed: " + ", ".join(LEVERS), likeness=0.7)
            raise BadDataError(f"{shorten(name)} cannot be changed here, only {', '.join(LEVERS)}", hint=hint)
    typed = {name: _text(changes[name]) for name in LEVERS if name in changes}
    typed = {name: value for name, value in typed.items() if value not in ("", None)}
    words = {name: value for name, value in typed.items() if str(value).lower() in _WORDS.get(name, NONE)}
    found = _checked({name: value for name, value in typed.items() if name not in words}, now)
    found |= {name: TODAY if str(value).lower() == TODAY else None for name, value in words.items()}
    return {name: found[name] for name in LEVERS if name in found}


def changed(frame: pd.DataFrame, values: Values, now: datetime) -> pd.DataFrame:
    """Return the rows as they would be; "today" is the day of a row's figures, which is now where they were just taken.

    Raises
    ------
    BadDataError
        If a release would lie after the day of the figures: the model knows nothing of a future.
    """
    columns = {}
    for name, value in values.items():
        if name == "latest_release_at":
            columns[name] = _released(frame, value, now)
        else:
            dtype = schema.DTYPES[schema.FIELD_BY_NAME[name].kind]
            columns[name] = pd.Series([value] * len(frame), index=frame.index, dtype=dtype)
    return frame.assign(**columns)


def levers(record: Mapping[str, Any]) -> Values:
    """Return the present values of one repository, None where it is not known."""
    moment = record["latest_release_at"]
    return {name: record[name] for name in LEVERS} | {"latest_release_at": None if moment is None else _day(moment)}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name what is otherwise, as texts for people."""
    old, new = levers(before), levers(after)
    return [
        {
            "field": name,
            "label": field_label(schema.FIELD_BY_NAME[name]),
            "before": _said(old[name]),
            "after": _said(new[name]),
        }
        for name in LEVERS
        if old[name] != new[name]
    ]


_WORDS = {
    "license": NONE,
    "latest_release_at": NONE | {TODAY},
    "readme_length": frozenset[str](),
    "topic_count": frozenset[str](),
}


def _text(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _checked(typed: Values, now: datetime) -> Values:
    """Hold the values against the same checks as a fetch."""
    if not typed:
        return {}
    frame = pd.DataFrame([typed], dtype="object")
    good, bad = validate_columns(frame, now, need=())
    if bad:
        raise BadDataError(bad[0][1], hint="put it right and ask again")
    found: Values = {name: good[name].iloc[0] for name in typed}
    absent = next((name for name, value in found.items() if pd.isna(value)), None)
    if absent is not None:
        raise BadDataError(f"{absent} is {shorten(typed[absent])}: nothing that it can be", hint="leave it empty")
    if "latest_release_at" in found and found["latest_release_at"] < pd.Timestamp(GITHUB_START):
        day = shorten(typed["latest_release_at"])
        raise BadDataError(
            f"latest_release_at is {day}: before GitHub began ({GITHUB_START:%Y-%m-%d})",
            hint="write the day of a release",
        )
    return {name: _READ.get(name, float)(value) for name, value in found.items()}


_READ: dict[str, Callable[[Any], Any]] = {"license": license_key, "latest_release_at": pd.Timestamp}


def _released(frame: pd.DataFrame, value: Any, now: datetime) -> pd.Series:
    day = frame["fetched_at"].fillna(pd.Timestamp(now))
    if value is None:
        moments = pd.Series(pd.NaT, index=frame.index)
    elif value == TODAY:
        moments = day
    else:
        late = day.dt.normalize() < value.normalize()
        if late.any():
            first = _day(day[late].iloc[0])
            message = f"latest_release_at {_day(value)} lies after the day of the figures ({first})"
            raise BadDataError(message, hint=f"write a day up to {first}, or {TODAY}")
        before = frame["latest_release_at"]
        moments = before.where(before.dt.normalize() == value.normalize(), value)  # a day that stays keeps its hour
    return moments.astype(schema.DTYPES["date"])  # type: ignore[call-overload, no-any-return]


def _day(moment: pd.Timestamp) -> str:
    """Write the day; records hold years that Python's own dates do not."""
    return f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}"


def _said(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:,.0f}" if isinstance(value, float) else str(value)
