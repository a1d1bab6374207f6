"""The fields of a table's rows: flat columns as a whole, objects in cells row by row with the getters of JSON records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from stargaze.features.ingest.column_use import ColumnUse
from stargaze.features.ingest.derive import is_url
from stargaze.features.ingest.field_getters import mirror_flag, repository_id
from stargaze.features.ingest.field_mapping import (
    LISTS_BELOW,
    NAME_PARTS,
    OBJECT_ROOTS,
    REQUIRED,
    convert_mapped,
    flattened_path,
)
from stargaze.features.ingest.parsing.column_plan import (
    COLUMNS_BY_VALUE,
    ColumnPlan,
    Contents,
    check_required,
    drop_absent,
    plan_columns,
)
from stargaze.features.ingest.parsing.flattened_names import nest_values, value_at
from stargaze.features.ingest.parsing.github_search import OWN_ID, is_github_search
from stargaze.features.ingest.parsing.missing import MISSING
from stargaze.features.ingest.parsing.object_text import BEGINNINGS, is_object_text, parse_object, repair_text
from stargaze.features.ingest.parsing.resemblance import find_unused
from stargaze.features.schema import FIELD_BY_NAME, LIST_FIELDS

MIN_NUMBERS = 2
"""Texts from which a column of digits has ids; a single owner may have a login of digits."""
_READ_ID = repository_id("id").read


class TableMapper:
    """Maps the batches of one table to fields; a later batch may show that a column has objects in its cells."""

    def __init__(
        self,
        header: Sequence[str],
        columns: Mapping[str, str],
        name: str,
        objects: frozenset[str] = frozenset(),
        exclude: frozenset[str] = frozenset(),
        required: Sequence[str] = REQUIRED,
    ) -> None:
        self._names = tuple(dict.fromkeys(header))
        self._header = [column for column in header if column not in exclude]
        self._exclude = exclude
        self._columns = drop_absent(columns, header, required)
        self._required = required
        self._name = name
        self._contents = Contents(objects)
        self._plan = plan_columns(self._header, self._columns, name, self._contents, exclude)
        self._labels: dict[str, str] = {}
        self._is_begun = False

    def columns_to_read(self) -> list[str]:
        """Return the columns that are used, and those that are if their cells hold objects, in the order of the table."""
        wanted = {*self._plan.used(), *OBJECT_ROOTS, *filter(flattened_path, self._header)}
        if "full_name" not in self._plan.flat:
            wanted |= set(NAME_PARTS)
        counts = Counter(self._header)
        return [column for column in self._header if column in wanted and counts[column] == 1]

    def name_and_stars(self) -> tuple[list[str], list[str]]:
        """Return the columns of the name, or of its parts, and of the stars; none where they are not known yet."""
        flat = self._plan.flat
        parts = [flat[part] for part in NAME_PARTS if part in flat]
        names = [flat["full_name"]] if "full_name" in flat else parts if len(parts) == len(NAME_PARTS) else []
        return names, [flat["stars"]] if "stars" in flat else []

    def map_batch(self, raw: Mapping[str, pd.Series]) -> pd.DataFrame:
        """Return the fields of a batch, with unconverted values; raise BadDataError if the name or the stars are missing."""
        numbers = self._contents.numbers if self._is_begun else _find_numbers(raw)
        contents = Contents(self._contents.objects | _find_objects(raw), numbers)
        if contents != self._contents:
            self._contents = contents
            self._plan = plan_columns(self._header, self._columns, self._name, contents, self._exclude)
        self.check()
        self._is_begun = True
        plan = self._plan
        fields = {
            field: _convert_flat(field, raw[column], column, self._columns) for field, column in plan.flat.items()
        }
        for field, (column, path) in plan.mapped.items():
            values = [_read_path(field, cell, path) for cell in _read_cells(raw[column])]
            fields[field] = pd.Series(values, dtype="object")
        return pd.DataFrame({**fields, **_read_nested(plan, raw, self._labels)})

    def check(self) -> None:
        """Raise BadDataError if there is no column for a required field: the name, or the stars."""
        check_required(self._plan, self._header, self._name, self._contents, self._required)

    def describe(self) -> ColumnUse:
        """Return the column of each field, and the columns that are not used."""
        plan = self._plan
        mapped = {field: f"{column}.{path}" for field, (column, path) in plan.mapped.items()}
        fields = {**plan.flat, **mapped, **self._labels}
        unused = find_unused(list(dict.fromkeys(self._header)), plan.used(), fields)
        is_ghs = is_github_search(self._header)
        resembled = tuple(
            (name, "" if is_ghs and name == OWN_ID else field) for name, field in unused if field not in self._exclude
        )
        return ColumnUse(fields, resembled, self._names)


def _find_objects(raw: Mapping[str, pd.Series]) -> frozenset[str]:
    found = (column for column in raw if column in OBJECT_ROOTS or flattened_path(column) in LISTS_BELOW)
    return frozenset(column for column in found if _has_objects(column, raw[column]))


def _has_objects(column: str, cells: pd.Series) -> bool:
    if cells.dtype == "str":
        begins = cells.str.startswith(BEGINNINGS, na=False)
        return bool(begins.any()) and any(is_object_text(column, cell) for cell in cells[begins])
    return cells.dtype == "object" and any(
        isinstance(cell, dict) or (isinstance(cell, list) and (column not in LIST_FIELDS or _has_dicts(cell)))
        for cell in cells
    )


def _has_dicts(cells: list[Any]) -> bool:
    return any(isinstance(cell, dict) for cell in cells)


def _find_numbers(raw: Mapping[str, pd.Series]) -> frozenset[str]:
    """Return the column of owners if all of its cells are numbers: ids and not logins."""
    owners = raw.get("owner")
    if owners is None or not len(owners):
        return frozenset()
    if owners.dtype == "str":
        present = owners[owners != ""].dropna()
        is_number = len(present) >= MIN_NUMBERS and bool(present.str.fullmatch(r"\d+(\.0)?").all())
    else:
        is_number = pd.api.types.is_numeric_dtype(owners.dtype)
    return frozenset({"owner"} if is_number else ())


def _convert_flat(field: str, cells: pd.Series, column: str, columns: Mapping[str, str]) -> pd.Series:
    """Return a column of flat values; only a mapped column may hold objects here."""
    if field in columns and field in FIELD_BY_NAME and FIELD_BY_NAME[field].kind != "text" and _holds_any(cells):
        return pd.Series([convert_mapped(field, cell) for cell in _read_cells(cells)], dtype="object")
    if field == "has_homepage":
        is_url_column = column in COLUMNS_BY_VALUE[field] or any(map(is_url, cells))
        return _fill_missing(cells) if is_url_column else cells
    if field == "is_mirror" and (column in COLUMNS_BY_VALUE[field] or any(map(is_url, cells))):
        return pd.Series([mirror_flag(cell) for cell in _fill_missing(cells)], dtype="object")
    if field == "id" and cells.dtype == "str" and not cells.str.isdigit().all():
        return pd.Series([_READ_ID({"id": cell}) or cell for cell in cells], dtype="object")
    return cells


def _holds_any(cells: pd.Series) -> bool:
    if cells.dtype == "str":
        return bool(cells.str.startswith(BEGINNINGS, na=False).any())
    return cells.dtype == "object" and any(isinstance(cell, (dict, list)) for cell in cells)


def _fill_missing(cells: pd.Series) -> pd.Series:
    """Return texts in which a missing one is empty: null in these columns of GitHub means none."""
    if cells.dtype == "str":
        return cells.mask(cells.isna() | cells.str.strip().isin(MISSING), "")
    return cells.astype("object").where(cells.notna(), "")


def _read_path(field: str, cell: object, path: str) -> Any:
    return convert_mapped(field, value_at(cell, path)[1]) if isinstance(cell, dict) else None


def _read_nested(plan: ColumnPlan, raw: Mapping[str, pd.Series], labels: dict[str, str]) -> dict[str, pd.Series]:
    """Return the fields that are read from a record per row, and note which getter had a value first."""
    leaves = [(column, path) for column, path in plan.places.items() if len(path) > 1]
    values: dict[str, list[Any]] = {field: [] for field in plan.nested}
    for row in zip(*(_read_cells(raw[column]) for column in plan.places), strict=True):
        record = dict(zip(plan.places, row, strict=True))
        if leaves:
            record = nest_values(record, leaves)
        for field, getters in plan.nested.items():
            found = None
            for getter in getters:
                found = getter.read(record)
                if found is not None:
                    labels.setdefault(field, getter.label)
                    break
            values[field].append(repair_text(found) if isinstance(found, str) else found)
    return {field: pd.Series(column, dtype="object") for field, column in values.items()}


def _read_cells(cells: pd.Series) -> Iterator[Any]:
    """Yield the values of cells: objects parsed, and None for a missing value."""
    column = str(cells.name)
    for cell in cells.tolist():
        if isinstance(cell, str):
            if cell.strip() in MISSING:
                yield None
            else:
                value = parse_object(cell) if is_object_text(column, cell) else None
                yield cell if value is None else value
        elif isinstance(cell, (dict, list)):
            yield cell
        else:
            yield None if pd.isna(cell) else cell
