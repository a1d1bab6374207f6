"""Checks of JSON values: each takes a value and its place, and raises ValueError with the place if the value is not valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any, str], None]
MAX_TEXT = 400
"""Length of a text in characters."""


def text(value: Any, place: str) -> None:
    """Accept a short text that can be encoded and printed on one line."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"{place} is not a short text")


def word(value: Any, place: str) -> None:
    """Accept any text that can be encoded: a value of the data, such as the name of a branch."""
    if not isinstance(value, str) or len(value) > 25 * MAX_TEXT:
        raise ValueError(f"{place} is not a text")
    value.encode()


def date(value: Any, place: str) -> None:
    """Accept a date with a time, as ISO 8601."""
    text(value, place)
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{place} is not a date") from error


def number(low: float = -1e12, high: float = 1e12) -> Check:
    """Return a check that accepts a number in a range."""

    def check(value: Any, place: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{place} is not a number from {low:g} to {high:g}")

    return check


def integer(low: int = 0, high: int = 2**53) -> Check:
    """Return a check that accepts a whole number in a range."""

    def check(value: Any, place: str) -> None:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{place} is not a whole number from {low} to {high}")

    return check


def plain(value: Any, place: str) -> None:
    """Accept a text, a number, a truth value, null, or a list of these: the values of parameters and records."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            plain(item, f"{place}[{i}]")
    elif isinstance(value, str):
        value.encode()  # not a lone surrogate, which no answer could contain
    elif not (value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
        raise ValueError(f"{place} is not a plain value")


def choice(*values: str) -> Check:
    """Return a check that accepts one of these texts."""

    def check(value: Any, place: str) -> None:
        if value not in values:
            raise ValueError(f"{place} is not one of {', '.join(values)}")

    return check


def nullable(inner: Check) -> Check:
    """Return a check that also accepts null."""
    return lambda value, place: None if value is None else inner(value, place)


def array(item: Check, low: int = 0, high: int = 1000) -> Check:
    """Return a check that accepts a list whose length is in a range."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise ValueError(f"{place} is not a list of {low} to {high} values")
        for i, each in enumerate(value):
            item(each, f"{place}[{i}]")

    return check


def distinct(item: Check, low: int = 0, high: int = 1000) -> Check:
    """Return a check that accepts a list of different values."""
    whole = array(item, low, high)

    def check(value: Any, place: str) -> None:
        whole(value, place)
        if len(set(value)) != len(value):
            raise ValueError(f"{place} contains a value twice")

    return check


def mapping(item: Check, keys: Check = text, low: int = 0, high: int = 1000) -> Check:
    """Return a check that accepts an object with any keys of one kind."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict) or not low <= len(value) <= high:
            raise ValueError(f"{place} is not an object of {low} to {high} entries")
        for name, each in value.items():
            keys(name, f"a key of {place}")
            item(each, f"{place}.{name}")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Return a check that accepts an object with these keys; others are ignored."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{place or 'it'} is not an object")  # noqa: TRY004 - as every other check
        prefix = f"{place}." if place else ""
        for name, item in {**required, **(optional or {})}.items():
            if name in value:
                item(value[name], prefix + name)
            elif name in required:
                raise ValueError(f"{prefix}{name} is missing")

    return check
