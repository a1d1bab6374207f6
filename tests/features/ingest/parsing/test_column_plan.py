"""Columns are found by mapping, name and flattened path; what is ambiguous is an error."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stargaze.errors import BadDataError
from stargaze.features.ingest.parsing.column_plan import Contents, plan_columns
from tests.features.ingest.parsing.conftest import Fetched


@pytest.mark.parametrize(
    ("header", "field", "column"),
    [
        (["license.key", "license.name", "license"], "license", "license.key"),
        (["license_key"], "license", "license_key"),
        (["license_spdx_id"], "license", "license_spdx_id"),
        (["owner.type"], "owner_type", "owner.type"),
        (["owner_id"], "owner_id", "owner_id"),
        (["owner.id"], "owner_id", "owner.id"),
        (["primaryLanguage.name"], "language", "primaryLanguage.name"),
        (["defaultBranchRef_name"], "default_branch", "defaultBranchRef_name"),
        (["homepage"], "has_homepage", "homepage"),
        (["has_homepage", "homepage"], "has_homepage", "has_homepage"),
        (["mirrorUrl"], "is_mirror", "mirrorUrl"),
        (["issues_total_count"], "issues", "issues_total_count"),
        (["id", "databaseId"], "id", "databaseId"),
    ],
)
def test_columns_of_other_tools_need_no_mapping(header: list[str], field: str, column: str) -> None:
    assert plan_columns(["full_name", "stars", *header], {}, "x").flat[field] == column


def test_a_column_of_owners_has_ids_only_if_its_cells_are_numbers() -> None:
    header = ["full_name", "stars", "owner"]

    assert "owner_id" not in plan_columns(header, {}, "x").flat
    assert plan_columns(header, {}, "x", Contents(numbers=frozenset({"owner"}))).flat["owner_id"] == "owner"


def test_a_path_into_a_column_of_objects_is_mapped(fetch: Callable[..., Fetched]) -> None:
    content = """name,meta\nyew/one,"{""score"": {""stars"": 6}}"\nyew/two,"{'score': {'stars': 7}}"\n"""

    fetched = fetch("x.csv", content, 'full_name = "name"\nstars = "meta.score.stars"')

    assert fetched.values("stars") == [6, 7]


def test_a_used_column_that_exists_twice_is_an_error_that_names_it(fetch: Callable[..., Fetched]) -> None:
    for columns, header in (("", "full_name,stars,forks,forks"), ('forks = "x"', "full_name,x,stars,x")):
        fetched = fetch("x.csv", f"{header}\nyew/one,1,2,3\n", columns)

        assert fetched.ended.code == 2
        assert f"the column '{header[-1] if columns else 'forks'}' exists 2 times" in fetched.ended.err
        assert fetched.table.empty


def test_an_unused_column_may_exist_twice(fetch: Callable[..., Fetched]) -> None:
    assert fetch("x.csv", "full_name,stars,note,note,,\nyew/one,1,2,3,4,5\n").values("stars") == [1]


@pytest.mark.parametrize(("name", "code"), [("stars", 2), ("note", 0)])
def test_columns_of_parquet_may_exist_twice_if_they_are_not_used(
    name: str, code: int, fetch: Callable[..., Fetched]
) -> None:
    arrays = [pa.array(["yew/one"]), pa.array([3]), pa.array([4]), pa.array([5])]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, ["full_name", "stars", name, name]), buffer)

    fetched = fetch("x.parquet", buffer.getvalue().to_pybytes())

    assert fetched.ended.code == code
    assert (f"the column '{name}' exists" in fetched.ended.err) == bool(code)


def test_ids_of_owners_are_not_the_first_part_of_a_name(fetch: Callable[..., Fetched]) -> None:
    for fetched in (
        fetch("x.csv", "owner,name,stars\n71,one,5\n88,two,6\n"),
        fetch("x.parquet", pd.DataFrame({"owner": [71], "name": ["one"], "stars": [5]})),
    ):
        assert fetched.ended.code == 2
        assert "owner has numbers, not logins" in fetched.ended.err


def test_a_single_login_of_digits_is_a_login(fetch: Callable[..., Fetched]) -> None:
    assert fetch("x.csv", "owner,name,stars\n360,one,5\n").values("full_name") == ["360/one"]


def test_a_missing_column_of_stars_is_an_error_for_an_empty_table() -> None:
    from stargaze.features.ingest.parsing.column_fields import TableMapper

    with pytest.raises(BadDataError, match="no column for stars"):
        TableMapper(["full_name", "stargazers"], {}, "x").check()
