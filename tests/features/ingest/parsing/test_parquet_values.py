"""Unusual types of Parquet are read or explained, and never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.features.ingest.parsing.parquet_values import simplify
from tests.features.ingest.parsing.conftest import Fetched


def parquet(**columns: pa.Array) -> bytes:
    """Return a file with the columns."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue().to_pybytes()


WHEN = datetime(2021, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "values", "field", "result"),
    [
        ("forks", pa.array([Decimal(7)], pa.decimal128(10, 0)), "forks", 7),
        ("forks", pa.array([7.0]), "forks", 7),
        ("forks", pa.array([None], pa.null()), "forks", None),
        ("forks", pa.array([[7]]), "forks", None),
        ("forks", pa.array([{"totalCount": 7}]), "forks", 7),
        ("language", pa.array([b"Zig"]), "language", "Zig"),
        ("language", pa.array([b"\xff"]), "language", "\N{REPLACEMENT CHARACTER}"),
        ("language", pa.array(["Zig"]).dictionary_encode(), "language", "Zig"),
        ("language", pa.array(["Zig"], pa.large_string()), "language", "Zig"),
        ("language", pa.array([{"name": "Zig"}]), "language", "Zig"),
        ("language", pa.array([["Zig"]]), "language", None),
        ("created_at", pa.array([WHEN], pa.timestamp("us", "UTC")), "created_at", WHEN),
        ("created_at", pa.array([WHEN.replace(tzinfo=None)], pa.timestamp("ns")), "created_at", WHEN),
        ("created_at", pa.array([date(2021, 5, 6)]), "created_at", datetime(2021, 5, 6, tzinfo=UTC)),
        ("created_at", pa.array([7], pa.duration("s")), "created_at", None),
        ("created_at", pa.array([7], pa.time32("s")), "created_at", None),
        ("languages", pa.array([[("Zig", 5), ("C", 6)]], pa.map_(pa.string(), pa.int64())), "languages", 2),
        ("languages", pa.array([{"Zig": 5, "C": None}]), "languages", 1),
        ("topics", pa.array([["a", "b"]]), "topics", ["a", "b"]),
        ("topics", pa.array([["a", "b"]], pa.large_list(pa.string())), "topics", ["a", "b"]),
        ("topics", pa.array([{"list": [{"element": "a"}]}]), "topics", ["a"]),
        ("topics", pa.array([[{"name": "a"}]]), "topics", ["a"]),
        ("releases", pa.array([[{"prerelease": True}, {"prerelease": False}]]), "prereleases", 1),
    ],
)
def test_a_type_is_read_or_its_value_is_unknown(
    name: str, values: pa.Array, field: str, result: Any, fetch: Callable[..., Fetched]
) -> None:
    fetched = fetch("x.parquet", parquet(full_name=pa.array(["yew/one"]), stars=pa.array([3]), **{name: values}))

    assert fetched.ended.code == 0
    assert fetched.values(field) == [result]


def test_a_struct_with_two_children_of_one_name_is_explained(fetch: Callable[..., Fetched]) -> None:
    kind = pa.struct([pa.field("type", pa.string()), pa.field("type", pa.string())])
    owners = pa.StructArray.from_arrays([pa.array(["User"]), pa.array(["User"])], fields=list(kind))

    fetched = fetch("x.parquet", parquet(full_name=pa.array(["yew/one"]), stars=pa.array([3]), owner=owners))

    assert fetched.ended.code == 2
    assert ".parquet: the column 'owner' cannot be read" in fetched.ended.err


def test_values_become_those_of_json() -> None:
    value = {"at": WHEN, "n": float("nan"), "b": b"x", "list": [("a", 1)], "empty": []}

    assert simplify(value) == {"at": "2021-05-06T07:08:09+00:00", "n": None, "b": "x", "list": {"a": 1}, "empty": []}


@pytest.mark.parametrize("is_dictionary", [False, True])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_that_are_not_utf8_are_repaired(
    kind: pa.DataType, is_dictionary: bool, fetch: Callable[..., Fetched]
) -> None:
    """Databases that store any bytes as texts write them unchanged."""
    raw = pa.array([b"Zig", b"Caf\xe9"], pa.large_binary() if kind == pa.large_string() else pa.binary())
    column = raw.view(kind)
    if is_dictionary:
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), column)
    content = parquet(full_name=pa.array(["a/b", "c/d"]), stars=pa.array([1, 2]), language=column)

    fetched = fetch("bytes.parquet", content)

    assert fetched.ended.code == 0
    assert fetched.values("language") == ["Zig", "Caf\N{REPLACEMENT CHARACTER}"]
