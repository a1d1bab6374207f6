"""Texts for people: labels of features and fields, and values with units."""

from __future__ import annotations

import math

from stargaze.bundle.prediction_intervals import MAX_LOG_STARS
from stargaze.features.encoding.encoder import LOG_STARS
from stargaze.features.matrix import CATALOG
from stargaze.features.schema import Field

UNKNOWN = "unknown"
UNNAMED = "Custom repository"
"""Name of a repository that was entered without one."""
FIELD_LABELS = {
    "pushed_at": "Last push",
    "updated_at": "Last update",
    "fetched_at": "Values as of",
    "subscribers": "Watchers (subscribers)",
    "readme_length": "README length",
    "code_bytes": "Code size",
}


def feature_label(name: str) -> str:
    """Return the meaning of a feature without the note on its source, which follows a semicolon.

    >>> feature_label("updated_after_push")
    'time from last push to last change of the record'
    """
    return CATALOG[name].meaning.partition(";")[0]


def format_value(name: str, number: float) -> str:
    """Return the value of a numeric feature, with some units.

    >>> format_value("size_kb", 1234.0), format_value("forks", float("nan")), format_value("has_wiki", 1.0)
    ('1,234 kB', 'unknown', 'yes')
    """
    unit = CATALOG[name].unit
    if math.isnan(number):
        return UNKNOWN
    if unit == LOG_STARS:
        return f"{max(math.expm1(min(number, MAX_LOG_STARS)), 0.0):,.0f} stars"
    if unit == "flag":
        return "yes" if number else "no"
    return f"{number:,.0f} {unit}" if unit in ("days", "characters", "kB") else f"{number:,.4g}"


def field_label(field: Field) -> str:
    """Return the label of a form field: ``has_homepage`` is "Homepage", ``created_at`` "Created".

    >>> from stargaze.features.schema import FIELD_BY_NAME
    >>> field_label(FIELD_BY_NAME["created_at"]), field_label(FIELD_BY_NAME["open_issues"])
    ('Created', 'Open issues')
    """
    if field.name in FIELD_LABELS:
        return FIELD_LABELS[field.name]
    bare = field.name.removeprefix("full_").removeprefix("has_").removesuffix("_at").removesuffix("_kb")
    return bare.replace("_", " ").capitalize()
