"""How features and their values are called before people."""

from __future__ import annotations

import math

from stargaze.features.catalog import CATALOG
from stargaze.features.encoding.encoder import LOG_STARS
from stargaze.features.schema import Field

UNKNOWN = "not known"


def label_of(name: str) -> str:
    """Return what a feature is; the catalogue's note on the source, after a semicolon, is left out.

    Examples
    --------
    >>> label_of("updated_after_push")
    'last change of the record after the last push'
    """
    return CATALOG[name].meaning.partition(";")[0]


def value_of(name: str, number: float) -> str:
    """Return the value of a feature that is no category, with its unit where it has one that is read aloud.

    Examples
    --------
    >>> value_of("size_kb", 1234.0), value_of("forks", float("nan")), value_of("has_wiki", 1.0)
    ('1,234 kB', 'not known', 'yes')
    """
    unit = CATALOG[name].unit
    if math.isnan(number):
        return UNKNOWN
    if unit == LOG_STARS:
        return f"{max(math.expm1(number), 0.0):,.0f} stars"
    if unit == "flag":
        return "yes" if number else "no"
    return f"{number:,.0f} {unit}" if unit in ("days", "characters", "kB") else f"{number:,.4g}"


def field_label(field: Field) -> str:
    """Return what stands beside the control: ``has_homepage`` is a homepage, ``created_at`` is created.

    Examples
    --------
    >>> from stargaze.features.schema import FIELD_BY_NAME
    >>> field_label(FIELD_BY_NAME["created_at"]), field_label(FIELD_BY_NAME["open_issues"])
    ('Created', 'Open issues')
    """
    bare = field.name.removeprefix("full_").removeprefix("has_").removesuffix("_at").removesuffix("_kb")
    return bare.replace("_", " ").capitalize()
