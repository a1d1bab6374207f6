"""The records inside of lists, pages, search responses, GraphQL responses and other wrappers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.features.ingest.field_mapping import PartialRecord
from stargaze.features.ingest.parsing.flattened_names import value_at
from stargaze.features.ingest.parsing.github_search import is_github_search
from stargaze.features.ingest.parsing.json_tables import rows_of_frame
from stargaze.features.ingest.validate import shorten

REPOSITORY_KEYS = frozenset(
    {"full_name", "fullName", "nameWithOwner", "stargazers", "stargazerCount", "stargazersCount", "stargazers_count"}
)
"""Any of these keys identifies a repository."""
_PLAIN_KEYS = REPOSITORY_KEYS - {"stargazers"}
LIST_KEYS = ("items", "repositories", "repos", "results", "records", "rows", "data")
"""Keys under which responses and exports have their list of records."""
RECORD_KEYS = ("repo", "repository", "node", "row", "_source")
"""Keys under which the items of a list have the record: of stars (``starred_at``, ``repo``), events, edges, and databases."""
MAX_DEPTH = 4
"""Levels from ``data`` to a list of repositories: viewer, organization, repositories, nodes."""
MAX_PLACE = 12
"""Keys of an error's path that are read."""
Place = tuple[object, ...]
"""Keys and indices from the response to a value, as in the ``path`` of GraphQL's errors."""


@dataclass(frozen=True)
class Unpacked:
    """A record, or the reason why there is none."""

    value: object
    reason: str = ""


def unpack_records(
    value: object, columns: Mapping[str, str] | None = None, depth: int = MAX_DEPTH
) -> Iterator[Unpacked]:
    """Yield the records of a search page, a GraphQL response, a list, another wrapper, or a single record.

    ``columns`` are the paths of fields in records with names of their own.

    Examples
    --------
    >>> [record.value for record in unpack_records({"items": [1, 2]})]
    [1, 2]
    >>> [record.value for record in unpack_records({"data": {"search": {"edges": [{"node": 3}, None]}}})]
    [3, None]
    """
    columns = columns or {}
    if isinstance(value, list):
        for item in value:
            is_wrapper = depth > 0 and _is_wrapper(item, columns)
            yield from unpack_records(item, columns, depth - 1) if is_wrapper else _unwrap(item, columns)
    elif not isinstance(value, dict):
        yield Unpacked(value)
    elif (rows := rows_of_frame(value, {*_PLAIN_KEYS, *columns.values()})) is not None:
        yield from map(Unpacked, rows)
    elif is_repository(value, columns):
        yield Unpacked(value)
    elif "data" in value or "errors" in value:
        yield from _unpack_response(value, columns, depth)
    elif _is_connection(value):
        yield from _join_errors(_unpack_connection(value, columns, MAX_DEPTH, ()), [], columns)
    elif depth > 0 and (records := _find_list(value, columns)) is not None:
        yield from unpack_records(records, columns, depth - 1)
    else:
        yield from _unwrap(value, columns)


