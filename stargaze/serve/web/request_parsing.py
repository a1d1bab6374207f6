"""Parse and validate prediction requests, in one place for forms and API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from stargaze.errors import InvalidInputError, convert_input_errors
from stargaze.features.ingest.parsing.repository_names import parse_name
from stargaze.features.ingest.user_input import FORM_FIELDS, repositories_from_figures
from stargaze.serve.prediction.what_if import parse_what_if
from stargaze.serve.prediction_request import PredictionRequest

TEXT_FIELDS = {field.name for field in FORM_FIELDS if field.kind not in ("count", "flag")}
"""A number in one of these is an error; it would become a language named "3"."""
LIST_FIELDS = {field.name for field in FORM_FIELDS if field.kind == "list"}
BODY_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "repositories": ("a list of names", lambda value: _is_list_of(value, str)),
    "figures": (
        "a list of objects with texts and numbers (topics may be a list of texts)",
        lambda value: _is_list_of(value, dict) and all(map(_is_flat, value)),
    ),
    "what_if": (
        "an object with texts and numbers (topics may be a list of texts)",
        lambda value: isinstance(value, dict) and _is_flat(value),
    ),
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
        raise InvalidInputError("enter at least one repository", hint="as owner/name, or as its GitHub URL")
    if count > max_repositories:
        raise InvalidInputError(f"{count} repositories are too many", hint=f"at most {max_repositories} per request")
    with convert_input_errors():
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
        raise InvalidInputError("the request body is not JSON", hint=BODY_HINT) from error
    if not isinstance(body, dict):
        raise InvalidInputError(
            "the request body must be a JSON object with `repositories` or `figures`", hint=BODY_HINT
        )
    for name, value in body.items():
        if name not in BODY_TYPES:
            raise InvalidInputError(f"unknown field {name[:60]!r} in the request body", hint=BODY_HINT)
        expected, is_valid = BODY_TYPES[name]
        if not is_valid(value):
            raise InvalidInputError(f"{name} must be {expected}", hint=BODY_HINT)
    body = {"repositories": [], **body}
    return parse_request(body.pop("repositories"), max_repositories=max_repositories, now=now, **body)


def _reject_constant(text: str) -> None:
    raise ValueError(f"{text} is not valid JSON")


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _is_flat(values: dict[str, Any]) -> bool:
    return all(
        isinstance(value, str | None if name in TEXT_FIELDS else str | int | float | None)
        or (name in LIST_FIELDS and _is_list_of(value, str))
        for name, value in values.items()
    )
