"""From what a person or a program sends to a question, checked the same way for both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.catalog import CATALOG
from stargaze.features.ingest.user_input import FORM_FIELDS, parse_name, repositories_from_figures
from stargaze.features.schema import Field
from stargaze.serve.prediction.what_if import parse_what_if
from stargaze.serve.prediction_request import PredictionRequest

FIRST = ("full_name", "created_at", "language", "contributors", "commits", "releases", "forks", "subscribers")
"""What is asked at once; the other figures wait behind a fold, because nobody knows all of them by heart."""
TYPES = {"count": "number", "date": "date", "flag": "select"}
"""The kind of a field and the control that fits it; everything else is a line of text."""


def parse_request(
    names: list[str],
    figures: list[dict[str, Any]],
    *,
    most: int,
    now: datetime,
    what_if: Mapping[str, Any] | None = None,
    explain: bool = True,
) -> PredictionRequest:
    """Check a question before it is queued; that a name is a known one, the worker finds out.

    Raises
    ------
    BadDataError
        If nothing is asked, too much is asked, a name cannot be one, a figure cannot be true or a change is none.
    """
    if not names and not figures:
        raise BadDataError("nothing to predict yet", hint="name a repository, as owner/name or by its GitHub address")
    if len(names) + len(figures) > most:
        raise BadDataError(
            f"{len(names) + len(figures)} repositories are too many at once", hint=f"ask for at most {most} at a time"
        )
    parsed = {name.casefold(): name for name in map(parse_name, names)}
    if figures:
        repositories_from_figures(figures, now)
    if what_if:
        parse_what_if(what_if, now)
    return PredictionRequest(tuple(parsed.values()), tuple(figures), dict(what_if or {}), explain)


def part_of(question: PredictionRequest, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the part of a question that is about one repository: its typed figures, or its name, which may be a new one."""
    figures = [dict(row) for row in question.figures if row.get("full_name") == name]
    return ([], figures) if figures else ([name], [])


def names_in(text: str) -> list[str]:
    """Split what was typed: one name a line; commas and blanks do as well."""
    return [part for part in re.split(r"[\s,]+", text) if part]


def figures_in(form: Mapping[str, str]) -> dict[str, str]:
    """Take the figures that were filled in; an empty control means "not known"."""
    names = [field.name for field in FORM_FIELDS]
    return {name: form[name].strip() for name in names if form.get(name, "").strip()}


def looked_at(features: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the fields that a bundle's features are made of.

    Parameters
    ----------
    features : mapping
        Policy → names of its features, as the bundle tells them.

    Returns
    -------
    frozenset of str
        Names of fields; one that no policy uses changes no estimate.

    Examples
    --------
    >>> sorted(looked_at({"all": ["forks", "fork_rate"]}))
    ['created_at', 'fetched_at', 'forks']
    """
    return frozenset(field for names in features.values() for name in names for field in CATALOG[name].source)


def first_fields(used: frozenset[str]) -> list[Field]:
    """Return the fields that are asked at once, in the order of their importance; the name is always asked."""
    fields = {field.name: field for field in FORM_FIELDS}
    return [fields[name] for name in FIRST if name in used or name == "full_name"]


def other_fields(used: frozenset[str]) -> list[Field]:
    """Return the fields behind the fold."""
    return [field for field in FORM_FIELDS if field.name not in FIRST and field.name in used]


def help_of(field: Field) -> str:
    """Return the line below the control; nothing where it would only repeat the label."""
    unit = f" [{field.unit}]" if field.unit not in ("", "UTC") else ""
    return "" if field.meaning in (field.name, "owner/name") else field.meaning + unit


def control_of(field: Field) -> str:
    """Return the type of control for a field."""
    return TYPES.get(field.kind, "text")
