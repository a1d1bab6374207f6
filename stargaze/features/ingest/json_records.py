"""Read JSON in all shapes in which GitHub's responses are stored, as one stream of records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stargaze.errors import BadDataError
from stargaze.features.ingest.column_use import OnColumns, ignore_columns
from stargaze.features.ingest.field_mapping import REQUIRED, map_record
from stargaze.features.ingest.open_file import MAX_VALUE, Source
from stargaze.features.ingest.parsing.flattened_names import remove_paths
from stargaze.features.ingest.parsing.json_documents import DocumentReader, JsonDecoder, skip_space
from stargaze.features.ingest.parsing.json_keys import KeyUse, SparsePaths
from stargaze.features.ingest.parsing.json_wrappers import unpack_records

RecordAt = tuple[int, object, str]
"""Position from 1 (in JSON lines, the line), value, and the reason if it is broken."""
MappedAt = tuple[int, dict[str, Any], str]
"""Position from 1, the values of fields, and the reason if the record is invalid."""


def read_mapped_records(
    source: Source,
    columns: Mapping[str, str],
    on_columns: OnColumns = ignore_columns,
    exclude: frozenset[str] = frozenset(),
    sparse: SparsePaths | None = None,
    required: Sequence[str] = REQUIRED,
) -> Iterator[MappedAt]:
    """Yield the fields of every record of a file, or the reason why it is invalid.

    Raise ConfigError if no record has a mapped path, which ``sparse`` does for files of one record; BadDataError if all of
    several records lack a ``required`` field, the name or the stars, or the file is broken.
    """
    keys = KeyUse(source.name, columns, exclude, sparse, required)
    for position, value, reason in read_records(source, columns):
        if reason:
            yield position, {}, reason
            continue
        try:
            row = _map_without(value, columns, exclude) if exclude else map_record(value, columns)
        except BadDataError as error:
            keys.add(value, {})
            yield position, {}, keys.explain(error.message)
            continue
        keys.add(value, row)
        problem = "" if "stars" in row or "stars" not in required else keys.explain("stars is missing")
        yield position, {} if problem else row, problem
    keys.check()
    on_columns(keys.describe())


def _map_without(value: object, columns: Mapping[str, str], exclude: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a record, without some keys and fields."""
    row = map_record(remove_paths(value, exclude) if isinstance(value, dict) else value, columns)
    return {field: found for field, found in row.items() if field not in exclude}


def read_records(source: Source, columns: Mapping[str, str] | None = None) -> Iterator[RecordAt]:
    """Yield every record of a file with its position; ``columns`` are paths in records with names of their own.

    Raise BadDataError with line and column if the file as a whole is broken JSON.
    """
    if source.format == "json lines":
        yield from _read_lines(source, columns)
        return
    position = 0
    for value in DocumentReader(source.text(), source.name).read_values():
        for record in unpack_records(value, columns):
            position += 1
            yield position, record.value, record.reason


def _read_lines(source: Source, columns: Mapping[str, str] | None) -> Iterator[RecordAt]:
    text, decoder = source.text(), JsonDecoder()
    number = 0
    while line := text.readline(MAX_VALUE + 1):
        number += 1
        if len(line) > MAX_VALUE:
            message = f"{source.name}: line {number} is longer than {MAX_VALUE / 2**20:.0f} MB"
            raise BadDataError(message, hint="check that it is JSON lines, with one record per line")
        for value, reason in _decode_line(line.strip(" \t\r\n\ufeff\x1e"), decoder):
            if reason:
                yield number, None, reason
                continue
            for record in unpack_records(value, columns):
                yield number, record.value, record.reason


def _decode_line(line: str, decoder: JsonDecoder) -> Iterator[tuple[object, str]]:
    """Yield the values of a line, of which some programs write several, and the reason if the rest is broken."""
    at = 0
    while at < len(line):
        try:
            value, at = decoder.decode_at(line, at)
        except (ValueError, RecursionError) as error:
            yield None, _explain(error)
            return
        yield value, ""
        at = skip_space(line, at)


def _explain(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
