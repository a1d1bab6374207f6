"""Tables in one object, as ``DataFrame.to_json`` writes them: by columns (its default), by rows, or split.

Datasette and ClickHouse split tables too, under other names; R and polars write each column as a list.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from stargaze.features.ingest.parsing.flattened_names import normalize_name
from stargaze.features.schema import LIST_FIELDS

Rows = list[dict[str, Any]]
MAX_BOXES = 8
"""Levels of a record of R that are unboxed."""


def rows_of_frame(value: Mapping[str, Any], names: Container[str]) -> Rows | None:
    """Return the rows of a table that an object contains, else None; ``names`` are columns that a record has as plain values.

    The keys of rows are their names if they have the form of names of repositories.

    Examples
    --------
    >>> rows_of_frame({"full_name": {"0": "a/b", "1": "c/d"}, "stars": {"0": 5, "1": 6}}, ("full_name",))
    [{'full_name': 'a/b', 'stars': 5}, {'full_name': 'c/d', 'stars': 6}]
    >>> rows_of_frame({"columns": ["full_name", "stars"], "index": [0], "data": [["a/b", 5]]}, ("full_name",))
    [{'full_name': 'a/b', 'stars': 5}]
    >>> rows_of_frame({"7": {"full_name": "a/b"}, "9": {"full_name": "c/d"}}, ("full_name",))
    [{'full_name': 'a/b'}, {'full_name': 'c/d'}]
    >>> rows_of_frame({"a/b": {"stars": 5}, "c/d": {"stars": 6}}, ("full_name",))
    [{'full_name': 'a/b', 'stars': 5}, {'full_name': 'c/d', 'stars': 6}]
    >>> rows_of_frame({"full_name": ["a/b", "c/d"], "stars": [5, 6]}, ("full_name",))
    [{'full_name': 'a/b', 'stars': 5}, {'full_name': 'c/d', 'stars': 6}]
    """
    columns, data = value.get("columns", value.get("meta")), value.get("data", value.get("rows"))
    if isinstance(columns, list) and isinstance(data, list) and all(isinstance(row, list) for row in data):
        header = [str(column.get("name")) if isinstance(column, dict) else str(column) for column in columns]
        return [dict(zip(header, row, strict=False)) for row in data]
    parts = list(value.values())
    if parts and all(isinstance(part, list) for part in parts) and _has_known_name(value, names):
        same = all(len(part) == len(parts[0]) for part in parts)
        return [dict(zip(value, row, strict=True)) for row in zip(*parts, strict=True)] if same else None
    if not parts or not all(isinstance(part, dict) for part in parts):
        return None
    if _has_known_name(value, names):
        keys = parts[0].keys()
        same = all(part.keys() == keys for part in parts)
        return [{name: column[key] for name, column in value.items()} for key in keys] if same else None
    if all("/" in name for name in value):
        return [{"full_name": name, **part} for name, part in value.items()]
    return parts if all(_has_known_name(part, names) for part in parts) else None


def _has_known_name(row: Iterable[str], names: Container[str]) -> bool:
    return any(name in names or normalize_name(name) in names for name in row)


def unbox_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without the lists of one value in which R's jsonlite writes every value; fields that are lists stay so.

    Examples
    --------
    >>> unbox_values({"full_name": ["a/b"], "owner": {"type": ["User"]}, "topics": [["cli"]]})
    {'full_name': 'a/b', 'owner': {'type': 'User'}, 'topics': ['cli']}
    """
    return {
        key: [_unbox(item) for item in value] if key in LIST_FIELDS and isinstance(value, list) else _unbox(value)
        for key, value in record.items()
    }


def _unbox(value: Any, depth: int = MAX_BOXES) -> Any:
    if not depth:
        return value
    if isinstance(value, dict):
        return {key: _unbox(inner, depth - 1) for key, inner in value.items()}
    return _unbox(value[0], depth - 1) if isinstance(value, list) and len(value) == 1 else value
