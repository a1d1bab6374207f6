"""Which columns of a table the fields are read from: by a mapping, by name, by flattened path, or out of objects in cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stargaze.errors import BadDataError, ConfigError, did_you_mean
from stargaze.features.ingest.field_getters import Getter
from stargaze.features.ingest.field_mapping import (
    FIELD_GETTERS,
    LISTS_BELOW,
    NAME_PARTS,
    OBJECT_ROOTS,
    REQUIRED,
    SPELLINGS,
    flattened_path,
)
from stargaze.features.ingest.parsing.flattened_names import Path
from stargaze.features.ingest.parsing.github_search import GITHUB_SEARCH_COLUMNS, OWN_ID, is_github_search
from stargaze.features.ingest.parsing.resemblance import list_names, suggest_mapping
from stargaze.features.schema import FIELD_BY_NAME

COLUMNS_BY_VALUE = {
    "node_id": ("nodeId",),
    "has_homepage": ("homepage", "homepageUrl"),
    "is_mirror": ("mirror_url", "mirrorUrl"),
}
"""Columns of GitHub whose values are converted: URLs to flags, node ids to numbers."""
PREFERRED = {"id": ("databaseId", "fullDatabaseId")}
"""Columns of GitHub that are better than that of the field's own name: GraphQL's ``id`` is a node id."""
Value = TypeVar("Value")
PATHS_OF_PARTS: dict[str, tuple[Path, ...]] = {
    "owner": (("owner", "login"),),
    "owner_id": (("owner", "databaseId"), ("owner", "id")),
}


@dataclass(frozen=True)
class ColumnPlan:
    """How the rows of a table are read.

    ``flat`` has the column of fields that are read as they are, ``mapped`` the column and the path of mapped fields in objects.
    ``nested`` has the getters of fields that are read from records, and ``places`` the path of each column in these records.
    """

    flat: dict[str, str]
    mapped: dict[str, tuple[str, str]]
    nested: dict[str, tuple[Getter, ...]]
    places: dict[str, Path]

    def used(self) -> set[str]:
        """Return the columns that are read."""
        return {*self.flat.values(), *self.places, *(column for column, _ in self.mapped.values())}


def check_mapping(columns: Mapping[str, str]) -> None:
    """Raise ConfigError for a mapping of an unknown field, before any file is opened."""
    known = [*FIELD_BY_NAME, *NAME_PARTS]
    for field in columns:
        if field not in known:
            hint = did_you_mean(field, known, f"The fields are {list_names(known)}")
            raise ConfigError(f"fetch.columns.{field} is not a field", hint=hint)


@dataclass(frozen=True)
class Contents:
    """What the cells of a table's columns hold, as far as it has been read: the columns with objects, and with numbers."""

    objects: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()


def plan_columns(
    header: Sequence[str],
    columns: Mapping[str, str],
    name: str,
    contents: Contents | None = None,
    exclude: Collection[str] = (),
) -> ColumnPlan:
    """Return how a table with these columns is read, without the fields ``exclude``.

    ``columns`` has the column of some fields, and of own columns, which a table may lack.
    Raise ConfigError if the mapping names a column that does not exist; BadDataError if a used column exists twice.

    Examples
    --------
    >>> plan_columns(["full_name", "Star Count", "n"], {"stars": "Star Count"}, "x.csv").flat
    {'stars': 'Star Count', 'full_name': 'full_name'}
    >>> plan_columns(["full_name", "stargazers_count", "license.key"], {}, "x.csv").flat
    {'full_name': 'full_name', 'stars': 'stargazers_count', 'license': 'license.key'}
    """
    contents = contents or Contents()
    flat, mapped = _read_mapping(header, columns, name)
    available = set(header) - set(flat.values())
    if is_github_search(header):
        own = {field: column for field, column in GITHUB_SEARCH_COLUMNS.items() if field not in columns}
        flat |= {field: column for field, column in own.items() if column in available}
        available -= {*flat.values(), OWN_ID}
    paths = {column: path for column in header if column in available and (path := flattened_path(column))}
    nested = _plan_nested({*flat, *mapped}, available, paths, contents.objects)
    known = {*flat, *mapped, *nested}
    for field in (field for field in FIELD_BY_NAME if field not in known):
        if column := _find_column(field, available, paths):
            flat[field] = column
            available.discard(column)
    _add_owner(flat, {*known, *flat}, available, paths, contents)
    places = _place_columns(nested, header, available | set(flat.values()), paths)
    plan = ColumnPlan(_without(flat, exclude), _without(mapped, exclude), _without(nested, exclude), places)
    check_duplicates(header, plan.used(), name)
    return plan


def _without(fields: Mapping[str, Value], exclude: Collection[str]) -> dict[str, Value]:
    return {field: value for field, value in fields.items() if field not in exclude}


def _add_owner(
    flat: dict[str, str], known: set[str], available: set[str], paths: Mapping[str, Path], contents: Contents
) -> None:
    """Plan the parts of the name if there is no full_name, and the owner's id, which databases have instead of the login."""
    if "full_name" not in known:
        usable = available - contents.numbers
        found = {part: _find_column(part, usable, paths) for part in NAME_PARTS if part not in known}
        flat |= {part: column for part, column in found.items() if column}
    elif "owner_id" not in known and "owner" in available & contents.numbers:
        flat["owner_id"] = "owner"


