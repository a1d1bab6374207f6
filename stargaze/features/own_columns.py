"""Own columns: columns of the user's files that are features, with their declaration in Parquet files and in bundles.

Files of repositories declare them in the metadata of their schema, bundles in their description. GitHub knows nothing of them, so
they are missing in live look-ups and in entered figures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.config import OWN_KINDS, POLICIES
from stargaze.features import schema

OwnKind = Literal["number", "flag", "category"]
MAX_COLUMNS = 100
MAX_NAME = 100
"""Length of a name [characters]."""
MAX_NUMBER = 1e15
"""Largest absolute value of a number: models compute with 32 bits, and none of their sums may become infinite."""
MAX_TEXT = 255
"""Length of a category's value [characters]."""
RESERVED = frozenset({"owner", "name", "text", "unknown", "self"})
"""Names with a meaning of their own: the parts of full_name, groups of factors, and an argument of pandas."""
PREFIX = "__"
"""The first characters of random probes."""
METADATA = b"stargaze.own_columns"
"""The key in the metadata of a Parquet file."""
DTYPES = {"number": "float64", "flag": "float64", "category": "str"}


@dataclass(frozen=True)
class OwnColumn:
    """An own column: its name in the user's files, its kind, and the first policy that may use it.

    Raise ValueError if one of them is not valid.
    """

    name: str
    kind: OwnKind
    policy: Literal["static", "activity", "all"]

    def __post_init__(self) -> None:
        if problem := find_name_problem(self.name):
            raise ValueError(problem)
        if self.kind not in OWN_KINDS:
            raise ValueError(f"the kind of an own column is not one of {', '.join(OWN_KINDS)}")
        if self.policy not in POLICIES:
            raise ValueError(f"the policy of an own column is not one of {', '.join(POLICIES)}")


def find_name_problem(name: object) -> str:
    """Return why an own column cannot have this name, as far as other own columns and features do not matter; or nothing.

    >>> find_name_problem("score"), find_name_problem("forks")
    ('', 'forks is a field of a repository')
    """
    if not isinstance(name, str) or not name or len(name) > MAX_NAME:
        return f"the name of an own column is not a text of 1 to {MAX_NAME} characters"
    if not name.isprintable() or name != name.strip():
        return "the name of an own column has characters that cannot be printed, or blanks at an end"
    if name in schema.FIELD_BY_NAME:
        return f"{name} is a field of a repository"
    if name in RESERVED or name.startswith(PREFIX):
        return f"{name} is a name that stargaze uses itself"
    return ""


def parse_own_columns(value: Any) -> tuple[OwnColumn, ...]:
    """Return the columns of a declaration; raise ValueError if it is malformed, declares a name twice or too many."""
    if not isinstance(value, list) or len(value) > MAX_COLUMNS:
        raise ValueError(f"own_columns is not a list of at most {MAX_COLUMNS} columns")
    keys = {field.name for field in fields(OwnColumn)}
    if not all(isinstance(item, dict) and set(item) == keys for item in value):
        raise ValueError(f"own_columns has an entry without exactly {', '.join(sorted(keys))}")
    columns = tuple(OwnColumn(**item) for item in value)
    if len({column.name for column in columns}) != len(columns):
        raise ValueError("own_columns contains a name twice")
    return columns


def declare_own_columns(columns: Sequence[OwnColumn]) -> list[dict[str, str]]:
    """Return the declaration that :func:`parse_own_columns` reads."""
    return [asdict(column) for column in columns]


def conform(frame: pd.DataFrame, columns: Sequence[OwnColumn]) -> pd.DataFrame:
    """Return the columns of the schema and the own columns, in their dtypes; absent ones are filled with missing values.

    Raise ValueError or TypeError if a value is none of its column.

    Examples
    --------
    >>> frame = pd.DataFrame({"full_name": ["a/b"], "score": [2]})
    >>> conform(frame, [OwnColumn("score", "number", "all")])["score"].tolist()
    [2.0]
    """
    repositories = schema.conform(frame)
    if not columns:
        return repositories
    own = {column.name: _cast(frame, column) for column in columns}
    return pd.concat([repositories, pd.DataFrame(own, index=frame.index)], axis=1)


def read_values(repositories: pd.DataFrame, column: OwnColumn) -> pd.Series:
    """Return the values of an own column, missing where the repositories have no such column or one of another kind."""
    try:
        values: pd.Series = repositories[column.name]
    except KeyError:  # from GitHub, or entered
        return pd.Series(np.nan, index=repositories.index, dtype=DTYPES[column.kind])
    if column.kind == "category":
        return values if values.dtype == "str" else values.map(lambda value: value if isinstance(value, str) else None)
    return values if values.dtype == "float64" else pd.to_numeric(values, errors="coerce").astype("float64")


def write_repositories_file(path: Path, repositories: pd.DataFrame, columns: Sequence[OwnColumn]) -> None:
    """Write repositories to a Parquet file, which declares their own columns if there are any."""
    if not columns:
        repositories.to_parquet(path, compression="zstd", index=False)
        return
    table = pa.Table.from_pandas(repositories, preserve_index=False)
    declared = {METADATA: json.dumps(declare_own_columns(columns)).encode()}
    pq.write_table(
        table.replace_schema_metadata({**(table.schema.metadata or {}), **declared}), path, compression="zstd"
    )


def read_own_columns(path: Path) -> tuple[OwnColumn, ...]:
    """Return the own columns that a Parquet file declares; raise ValueError or OSError if it cannot be read."""
    declared = (pq.read_schema(path).metadata or {}).get(METADATA)
    if declared is None:
        return ()
    try:
        return parse_own_columns(json.loads(declared))
    except RecursionError as error:
        raise ValueError("the declaration of own columns is nested too deeply") from error


def _cast(frame: pd.DataFrame, column: OwnColumn) -> pd.Series:
    if column.name not in frame.columns:
        return pd.Series(np.nan, index=frame.index, dtype=DTYPES[column.kind])
    values = frame[column.name]
    if column.kind == "category":
        if not all(isinstance(value, str) and len(value) <= MAX_TEXT for value in values.dropna()):
            raise ValueError(f"a value of {column.name} is not a text of at most {MAX_TEXT} characters")
        return values.astype("str")
    if values.dtype.kind not in "iuf":
        raise ValueError(f"{column.name} does not contain numbers")
    numbers = values.astype("float64")
    known = numbers.dropna()
    if column.kind == "flag" and not known.isin((0.0, 1.0)).all():
        raise ValueError(f"a value of {column.name} is neither 0 nor 1")
    if (known.abs() > MAX_NUMBER).any():
        raise ValueError(f"a value of {column.name} is larger than {MAX_NUMBER:g}")
    return numbers