def is_repository(value: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Return whether an object is a record of a repository, by GitHub's names or by a mapping."""
    if not REPOSITORY_KEYS.isdisjoint(value) or ("name" in value and "owner" in value) or is_github_search(value):
        return True
    if "owner" in columns and "name" in columns:
        return all(isinstance(value_at(value, columns[part])[1], str) for part in ("owner", "name"))
    name = value_at(value, columns["full_name"])[1] if "full_name" in columns else None
    return isinstance(name, str) and "/" in name


def _is_wrapper(item: object, columns: Mapping[str, str]) -> bool:
    """Return whether an item of a list is itself a list or a page."""
    if isinstance(item, list):
        return True
    if not isinstance(item, dict) or is_repository(item, columns):
        return False
    return "data" in item or "errors" in item or _is_connection(item) or _find_list(item, columns) is not None


def _is_connection(value: object) -> bool:
    return isinstance(value, dict) and (isinstance(value.get("nodes"), list) or isinstance(value.get("edges"), list))


def _unwrap(item: object, columns: Mapping[str, str]) -> Iterator[Unpacked]:
    """Yield the record of an item; that of a star or an event is in a key of its own."""
    if isinstance(item, dict) and not is_repository(item, columns):
        inner = (item[key] for key in RECORD_KEYS if isinstance(item.get(key), dict))
        item = next((record for record in inner if is_repository(record, columns)), item)
    yield Unpacked(item)


def _find_list(value: Mapping[str, Any], columns: Mapping[str, str]) -> list[Any] | None:
    """Return the records of a wrapper: those under a known key, or of all lists that have repositories."""
    for key in LIST_KEYS:
        if isinstance(value.get(key), list):
            return list(value[key])
    return list(_find_inner(value, columns, MAX_DEPTH)) or None


def _find_inner(value: Mapping[str, Any], columns: Mapping[str, str], depth: int) -> Iterator[Any]:
    """Yield the items of all lists of repositories inside of an object, as of an awesome list's categories."""
    for inner in value.values():
        if isinstance(inner, list) and _has_repositories(inner, columns):
            yield from inner
        elif depth and isinstance(inner, (dict, list)):
            objects = [inner] if isinstance(inner, dict) else [item for item in inner if isinstance(item, dict)]
            for item in objects:
                yield from _find_inner(item, columns, depth - 1)


def _has_repositories(items: list[Any], columns: Mapping[str, str]) -> bool:
    records = [item for item in items[:5] if isinstance(item, dict)]
    inner = [record[key] for record in records for key in RECORD_KEYS if isinstance(record.get(key), dict)]
    return any(is_repository(record, columns) for record in (*records, *inner))


def _unpack_response(response: Mapping[str, Any], columns: Mapping[str, str], depth: int) -> Iterator[Unpacked]:
    """Yield the records of a GraphQL response or of a list under ``data``, and GitHub's errors."""
    data, errors = response.get("data"), list(_read_errors(response))
    if isinstance(data, list):
        yield from unpack_records(data, columns, depth - 1)
    elif isinstance(data, dict) and is_repository(data, columns):
        yield from _join_errors([((), data)], errors, columns)
    elif isinstance(data, dict):
        found = list(_unpack_connection(data, columns, MAX_DEPTH, ()))
        if found or errors or _has_empty_list(data, MAX_DEPTH):
            yield from _join_errors(found, errors, columns)
        elif (records := _find_list(data, columns)) is not None:
            yield from unpack_records(records, columns, depth - 1)
        else:
            yield Unpacked(None, "data has no repositories")
        return
    elif not errors:
        problem = "data is null" if data is None else f"data is {shorten(data)}"
        yield Unpacked(None, f"{problem} instead of records")
    for error in errors:
        yield Unpacked(None, error.reason)


def _has_empty_list(data: Mapping[str, Any], depth: int) -> bool:
    """Return whether a response has a list without items, as that of a search that finds nothing."""
    lists = [inner for inner in data.values() if isinstance(inner, (dict, list))]
    return any(
        not inner or (isinstance(inner, dict) and depth > 0 and _has_empty_list(inner, depth - 1)) for inner in lists
    )


@dataclass(frozen=True)
class _ResponseError:
    """An error in a response of GitHub, and the place of the value that is missing for it."""

    place: Place
    reason: str


def _read_errors(response: Mapping[str, Any]) -> Iterator[_ResponseError]:
    errors = response.get("errors")
    items = errors if isinstance(errors, list) else [errors] if errors else []
    for item in items:
        message, path = (item.get("message"), item.get("path")) if isinstance(item, dict) else (item, None)
        message = message if message is not None else response.get("message", item)
        keys = path[:MAX_PLACE] if isinstance(path, list) else []
        place = tuple(key if isinstance(key, (str, int)) else shorten(key) for key in keys)
        where = f" at {shorten('.'.join(map(str, place)))}" if place else ""
        yield _ResponseError(place, f"GitHub responded with an error{where}: {shorten(message)}")


def _join_errors(
    found: Iterable[tuple[Place, object]], errors: list[_ResponseError], columns: Mapping[str, str]
) -> Iterator[Unpacked]:
    """Yield records, and each error once: in the place of the record that is null for it, else at the end.

    Errors without a place explain the null records that no other error does. An error inside of a record does not reject the
    record: the values there are missing for that reason.
    """
    by_place: dict[Place, list[_ResponseError]] = {}
    for error in errors:
        for length in range(1, len(error.place) + 1):
            by_place.setdefault(error.place[:length], []).append(error)
    reported: set[int] = set()
    unplaced = iter([error for error in errors if not error.place])
    for place, value in found:
        own = by_place.get(place, [])
        if value is None and not own:
            own = list(itertools.islice(unplaced, 1))
        reported.update(map(id, own))
        if value is None and own:
            yield from (Unpacked(None, error.reason) for error in own)
        else:
            yield from _unwrap(_note_errors(value, own, len(place)), columns)
    yield from (Unpacked(None, error.reason) for error in errors if id(error) not in reported)


def _note_errors(value: object, errors: list[_ResponseError], depth: int) -> object:
    """Return a record with the errors of its keys, if it has any."""
    reasons = {str(error.place[depth]): error.reason for error in errors if len(error.place) > depth}
    return PartialRecord(value, reasons) if isinstance(value, dict) and reasons else value


def _unpack_connection(
    value: Mapping[str, Any], columns: Mapping[str, str], depth: int, place: Place
) -> Iterator[tuple[Place, object]]:
    """Yield the nodes of all connections with their places, under any names and aliases."""
    here: Place
    if isinstance(value.get("nodes"), list):
        for i, node in enumerate(value["nodes"]):
            yield from _unpack_node(node, columns, depth, (*place, "nodes", i))
    elif isinstance(value.get("edges"), list):
        for i, edge in enumerate(value["edges"]):
            inner = edge.get("node") if isinstance(edge, dict) else edge
            here = (*place, "edges", i, *(("node",) if isinstance(edge, dict) else ()))
            yield from _unpack_node(inner, columns, depth, here)
    else:
        for key, inner in value.items():
            here = (*place, key)
            if key == "repository" or (isinstance(inner, dict) and is_repository(inner, columns)):
                yield here, inner
            elif isinstance(inner, list) and _has_repositories(inner, columns):
                yield from (((*here, i), item) for i, item in enumerate(inner))
            elif isinstance(inner, dict) and depth:
                yield from _unpack_connection(inner, columns, depth - 1, here)


def _unpack_node(node: object, columns: Mapping[str, str], depth: int, place: Place) -> Iterator[tuple[Place, object]]:
    """Yield a node; of a node with connections of its own, as those of organizations or lists, the repositories in these."""
    if (
        not isinstance(node, dict)
        or not depth
        or is_repository(node, columns)
        or not node.keys().isdisjoint(RECORD_KEYS)
    ):
        yield place, node
        return
    inner = _unpack_connection(node, columns, depth - 1, place)
    found = [
        (at, item) for at, item in inner if item is None or (isinstance(item, dict) and is_repository(item, columns))
    ]
    if any(item is not None for _, item in found):
        yield from found
    elif not _is_connection(node.get("repositories")):
        yield place, node
