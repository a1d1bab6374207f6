"""Repositories from user input: find known names, or validate entered figures as ``fetch`` does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from stargaze.errors import InvalidInputError, MissingInputError, did_you_mean
from stargaze.features import schema
from stargaze.features.ingest.contradictions import find_contradictions
from stargaze.features.ingest.derive import derive_fields
from stargaze.features.ingest.parsing.grouped_numbers import read_grouped
from stargaze.features.ingest.parsing.missing import MISSING
from stargaze.features.ingest.validate import shorten, validate_columns

METRICS_HINT = "enter its metrics instead"
"""What to do about a repository without an answer; where the page has a link of this text, it replaces the hint."""
_FORM_NAMES = (
    *("full_name", "created_at", "pushed_at", "updated_at", "fetched_at", "owner_type", "language", "license"),
    *("description_length", "has_homepage", "has_wiki", "has_pages", "topic_count", "readme_length", "size_kb"),
    *("contributors", "commits", "open_issues", "closed_issues", "pull_requests", "releases", "latest_release_at"),
    *("forks", "subscribers", "downloads"),
)
_NOT_ENTERED = frozenset({"id", "node_id", "owner_id", "stars", "watchers", "readme", *schema.DESCRIPTION_FACTS})
"""GitHub's numbers, which nobody knows, the target, the README, and what stands for a description."""
FORM_FIELDS: tuple[schema.Field, ...] = (
    *(schema.FIELD_BY_NAME[name] for name in _FORM_NAMES),
    *(field for field in schema.FIELDS if field.name not in {*_FORM_NAMES, *_NOT_ENTERED}),
)
"""Fields that can be entered, the usual ones first; an empty one is missing."""
USUAL_FIELDS = frozenset(_FORM_NAMES)
"""Fields that a visitor is likely to know."""
FIELDS_HINT = "use a field such as forks, contributors or license; the description of the API lists all"


class InvalidFieldError(InvalidInputError):
    """Entered values contradict each other; ``fields`` names them."""

    code = "invalid_field"

    def __init__(self, message: str, *, hint: str, fields: Sequence[str]) -> None:
        super().__init__(message, hint=hint)
        self.fields = tuple(fields)


class UnknownRepositoryError(MissingInputError):
    """A requested repository is not among the known ones."""

    code = "unknown_repository"
    for_visitors = True


def unknown_repositories(names: Sequence[str], known: pd.DataFrame) -> UnknownRepositoryError:
    """Return the error for unknown repositories; its hint lists similar names."""
    lower = known["full_name"].str.lower()
    similar = [match for name in names for match in _find_similar(name.lower(), lower, known)]
    hint = f"Did you mean {', '.join(dict.fromkeys(similar))}?" if similar else METRICS_HINT
    return UnknownRepositoryError(f"{', '.join(names)}: not among the {len(known):,} known repositories", hint=hint)


def expand_count(text: str) -> str:
    """Return a count as digits if it has separators of thousands, or is in thousands or millions; other texts as they are.

    A single comma separates thousands, a single point decimals.

    >>> expand_count("12,345"), expand_count("1 234"), expand_count("12.3k"), expand_count("1.5"), expand_count("12,34")
    ('12345', '1234', '12300', '1.5', '12,34')
    """
    digits = read_grouped(text, ",")
    return digits if digits.isdigit() else text


def expand_counts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of fields, with counts that were entered as texts as digits."""
    return {name: expand_count(value.strip()) if _is_count(name, value) else value for name, value in values.items()}


def _is_count(name: str, value: object) -> bool:
    return isinstance(value, str) and name in schema.FIELD_BY_NAME and schema.FIELD_BY_NAME[name].kind == "count"


def repositories_from_figures(figures: Sequence[Mapping[str, Any]], now: datetime) -> pd.DataFrame:
    """Return repositories from entered figures, values by field; without ``fetched_at`` they are of ``now``.

    Each needs one value, of any field. InvalidInputError if there is none, a field is unknown or a value is invalid.
    """
    for item in figures:
        for name in item:
            if name not in schema.FIELD_BY_NAME:
                hint = did_you_mean(str(name), schema.FIELD_BY_NAME, FIELDS_HINT, cutoff=0.6)
                raise InvalidInputError(f"{shorten(name)} is not a field of a repository", hint=hint)
    filled = [
        {
            "fetched_at": now.isoformat(),
            **{name: value for name, value in expand_counts(item).items() if value not in ("", None)},
        }
        for item in figures
    ]
    if not all(item.keys() - {"fetched_at"} for item in filled):
        raise InvalidInputError("enter at least one value", hint="any field will do")
    frame = pd.DataFrame(filled, dtype="object")
    valid, invalid = validate_columns(frame, now, required=())
    if invalid:
        message = "; ".join(f"{_title(filled[row], row)}: {reason}" for row, reason in invalid)
        raise InvalidInputError(message, hint="correct it and try again")
    for row, item in enumerate(filled):  # ``fetch`` drops impossible values of some fields
        for name, value in item.items():
            if str(value).strip() not in MISSING and np.all(valid[name].iloc[row : row + 1].isna()):
                message = f"{_title(item, row)}: {name} is {shorten(value)}: not a valid value"
                raise InvalidInputError(message, hint="correct it and try again")
    valid = schema.conform(derive_fields(valid)).reset_index(drop=True)
    _check_contradictions(valid, filled)
    return valid


def find_invalid_fields(figures: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Return what is wrong with each entered text: field → reason; a text that would be ignored is wrong too.

    Examples
    --------
    >>> from datetime import UTC
    >>> find_invalid_fields({"forks": "-1", "has_wiki": "maybe", "language": "C"}, datetime(2025, 1, 1, tzinfo=UTC))
    {'forks': 'a count cannot be negative', 'has_wiki': 'should be true or false'}
    """
    reasons = {}
    for name, text in figures.items():
        frame = pd.DataFrame([{name: text}], dtype="object")
        valid, invalid = validate_columns(frame, now, required=())
        if invalid:
            reasons[name] = invalid[0][1].removeprefix(f"{name} is {shorten(text)}: ")
        elif text.strip() not in MISSING and not np.any(valid[name].notna()):
            reasons[name] = "not a valid value"
    if not reasons:
        try:
            repositories_from_figures([figures], now)
        except InvalidInputError as error:
            fields = error.fields if isinstance(error, InvalidFieldError) else ()
            reasons = dict.fromkeys((name for name in fields if name in figures), error.message.partition(": ")[2])
    return reasons


def _check_contradictions(frame: pd.DataFrame, figures: Sequence[Mapping[str, Any]]) -> None:
    for item in find_contradictions(frame):
        message = f"{_title(figures[item.row], item.row)}: {item.problem}"
        hint = "correct one of them" if len(item.fields) > 1 else "correct it"
        raise InvalidFieldError(message, hint=hint, fields=item.fields)


def _title(figures: Mapping[str, Any], row: int) -> str:
    name = figures.get("full_name")
    return shorten(name) if isinstance(name, str) else f"repository {row + 1}"


def _find_similar(name: str, lower: pd.Series, known: pd.DataFrame) -> list[str]:
    """Return up to two known names: the same name of another owner first, then similar spellings."""
    same_name = known["full_name"][lower.str.endswith("/" + name.partition("/")[2])].head(2).tolist()
    if same_name:
        return [str(match) for match in same_name]
    candidates = lower[lower.str.startswith(name[:2])].tolist()
    similar = difflib.get_close_matches(name, candidates, n=2, cutoff=0.6)
    return [str(known["full_name"][lower == match].iloc[0]) for match in similar]
