"""The keys of a JSON file: which the fields are read from, whether those of the mapping exist, and which are not read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from stargaze.errors import BadDataError, ConfigError, did_you_mean
from stargaze.features.ingest.column_use import ColumnUse
from stargaze.features.ingest.field_mapping import FIELD_GETTERS, REQUIRED, ROOTS, SPELLINGS, flattened_path
from stargaze.features.ingest.parsing.column_plan import is_own_column
from stargaze.features.ingest.parsing.flattened_names import remove_paths, value_at
from stargaze.features.ingest.parsing.github_search import GITHUB_SEARCH_COLUMNS, is_github_search
from stargaze.features.ingest.parsing.object_text import repair_text
from stargaze.features.ingest.parsing.resemblance import list_names, resembled_field, suggest_column, suggest_mapping

MAX_KEYS = 300
"""Different keys of a file that are remembered."""


class SparsePaths:
    """Mapped paths that files of one record lack: one of the other files must have them."""

    def __init__(self) -> None:
        self._errors: dict[str, ConfigError] = {}
        self._found: set[str] = set()

    def add(self, errors: Mapping[str, ConfigError], found: Collection[str]) -> None:
        """Add the fields that a file lacks, with the error for each, and those that it has."""
        self._found.update(found)
        for field, error in errors.items():
            self._errors.setdefault(field, error)

    def check(self) -> None:
        """Raise the error of a path that no file has."""
        for field, error in self._errors.items():
            if field not in self._found:
                raise error


class KeyUse:
    """Collects the keys of a file's records while they are read."""

    def __init__(
        self,
        name: str,
        columns: Mapping[str, str],
        exclude: frozenset[str] = frozenset(),
        sparse: SparsePaths | None = None,
        required: Sequence[str] = REQUIRED,
    ) -> None:
        self._sparse = sparse or SparsePaths()
        self._name = name
        self._columns = columns
        self._exclude = exclude
        optional = {"stars"}.difference(required)
        self._required = required
        self._unknown = {
            field: path for field, path in columns.items() if not is_own_column(field) and field not in optional
        }
        self._keys: dict[str, None] = {}
        self._inner: dict[str, None] = {}
        self._fields: dict[str, str] = {}
        self._absent: set[str] = set()
        self._records = 0
        self._is_answer = False

    def add(self, value: object, row: Mapping[str, Any]) -> None:
        """Add a record and its fields, which are none if it was refused."""
        if not isinstance(value, dict):
            return
        self._records += 1
        self._is_answer = self._is_answer or "message" in value
        if len(self._keys) < MAX_KEYS and not value.keys() <= self._keys.keys():
            self._keys |= dict.fromkeys(map(repair_text, list(value)[:MAX_KEYS]))
            objects = {key: inner for key, inner in value.items() if isinstance(inner, dict)}
            paths = [f"{key}.{name}" for key, inner in objects.items() for name in list(inner)[:MAX_KEYS]]
            self._inner |= dict.fromkeys(map(repair_text, paths[:MAX_KEYS]))
        for field, path in list(self._unknown.items()):
            exists, found = value_at(value, path)
            if exists and (found is not None or not _is_below_null(value, path)):
                del self._unknown[field]
            elif not exists:
                self._absent.add(path)
        value = remove_paths(value, self._exclude) if self._exclude else value
        for field in row:
            if field not in self._fields:
                self._fields[field] = self._find_source(field, value)

    def _find_source(self, field: str, record: Mapping[str, Any]) -> str:
        defaults = GITHUB_SEARCH_COLUMNS if is_github_search(record) else {}
        mapped = self._columns.get(field, defaults.get(field))
        if mapped:
            return mapped
        found = (getter.label for getter in FIELD_GETTERS[field] if getter.read(record) is not None)
        return next(found, field)

    def explain(self, reason: str) -> str:
        """Return the reason of a refused record; if it has no name or stars, with the key that could be mapped."""
        field = reason.removesuffix(" is missing")
        keys = [key for key in (*self._keys, *self._inner) if key not in (field, *SPELLINGS.get(field, ()))]
        column = suggest_column(field, keys) if field in ("full_name", "stars") else "…"
        return reason if column == "…" or field in self._columns else f'{reason}; map it: {field} = "{column}"'

    def check(self) -> None:
        """Raise ConfigError for a mapped path that no record has, BadDataError if no record has a name or stars.

        What a single record lacks is left to the check of all files.
        """
        errors = {
            field: self._unknown_path(field, path) for field, path in self._unknown.items() if path in self._absent
        }
        found = self._columns.keys() - self._unknown.keys()
        if self._records == 1:
            self._sparse.add({} if self._is_answer else errors, found)
            return
        for error in errors.values():
            raise error
        self._sparse.add({}, found)
        keys = list(self._keys)
        missing = [field for field in self._required if field not in self._fields and not self._has_key(field)]
        if self._records > 1 and missing and not (self._is_answer and not self._fields):
            message = f"{self._name}: no key for {' and '.join(missing)}; its records have {list_names(keys)}"
            objects = {path.partition(".")[0] for path in self._inner}
            paths = [*(key for key in keys if key not in objects), *self._inner]
            raise BadDataError(message, hint=suggest_mapping(missing, paths))

    def _has_key(self, field: str) -> bool:
        """Return whether the records have a field under a name that needs no mapping, even if no value can be used."""
        return any(name in self._keys for name in (field, *SPELLINGS[field]))

    def _unknown_path(self, field: str, path: str) -> ConfigError:
        hint = did_you_mean(path, [*self._keys, *self._inner], f"Its keys are {list_names(list(self._keys))}")
        return ConfigError(f"fetch.columns.{field}: {self._name} has no key {path!r}", hint=hint)

    def describe(self) -> ColumnUse:
        """Return the key of each field, and the keys that resemble a field which has no value in the file."""
        used = {label.split(".")[0] for label in self._fields.values()} | set(self._fields.values())
        found = {*self._fields, *self._exclude}
        keys = [key for key in self._keys if key not in used and key not in self._exclude and not _is_read(key)]
        unused = tuple((key, field) for key in keys if (field := resembled_field(key, found)) and field not in found)
        return ColumnUse(dict(self._fields), unused, (*self._keys, *self._inner))


def _is_read(key: str) -> bool:
    """Return whether GitHub's records have a key, which is read even if no record has a value in it."""
    return key in ROOTS or flattened_path(key) is not None


def _is_below_null(record: Mapping[str, Any], path: str) -> bool:
    parent = path.rpartition(".")[0]
    return bool(parent) and path not in record and value_at(record, parent)[1] is None
