"""JSON of every shape that GitHub's answers are kept in, as one stream of single records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.ingest.open_file import MOST_VALUE, Source
from stargaze.features.ingest.validate import shorten

NAMING = frozenset(
    {"full_name", "fullName", "nameWithOwner", "stargazers", "stargazerCount", "stargazersCount", "stargazers_count"}
)
"""A key that only a repository has, or that makes it one for us."""
DEEPEST = 4
"""Steps from ``data`` to a list of repositories: viewer, organization, repositories, nodes."""
CHUNK = 2**20

Member = tuple[int, object, str]
"""Position from 1 (the line in JSON lines), the value, and why there is none if the line is broken."""


def read_records(source: Source) -> Iterator[Member]:
    """Yield every record of a file with its position.

    Raises
    ------
    BadDataError
        If the file as a whole is broken JSON: it says the line and the column.
    """
    if source.format == "json lines":
        yield from _lines(source)
        return
    values = _listed(source) if source.format == "json list" else iter([_whole(source)])
    position = 0
    for value in values:
        try:
            inside = list(unpack_records(value))
        except BadDataError as error:
            position += 1
            yield position, None, error.message
            continue
        for member in inside:
            position += 1
            yield position, member, ""


def unpack_records(value: object) -> Iterator[object]:
    """Unpack a search page, a GraphQL answer, or a list of records; a record is itself.

    Examples
    --------
    >>> list(unpack_records({"items": [1, 2]})), list(unpack_records({"data": {"search": {"edges": [{"node": 3}, None]}}}))
    ([1, 2], [3, None])
    """
    if isinstance(value, list):
        yield from value
    elif not isinstance(value, dict) or _is_repository(value):
        yield value
    elif isinstance(value.get("items"), list):
        yield from value["items"]
    elif "data" in value or "errors" in value:
        yield from _graphql(value)
    elif isinstance(value.get("nodes"), list) or isinstance(value.get("edges"), list):
        yield from _connected(value, DEEPEST)
    else:
        yield value


def _graphql(answer: dict[str, Any]) -> Iterator[object]:
    data = answer.get("data")
    if isinstance(data, dict):
        yield from _connected(data, DEEPEST)
        return
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else errors
    message = first.get("message") if isinstance(first, dict) else first
    raise BadDataError(f"GitHub answered with an error: {shorten(message)}")


def _connected(value: dict[str, Any], depth: int) -> Iterator[object]:
    """Go down to the lists of nodes; aliases and other names on the way do not matter."""
    if isinstance(value.get("nodes"), list):
        yield from value["nodes"]
    elif isinstance(value.get("edges"), list):
        yield from (edge.get("node") if isinstance(edge, dict) else edge for edge in value["edges"])
    else:
        for key, inner in value.items():
            if key == "repository" or (isinstance(inner, dict) and _is_repository(inner)):
                yield inner
            elif isinstance(inner, dict) and depth:
                yield from _connected(inner, depth - 1)


def _is_repository(value: dict[str, Any]) -> bool:
    return not NAMING.isdisjoint(value) or ("name" in value and "owner" in value)


def _integer(text: str) -> int | float:
    """Python refuses integers of more than 4300 digits; as a float such a one is infinite, and refused as a count."""
    return int(text) if len(text) < 20 else float(text)


_GAP = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(parse_int=_integer)


def _lines(source: Source) -> Iterator[Member]:
    text = source.text()
    number = 0
    while line := text.readline(MOST_VALUE + 1):
        number += 1
        if len(line) > MOST_VALUE:
            raise BadDataError(
                f"{source.name}: line {number} is longer than {MOST_VALUE / 2**20:.0f} MB",
                hint="one record a line; is it JSON lines?",
            )
        if not line.strip():
            continue
        try:
            inside = list(unpack_records(_DECODER.decode(line.strip())))
        except (ValueError, RecursionError, BadDataError) as error:
            yield number, None, _why(error, None)
            continue
        for member in inside:
            yield number, member, ""


def _whole(source: Source) -> object:
    text = source.text().read(MOST_VALUE + 1)
    if len(text) > MOST_VALUE:
        raise BadDataError(
            f"{source.name}: one JSON value of more than {MOST_VALUE / 2**20:.0f} MB",
            hint="write a list, or one record a line",
        )
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _broken(source, error) from error


def _listed(source: Source) -> Iterator[object]:
    """Yield the members of a top-level list one by one, so that a long list needs no more memory than a member."""
    text = source.text()
    buffer = text.read(CHUNK)
    at, line = buffer.index("[") + 1, 1
    while True:
        value, after, error = _next(buffer, at)
        if after:
            yield value
            at = after
        elif error is None:
            return
        else:
            more = text.read(max(CHUNK, len(buffer)))
            line += buffer.count("\n", 0, at)
            buffer, at = buffer[at:] + more, 0
            if not more or len(buffer) > MOST_VALUE or isinstance(error, RecursionError):
                raise _broken(source, error, line)


def _next(buffer: str, at: int) -> tuple[object, int, Exception | None]:
    """Decode one member: where it ends, 0 and an error if it is broken or more text is needed, 0 and none at the end."""
    start = _GAP.match(buffer, at).end()  # type: ignore[union-attr]  # matches the empty text too
    if buffer[start : start + 1] == "]":
        rest = buffer[start + 1 :].strip()
        return None, 0, json.JSONDecodeError("Extra data", buffer, start + 1) if rest else None
    try:
        value, end = _DECODER.raw_decode(buffer, start)
    except (ValueError, RecursionError) as error:
        return None, 0, error
    following = _GAP.match(buffer, end).end()  # type: ignore[union-attr]
    if "," in buffer[end:following] or buffer[following : following + 1] == "]":
        return value, end, None
    return None, 0, json.JSONDecodeError("Expecting ',' delimiter", buffer, end)


def _broken(source: Source, error: Exception, line: int = 1) -> BadDataError:
    extra = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
    hint = (
        "one value a file, or one a line in a file named .jsonl"
        if extra
        else "the file is cut short or damaged; fetch it again"
    )
    return BadDataError(f"{source.name}: broken JSON: {_why(error, line)}", hint=hint)


def _why(error: Exception, line: int | None = 1) -> str:
    """Notify what is wrong and where; ``line`` is that of the text's beginning, None in a text of one line."""
    if isinstance(error, json.JSONDecodeError):
        where = f"column {error.colno}" if line is None else f"line {error.lineno + line - 1}, column {error.colno}"
        return f"{error.msg}, {where}"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return error.message if isinstance(error, BadDataError) else str(error)
