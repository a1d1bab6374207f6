"""The addresses of results, comparisons and filled-in forms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from flask import url_for

from stargaze.errors import InvalidInputError
from stargaze.features.ingest.parsing.repository_names import parse_name
from stargaze.serve.prediction_request import PredictionRequest

SEPARATOR = re.compile(r"\.{3}(?=[A-Za-z0-9_-]{1,48}/)")
"""Names may contain dots, but no owner does: the three dots before an owner separate."""


def compare_url(names: Sequence[str], **arguments: Any) -> str:
    """Return the address of the comparison."""
    return url_for("pages.compare", names="...".join(names), **arguments)


def parse_compared(text: str, most: int) -> list[str]:
    """Return the names in the path of a comparison, each once; InvalidInputError if one is not a name or there are too many.

    >>> parse_compared("a/b...c/d.js...A/B", 2), parse_compared("a/b....c/d", 2), parse_compared("a/x...y...c/.d", 2)
    (['a/b', 'c/d.js'], ['a/b.', 'c/d'], ['a/x...y', 'c/.d'])
    """
    try:
        names = [parse_name(part) for part in SEPARATOR.split(text.strip("/"))]
    except InvalidInputError as error:
        raise InvalidInputError(error.message, hint="use /compare/owner/name...owner/name") from error
    unique: dict[str, str] = {}
    for name in names:
        unique.setdefault(name.casefold(), name)
    if len(unique) > most:
        raise InvalidInputError(f"{len(unique)} repositories are too many", hint=f"compare up to {most}")
    return list(unique.values())


def url_of_names(names: list[str], **arguments: Any) -> str:
    """Return the page of one repository, or that of several compared with each other."""
    if len(names) > 1:
        return compare_url(names, **arguments)
    owner, _, name = names[0].partition("/")
    return url_for("pages.repository", owner=owner, name=name, **arguments)


def edit_url(asked: PredictionRequest | None) -> str:
    """Return the form of a request, filled in."""
    names = "\n".join(asked.repositories) if asked else ""
    if asked is None or not asked.figures:
        return url_for("pages.index", repositories=names or None)
    return url_for("pages.figures", **asked.figures[0], repositories=names or None)
