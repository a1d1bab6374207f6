"""Columns of Parquet with values as in CSV or JSON: bytes as texts, categories as their values, structs and maps as objects."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from stargaze.errors import BadDataError
from stargaze.features.schema import LIST_FIELDS


def has_objects(name: str, kind: pa.DataType) -> bool:
    """Return whether a column has objects or lists; a list of topics or codes is none unless its items are objects."""
    if not pa.types.is_nested(kind):
        return False
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return name not in LIST_FIELDS or not is_list or pa.types.is_nested(kind.value_type)


def to_series(column: pa.Array, name: str, file: str) -> pd.Series:
    """Return a column of a file as a series of plain values; raise BadDataError if Python cannot represent them."""
    try:
        return _convert(column, name)
    except (ValueError, OverflowError, RecursionError) as error:  # pyarrow's errors of values are ValueErrors
        reason = str(error).split("\n")[0][:200]
        message = f"{file}: the column {name!r} cannot be read: {reason}"
        raise BadDataError(message, hint="write the file again without it, or with simpler values") from error


def _convert(column: pa.Array, name: str) -> pd.Series:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    is_nested = pa.types.is_nested(kind) and not (name in LIST_FIELDS and _is_plain_list(kind))
    if is_nested or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pd.Series([simplify(value) for value in column.to_pylist()], dtype="object", name=name)
    if is_text(kind) and not _is_valid(column):
        return _repair_texts(column, name)
    series = column.to_pandas(date_as_object=False)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    return pd.Series(series, name=name)


def _is_plain_list(kind: pa.DataType) -> bool:
    """Return whether values are lists of words or whole numbers, which pandas converts faster."""
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
        return False
    inner = kind.value_type
    return any(is_kind(inner) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer))


def is_text(kind: pa.DataType) -> bool:
    """Return whether values are texts."""
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_valid(texts: pa.Array) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _repair_texts(column: pa.Array, name: str) -> pd.Series:
    """Return texts of which some are not UTF-8, as databases that store any bytes write them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.cast(pa.large_binary()).take(column.indices)
    values = column.cast(pa.large_binary()).to_pylist()
    return pd.Series([value if value is None else value.decode(errors="replace") for value in values], name=name)


def simplify(value: Any) -> Any:
    """Return a value of Parquet as one of JSON: maps and BigQuery's lists as objects and lists, dates as texts.

    Examples
    --------
    >>> simplify({"list": [{"element": "cli"}]}), simplify([("Go", 3)]), simplify(date(2020, 1, 2))
    (['cli'], {'Go': 3}, '2020-01-02')
    """
    if isinstance(value, dict):
        items = value.get("list") if len(value) == 1 else None
        if isinstance(items, list):
            return [simplify(_only_value(item)) for item in items]
        return {key: simplify(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
            return {str(key): simplify(inner) for key, inner in value}
        return [simplify(inner) for inner in value]
    return _simplify_scalar(value)


def _simplify_scalar(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _only_value(item: Any) -> Any:
    """Return the value of an item of a list that BigQuery wrote as ``{"element": …}``."""
    return next(iter(item.values())) if isinstance(item, dict) and item and item.keys() <= {"element", "item"} else item
