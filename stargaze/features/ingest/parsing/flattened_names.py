"""Names of flattened paths: ``owner.login`` is also written ``owner_login``, ``owner__login`` and ``ownerLogin``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

Path = tuple[str, ...]
MAX_NAME = 100
"""Length of the longest name that is compared with paths [characters]."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = re.compile(r"[\s./_:-]+")


def normalize_name(name: str) -> str:
    """Return a name in lower case with one underscore between its words.

    Examples
    --------
    >>> normalize_name("primaryLanguage.name"), normalize_name("Star Count")
    ('primary_language_name', 'star_count')
    """
    return _SEPARATORS.sub("_", _CAPITAL.sub("_", name[:MAX_NAME])).strip("_").lower()


def value_at(record: Mapping[str, Any], path: str) -> tuple[bool, Any]:
    """Return whether a record has a path, and its value; a key with dots is found before the path of its parts.

    Below null there is null.

    Examples
    --------
    >>> value_at({"owner": {"login": "a"}}, "owner.login"), value_at({"owner.login": "b"}, "owner.login")
    ((True, 'a'), (True, 'b'))
    """
    if path in record:
        return True, record[path]
    root, _, rest = path.partition(".")
    inner = record.get(root)
    if not rest or not isinstance(inner, dict):
        return bool(rest) and root in record and inner is None, None
    return value_at(inner, rest)


def remove_paths(record: Mapping[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """Return the record without some keys, or keys inside of its objects.

    Examples
    --------
    >>> remove_paths({"a": 1, "owner": {"login": "b", "id": 2}}, {"a", "owner.id"})
    {'owner': {'login': 'b'}}
    """
    remaining = {key: value for key, value in record.items() if key not in paths}
    for root, _, rest in (path.partition(".") for path in paths):
        if rest and isinstance(inner := remaining.get(root), dict):
            remaining[root] = remove_paths(inner, {rest})
    return remaining


def nest_values(record: Mapping[str, Any], paths: Iterable[tuple[str, Path]]) -> dict[str, Any]:
    """Return the record with the values of flattened keys at their paths; an object that exists is not changed.

    Examples
    --------
    >>> nest_values({"owner_login": "a", "owner": None}, [("owner_login", ("owner", "login"))])["owner"]
    {'login': 'a'}
    """
    nested = dict(record)
    built: dict[Path, dict[str, Any]] = {}
    for key, path in paths:
        target, value = nested, record[key]
        for depth in range(1, len(path)):
            prefix = path[:depth]
            if prefix not in built:
                if isinstance(target.get(path[depth - 1]), dict):
                    break
                built[prefix] = target[path[depth - 1]] = {}
            target = built[prefix]
        else:
            target.setdefault(path[-1], value)
    return nested
