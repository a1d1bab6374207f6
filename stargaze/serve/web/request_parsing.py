"""Parse and validate prediction requests, in one place for forms and API; and describe the fields of the form."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.ingest.user_input import FORM_FIELDS, parse_name, repositories_from_figures
from stargaze.features.matrix import CATALOG
from stargaze.features.schema import Field
from stargaze.serve.prediction.what_if import parse_what_if
from stargaze.serve.prediction_request import PredictionRequest

MAIN_FIELDS = ("full_name", "created_at", "language", "contributors", "commits", "releases", "forks", "subscribers")
"""Always visible, most important first; the other fields are folded away."""
CONTROL_TYPES = {"count": "number", "date": "date", "flag": "select"}
"""HTML controls by the kind of a field; all other kinds are text inputs."""
TEXT_FIELDS = {field.name for field in FORM_FIELDS if field.kind not in ("count", "flag")}
"""A number in one of these is an error; it would become a language named "3"."""
BODY_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "repositories": ("a list of names", lambda value: _is_list_of(value, str)),
    "figures": (
        "a list of objects with texts and numbers",
        lambda value: _is_list_of(value, dict) and all(map(_is_flat, value)),
    ),
    "what_if": ("an object with texts and numbers", lambda value: isinstance(value, dict) and _is_flat(value)),
    "explain": ("true or false", lambda value: isinstance(value, bool)),
}
BODY_HINT = 'send {"repositories": ["owner/name"]} or {"figures": [{"full_name": "owner/name", "forks": 12}]}'


def parse_request(
    names: Sequence[str],
    figures: Sequence[dict[str, Any]] = (),
    *,
    max_repositories: int,
    now: datetime,
    what_if: Mapping[str, Any] | None = None,
    explain: bool = True,
) -> PredictionRequest:
    """Validate a request before it is queued; only the worker finds out whether a repository exists."""
    count = len(names) + len(figures)
    if not count:
        raise BadDataError("enter at least one repository", hint="as owner/name, or as its GitHub URL")
    if count > max_repositories:
        raise BadDataError(f"{count} repositories are too many", hint=f"at most {max_repositories} per request")
    unique = {name.casefold(): name for name in map(parse_name, names)}
    if figures:
        repositories_from_figures(figures, now)
    if what_if:
        parse_what_if(what_if, now)
    return PredictionRequest(tuple(unique.values()), tuple(figures), dict(what_if or {}), explain)


def parse_json_request(data: bytes, *, max_repositories: int, now: datetime) -> PredictionRequest:
    """Parse and validate the body of an API request."""
    try:
        body = json.loads(data, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise BadDataError("the request body is not JSON", hint=BODY_HINT) from error
    if not isinstance(body, dict):
        raise BadDataError("the request body must be a JSON object with `repositories` or `figures`", hint=BODY_HINT)
    for name, value in body.items():
        if name not in BODY_TYPES:
            raise BadDataError(f"unknown field {name[:60]!r} in the request body", hint=BODY_HINT)
        expected, is_valid = BODY_TYPES[name]
        if not is_valid(value):
            raise BadDataError(f"{name} must be {expected}", hint=BODY_HINT)
    body = {"repositories": [], **body}
    return parse_request(body.pop("repositories"), max_repositories=max_repositories, now=now, **body)


def _reject_constant(text: str) -> None:
    raise ValueError(f"{text} is not valid JSON")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_flat(values: dict[str, Any]) -> bool:
    return all(
        isinstance(value, str | None if name in TEXT_FIELDS else str | int | float | None)
        for name, value in values.items()
    )


def part_of(request: PredictionRequest, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names and figures of one repository of a request; the name may be its new one."""
    figures = [dict(row) for row in request.figures if row.get("full_name") == name]
    return ([], figures) if figures else ([name], [])


def split_names(text: str) -> list[str]:
    """Split entered names at line breaks, commas and blanks."""
    return [part for part in re.split(r"[\s,]+", text) if part]


def form_figures(form: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that were filled in; an empty field is unknown."""
    names = [field.name for field in FORM_FIELDS]
    return {name: form[name].strip() for name in names if form.get(name, "").strip()}


def source_fields(features: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Return the fields from which features (policy → names) are computed; any other field changes no estimate.

    >>> sorted(source_fields({"all": ["forks", "fork_rate"]}))
    ['created_at', 'fetched_at', 'forks']
    """
    return frozenset(field for names in features.values() for name in names for field in CATALOG[name].source)


def main_fields(used: frozenset[str]) -> list[Field]:
    """Return the fields that are always visible; the name is always among them."""
    fields = {field.name: field for field in FORM_FIELDS}
    return [fields[name] for name in MAIN_FIELDS if name in used or name == "full_name"]


def other_fields(used: frozenset[str]) -> list[Field]:
    """Return the fields that are folded away."""
    return [field for field in FORM_FIELDS if field.name not in MAIN_FIELDS and field.name in used]


def help_text(field: Field) -> str:
    """Return the line below a control; empty if it would repeat the label."""
    unit = f" [{field.unit}]" if field.unit not in ("", "UTC") else ""
    return "" if field.meaning in (field.name, "owner/name") else field.meaning + unit


def control_type(field: Field) -> str:
    """Return the HTML control for a field."""
    return CONTROL_TYPES.get(field.kind, "text")