def is_own_column(name: str) -> bool:
    """Return whether a name of a mapping is no field and no part of the name."""
    return name not in FIELD_BY_NAME and name not in NAME_PARTS


def _read_mapping(
    header: Sequence[str], columns: Mapping[str, str], name: str
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return the mapped columns, and the column and path of those that are inside of objects."""
    flat, mapped = {}, {}
    for field, column in columns.items():
        root, _, path = column.partition(".")
        if column in header:
            flat[field] = column
        elif path and root in header:
            mapped[field] = (root, path)
        elif not is_own_column(field):
            hint = did_you_mean(column, header, f"Its columns are {list_names(header)}")
            raise ConfigError(f"fetch.columns.{field}: {name} has no column {column!r}", hint=hint)
    return flat, mapped


def _plan_nested(
    known: set[str], available: set[str], paths: Mapping[str, Path], objects: Collection[str]
) -> dict[str, tuple[Getter, ...]]:
    """Return the getters of fields whose values are inside of objects."""
    roots = {column for column in objects if column in available and column in OBJECT_ROOTS}
    roots |= {paths[column][0] for column in objects if paths.get(column) in LISTS_BELOW}
    present = available | {path[0] for path in paths.values()}
    nested = {}
    for field, getters in FIELD_GETTERS.items() if roots else ():
        if field not in known and _is_nested(field, getters, available - roots, roots):
            nested[field] = tuple(getter for getter in getters if not present.isdisjoint(getter.roots))
    return nested


def _is_nested(field: str, getters: Sequence[Getter], flat: set[str], roots: set[str]) -> bool:
    """Return whether the best value of a field is inside of an object, and not in a column of its own."""
    if field in flat:
        return False
    for getter in getters:
        if not roots.isdisjoint(getter.roots):
            return True
        if getter.is_flat and not flat.isdisjoint(getter.roots):
            return False
    return False


def _place_columns(
    nested: Mapping[str, tuple[Getter, ...]], header: Sequence[str], available: set[str], paths: Mapping[str, Path]
) -> dict[str, Path]:
    """Return the columns that the getters read, with their paths in the record."""
    roots = {root for getters in nested.values() for getter in getters for root in getter.roots}
    places: dict[str, Path] = {column: (column,) for column in header if column in roots and column in available}
    return places | {column: path for column, path in paths.items() if path[0] in roots}


def _find_column(field: str, available: set[str], paths: Mapping[str, Path]) -> str | None:
    """Return the column that needs no mapping; the name of another field is never used.

    A flattened path takes precedence over the name that it begins with, as ``license.key`` beside an empty ``license``.
    """
    labels = [getter.label for getter in FIELD_GETTERS.get(field, ())]
    wanted = [*(tuple(label.split(".")) for label in labels if "." in label), *PATHS_OF_PARTS.get(field, ())]
    flattened = [column for path in wanted for column, found in paths.items() if found == path and column in available]
    spellings = [name for name in SPELLINGS.get(field, ()) if name not in FIELD_BY_NAME]
    names: list[str] = []
    for plain in (*PREFERRED.get(field, ()), field, *spellings, *COLUMNS_BY_VALUE.get(field, ())):
        names += [*(column for column in flattened if paths[column][0] == plain), plain]
    return next((name for name in (*names, *flattened) if name in available), None)


def drop_absent(columns: Mapping[str, str], header: Sequence[str], required: Sequence[str]) -> Mapping[str, str]:
    """Return the mapping without a column of the stars that the table lacks and that is not required.

    >>> drop_absent({"stars": "count", "forks": "f"}, ["name", "f"], ("full_name",))
    {'forks': 'f'}
    """
    is_absent = columns.get("stars", "").partition(".")[0] not in header and columns.get("stars") not in header
    if "stars" in required or not is_absent:
        return columns
    return {field: column for field, column in columns.items() if field != "stars"}


def check_required(
    plan: ColumnPlan, header: Sequence[str], name: str, contents: Contents, required: Sequence[str] = REQUIRED
) -> None:
    """Raise BadDataError if a table has no column for a required field: the name, or the stars."""
    found = {*plan.flat, *plan.mapped, *plan.nested}
    missing = [] if "full_name" in found or all(part in found for part in NAME_PARTS) else ["full_name"]
    missing += [] if "stars" in found or "stars" not in required else ["stars"]
    if missing:
        message = f"{name}: no column for {' and '.join(missing)}; it has {list_names(header)}"
        message += "; owner has numbers, not logins" if "full_name" in missing and contents.numbers else ""
        raise BadDataError(message, hint=suggest_mapping(missing, header))


def check_duplicates(header: Sequence[str], used: Collection[str], name: str) -> None:
    """Raise BadDataError if a table has several columns with the name of a used one."""
    counts = Counter(header)
    twice = next((column for column in header if counts[column] > 1 and column in used), None)
    if twice is not None:
        message = f"{name}: the column {twice!r} exists {counts[twice]} times"
        raise BadDataError(message, hint="rename or remove one of them; it is not clear which one is right")
