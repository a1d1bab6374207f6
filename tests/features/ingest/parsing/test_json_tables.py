"""Tables in JSON, in every orientation that pandas writes, have the same rows."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from stargaze.features.ingest.parsing.json_wrappers import unpack_records

FRAME = pd.DataFrame({"full_name": ["a/b", "c/d"], "stars": [5, 6], "topics": [["x"], None]}, index=[7, 3])
ROWS = [{"full_name": "a/b", "stars": 5, "topics": ["x"]}, {"full_name": "c/d", "stars": 6, "topics": None}]


@pytest.mark.parametrize("orient", ["columns", "index", "split", "records"])
def test_rows_of_a_frame_are_records(orient: Any) -> None:
    value = json.loads(FRAME.to_json(orient=orient))

    assert [record.value for record in unpack_records(value)] == ROWS


def test_columns_with_names_of_their_own_are_found_by_the_mapping() -> None:
    value = json.loads(FRAME.rename(columns={"full_name": "repo"}).to_json())

    records = [record.value for record in unpack_records(value, {"full_name": "repo", "stars": "stars"})]

    assert records == [{"repo": row["full_name"], "stars": row["stars"], "topics": row["topics"]} for row in ROWS]


@pytest.mark.parametrize(
    "value",
    [
        {"full_name": {"0": "a/b", "1": "c/d"}, "stars": {"0": 5}},
        {"full_name": {"0": "a/b"}, "stars": 5},
        {"nameWithOwner": "a/b", "stargazers": {"totalCount": 3}},
        {"owner": {"login": "a"}, "name": "b"},
        {},
    ],
)
def test_other_objects_are_one_record(value: Any) -> None:
    assert [record.value for record in unpack_records(value)] == [value]
