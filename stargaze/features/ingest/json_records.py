"""Read JSON in all shapes in which GitHub's responses are stored, as one stream of records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.ingest.column_use import ColumnUse, OnColumns, ignore_columns
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.open_file import MAX_VALUE, Source
from stargaze.features.ingest.validate import shorten

REPOSITORY_KEYS = frozenset(
    {"full_name", "fullName", "nameWithOwner", "stargazers", "stargazerCount", "stargazersCount", "stargazers_count"}
)
"""Any of these keys identifies a repository."""
MAX_DEPTH = 4
"""Levels from ``data`` to a list of repositories: viewer, organization, repositories, nodes."""
CHUNK = 2**20

RecordAt = tuple[int, object, str]
"""Position from 1 (in JSON lines, the line), value, and the reason if it is broken."""
MappedAt = tuple[int, dict[str, Any], str]
"""Position from 1, the values of fields, and the reason if the record is invalid."""


def read_mapped_records(
    source: Source, columns: Mapping[str, str], on_columns: OnColumns = ignore_columns
) -> Iterator[MappedAt]:
    """Yield the fields of every record of a file, or the reason why it is invalid."""
    del columns  # a mapping of JSON is not implemented
    found: dict[str, str] = {}
    for position, value, reason in read_records(source):
        if reason:
            yield position, {}, reason
            continue
        try:
            row = map_record(value)
        except BadDataError as error:
            yield position, {}, error.message
        else:
            found.update(dict.fromkeys(row.keys() - found.keys(), ""))
            yield position, row, ""
    on_columns(ColumnUse({name: name for name in found}))


def read_records(source: Source) -> Iterator[RecordAt]:
    """Yield every record of a file with its position.

    Raise BadDataError with line and column if the file as a whole is broken JSON.
    """
    if source.format == "json lines":
        yield from _read_lines(source)
        return
    values = _read_list(source) if source.format == "json list" else iter([_read_document(source)])
    position = 0
    for value in values:
        try:
            records = list(unpack_records(value))
        except BadDataError as error:
            position += 1
            yield position, None, error.message
            continue
        for record in records:
            position += 1
            yield position, record, ""


def unpack_records(value: object) -> Iterator[object]:
    """Yield the records of a search page, a GraphQL response, a list, or a single record.

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
        yield from _unpack_graphql(value)
    elif isinstance(value.get("nodes"), list) or isinstance(value.get("edges"), list):
        yield from _unpack_connection(value, MAX_DEPTH)
    else:
        yield value


def _unpack_graphql(response: dict[str, Any]) -> Iterator[object]:
    data = response.get("data")
    if isinstance(data, dict):
        yield from _unpack_connection(data, MAX_DEPTH)
        return
    errors = response.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else errors
    message = first.get("message") if isinstance(first, dict) else first
    raise BadDataError(f"GitHub responded with an error: {shorten(message)}")


def _unpack_connection(value: dict[str, Any], depth: int) -> Iterator[object]:
    """Yield the nodes of all connections, under any names and aliases."""
    if isinstance(value.get("nodes"), list):
        yield from value["nodes"]
    elif isinstance(value.get("edges"), list):
        yield from (edge.get("node") if isinstance(edge, dict) else edge for edge in value["edges"])
    else:
        for key, inner in value.items():
            if key == "repository" or (isinstance(inner, dict) and _is_repository(inner)):
                yield inner
            elif isinstance(inner, dict) and depth:
                yield from _unpack_connection(inner, depth - 1)


def _is_repository(value: dict[str, Any]) -> bool:
    return not REPOSITORY_KEYS.isdisjoint(value) or ("name" in value and "owner" in value)


def _integer(text: str) -> int | float:
    """Parse an integer of any length; Python rejects more than 4300 digits, and a float of that size is an invalid count."""
    return int(text) if len(text) < 20 else float(text)


_SEPARATOR = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(parse_int=_integer)


def _read_lines(source: Source) -> Iterator[RecordAt]:
    text = source.text()
    number = 0
    while line := text.readline(MAX_VALUE + 1):
        number += 1
        if len(line) > MAX_VALUE:
            message = f"{source.name}: line {number} is longer than {MAX_VALUE / 2**20:.0f} MB"
            raise BadDataError(message, hint="check that it is JSON lines, with one record per line")
        if not line.strip():
            continue
        try:
            records = list(unpack_records(_DECODER.decode(line.strip())))
        except (ValueError, RecursionError, BadDataError) as error:
            yield number, None, _explain(error, None)
            continue
        for record in records:
            yield number, record, ""


def _read_document(source: Source) -> object:
    text = source.text().read(MAX_VALUE + 1)
    if len(text) > MAX_VALUE:
        message = f"{source.name}: one JSON value of more than {MAX_VALUE / 2**20:.0f} MB"
        raise BadDataError(message, hint="write a list, or one record per line")
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _broken_json(source, error) from error


def _read_list(source: Source) -> Iterator[object]:
    """Yield the items of a top-level list one by one, without loading the whole list."""
    text = source.text()
    buffer = text.read(CHUNK)
    at, line = buffer.index("[") + 1, 1
    while True:
        value, after, error = _decode_next(buffer, at)
        if after:
            yield value
            at = after
        elif error is None:
            return
        else:
            more = text.read(max(CHUNK, len(buffer)))
            line += buffer.count("\n", 0, at)
            buffer, at = buffer[at:] + more, 0
            if not more or len(buffer) > MAX_VALUE or isinstance(error, RecursionError):
                raise _broken_json(source, error, line)


def _decode_next(buffer: str, at: int) -> tuple[object, int, Exception | None]:
    """Return one item and its end; 0 and an error if it is broken or incomplete; 0 and None at the end of the list."""
    start = _SEPARATOR.match(buffer, at).end()  # type: ignore[union-attr]  # it matches the empty text
    if buffer[start : start + 1] == "]":
        rest = buffer[start + 1 :].strip()
        return None, 0, json.JSONDecodeError("Extra data", buffer, start + 1) if rest else None
    try:
        value, end = _DECODER.raw_decode(buffer, start)
    except (ValueError, RecursionError) as error:
        return None, 0, error
    following = _SEPARATOR.match(buffer, end).end()  # type: ignore[union-attr]
    if "," in buffer[end:following] or buffer[following : following + 1] == "]":
        return value, end, None
    return None, 0, json.JSONDecodeError("Expecting ',' delimiter", buffer, end)


def _broken_json(source: Source, error: Exception, line: int = 1) -> BadDataError:
    hint = "the file is truncated or damaged; fetch it again"
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        hint = "write one value per file, or one per line in a file named .jsonl"
    return BadDataError(f"{source.name}: broken JSON: {_explain(error, line)}", hint=hint)


def _explain(error: Exception, line: int | None = 1) -> str:
    """Return the problem and its position; ``line`` is the number of the text's first line, None for a single line."""
    if isinstance(error, json.JSONDecodeError):
        where = f"column {error.colno}" if line is None else f"line {error.lineno + line - 1}, column {error.colno}"
        return f"{error.msg}, {where}"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return error.message if isinstance(error, BadDataError) else str(error)
