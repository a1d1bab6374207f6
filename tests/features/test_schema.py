"""Every frame is converted to the same columns, order and dtypes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from stargaze.features import schema
from stargaze.features.schema import DTYPES, FIELD_BY_NAME, FIELDS, Field, conform, empty


def test_every_field_has_a_unique_name() -> None:
    assert len(FIELD_BY_NAME) == len(FIELDS)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_is_documented(field: Field) -> None:
    assert field.meaning
    assert field.kind in DTYPES
    assert field.maximum > 0


def test_conforming_again_changes_nothing() -> None:
    frame = conform(pd.DataFrame({"full_name": ["a/b"], "stars": [3], "created_at": ["2020-01-01"], "x": [1]}))

    assert_frame_equal(conform(frame), frame)
    assert list(frame) == list(FIELD_BY_NAME)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_an_empty_frame_has_every_column_and_only_missing_values(rows: int) -> None:
    frame = empty(rows)

    assert frame.shape == (rows, len(FIELDS))
    assert frame.isna().all(axis=None)


@pytest.mark.thorough
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_missing_column_has_the_dtype_of_an_existing_one(field: Field) -> None:
    value = {"date": "2020-01-01", "list": ["a"], "text": "x", "category": "x"}.get(field.kind, 1)

    existing = conform(pd.DataFrame({field.name: [value, None]}))[field.name]

    assert existing.dtype == empty(2)[field.name].dtype
    assert existing.isna().tolist() == [False, True]


def test_the_index_is_kept() -> None:
    assert conform(pd.DataFrame({"stars": [1, 2]}, index=[7, 9])).index.tolist() == [7, 9]


def test_a_frame_survives_writing_and_reading(tmp_path: object) -> None:
    frame = conform(
        pd.DataFrame({"id": [2**40, None], "full_name": ["a/b", None], "stars": [1, np.nan], "topics": [["x"], None]})
    )
    path = f"{tmp_path}/x.parquet"
    frame.to_parquet(path)

    again = schema.conform(pd.read_parquet(path))

    assert_frame_equal(again.drop(columns="topics"), frame.drop(columns="topics"))
    assert [None if value is None else list(value) for value in again["topics"]] == [["x"], None]
