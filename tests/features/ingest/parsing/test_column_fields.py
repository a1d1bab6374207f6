"""Objects in the cells of tables give the values that the same objects give in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from stargaze.features.ingest.parsing.column_fields import TableMapper
from tests.features.ingest.parsing.conftest import Fetched

OAK: dict[str, Any] = {
    "id": 41,
    "full_name": "oak/one",
    "stargazers_count": 12,
    "owner": {"login": "oak", "id": 7, "type": "Organization"},
    "license": {"key": "isc", "name": "ISC License", "spdx_id": "ISC"},
    "homepage": "https://oak.example",
    "mirror_url": None,
    "topics": ["parser", "zig"],
    "languages": {"Zig": 10, "C": 3},
    "contributors": ["x", "y", "z"],
    "defaultBranchRef": {"name": "trunk"},
    "primaryLanguage": {"name": "Zig"},
}
IVY: dict[str, Any] = {
    **OAK,
    "id": 42,
    "full_name": "ivy/two",
    "owner": {"login": "ivy", "id": 8, "type": "User"},
    "license": None,
    "homepage": None,
    "mirror_url": "git://ivy.example/two",
    "topics": [],
    "languages": {"Go": 5},
    "contributors": [],
    "primaryLanguage": None,
}
EXPECTED = {
    "full_name": ["ivy/two", "oak/one"],
    "owner_type": ["User", "Organization"],
    "owner_id": [8, 7],
    "license": [None, "isc"],
    "has_homepage": [0, 1],
    "is_mirror": [1, 0],
    "topics": [[], ["parser", "zig"]],
    "topic_count": [0, 2],
    "languages": [1, 2],
    "contributors": [0, 3],
    "default_branch": ["trunk", "trunk"],
    "language": [None, "Zig"],
}
FRAME = pd.DataFrame([OAK, IVY])


def with_json_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with each object as a text of JSON."""
    return frame.map(lambda value: json.dumps(value) if isinstance(value, (dict, list)) else value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("repr.csv", FRAME.to_csv(index=False)),
        ("repr-with-index.csv", FRAME.to_csv()),
        ("json.csv", with_json_texts(FRAME).to_csv(index=False)),
        ("repr.parquet", FRAME.map(lambda value: str(value) if isinstance(value, (dict, list)) else value)),
        ("json.parquet", with_json_texts(FRAME)),
        ("struct.parquet", FRAME),
        ("records.json", FRAME.to_json(orient="records")),
        (
            "flat.csv",
            pd.json_normalize([OAK, IVY]).drop(columns=["languages.Zig", "languages.C", "languages.Go"]).to_csv(),
        ),
    ],
)
def test_each_way_of_writing_objects_gives_the_same_values(
    name: str, content: str | pd.DataFrame, fetch: Callable[..., Fetched]
) -> None:
    fetched = fetch(name, content)

    lost = {"languages"} if name == "flat.csv" else set()
    assert fetched.ended.code == 0
    assert {field: fetched.values(field) for field in EXPECTED.keys() - lost} == {
        field: values for field, values in EXPECTED.items() if field not in lost
    }


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        ("a-b;c;d", ["a-b", "c", "d"]),
        ("'a,b'", ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("[{'name': 'a'}, {'name': 'b'}]", ["a", "b"]),
        ('{"nodes": [{"topic": {"name": "a"}}]}', ["a"]),
        ('{"names": ["a", "b"]}', ["a", "b"]),
        ("[]", []),
        ("{'x': 5}", None),
        ("[{'name': 'a'}, {'na", None),
    ],
)
def test_topics_are_read_in_all_spellings(topics: str, words: list[str] | None, fetch: Callable[..., Fetched]) -> None:
    table = pd.DataFrame({"full_name": ["oak/one"], "stars": [1], "topics": [topics]})

    assert fetch("x.csv", table.to_csv(index=False)).values("topics") == [words]


@pytest.mark.parametrize(
    "text",
    ["{'key': 'isc', 'na", "{'title': 'ISC'}", "[1, 2]", " {'key': [1]}", "{'key': {'key': 'isc'}}"],
)
@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_an_object_without_a_known_value_is_never_a_license(
    text: str, suffix: str, fetch: Callable[..., Fetched]
) -> None:
    table = pd.DataFrame({"full_name": ["oak/one"], "stars": [1], "license": [text], "language": [text]})
    content = {"csv": table.to_csv(), "json": table.to_json(orient="records"), "parquet": table}[suffix]

    fetched = fetch(f"x.{suffix}", content)

    assert fetched.values("stars") == [1]
    assert (fetched.values("license"), fetched.values("language")) == ([None], [None])
    assert "license" in fetched.ended.out


def test_a_column_may_have_objects_in_some_rows_only(fetch: Callable[..., Fetched]) -> None:
    content = """full_name,stars,license\noak/one,1,MIT\noak/two,2,"{'key': 'isc'}"\noak/x,3,\n"""

    assert fetch("x.csv", content).values("license") == ["mit", "isc", None]


def test_a_later_batch_may_be_the_first_with_objects() -> None:
    mapper = TableMapper(["full_name", "stars", "license"], {}, "x")
    names = pd.Series(["oak/one"], dtype="str", name="full_name")
    stars = pd.Series(["1"], dtype="str", name="stars")

    batches = [
        mapper.map_batch(
            {"full_name": names, "stars": stars, "license": pd.Series([text], dtype="str", name="license")}
        )
        for text in ("", "{'key': 'isc'}", "MIT")
    ]

    assert [batch["license"].iloc[0] for batch in batches[1:]] == ["isc", "MIT"]


def test_stars_may_be_inside_of_objects(fetch: Callable[..., Fetched]) -> None:
    content = """nameWithOwner,stargazers,watchers\noak/one,"{""totalCount"": 9}","{""totalCount"": 4}"\n"""

    fetched = fetch("x.csv", content)

    assert (fetched.values("stars"), fetched.values("subscribers")) == ([9], [4])


def test_braces_in_a_description_are_words(fetch: Callable[..., Fetched]) -> None:
    content = "full_name,stars,description,homepage\noak/one,1,{less} [WIP] css,https://x.example/{id}\n"

    fetched = fetch("x.csv", content)

    assert fetched.values("description") == ["{less} [WIP] css"]
    assert fetched.values("has_homepage") == [1]


def test_a_mapped_column_may_hold_objects(fetch: Callable[..., Fetched]) -> None:
    content = """repo,n,lic,people,tags\noak/one,1,"{'spdx_id': 'ISC'}","['x', 'y']","[{'name': 'a'}]"\n"""
    columns = 'full_name = "repo"\nstars = "n"\nlicense = "lic"\ncontributors = "people"\ntopics = "tags"'

    fetched = fetch("x.csv", content, columns)

    assert [fetched.values(field) for field in ("license", "contributors", "topics")] == [["isc"], [2], [["a"]]]


def test_node_ids_are_read_as_ids(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("x.csv", "id,full_name,stars\nR_kgDOE6LwKg,oak/one,1\n,oak/two,2\n")

    assert fetched.values("id") == [329445418, None]


def test_the_owner_of_a_database_is_a_number(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("x.csv", 'full_name,owner,stars,license,topics\noak/one,71,1,isc,"[""a""]"\noak/two,72,2,,[]\n')

    assert fetched.values("owner_id") == [71, 72]
    assert fetched.values("license") == ["isc", None]
    assert fetched.values("topics") == [["a"], []]


def test_nothing_is_a_mirror_or_has_a_homepage_without_a_url(fetch: Callable[..., Fetched]) -> None:
    table = pd.DataFrame({"full_name": ["oak/one", "oak/two"], "stars": [1, 2], "mirror_url": [None, float("nan")]})
    table["homepage"] = pd.Series([float("nan"), float("nan")])

    for fetched in (fetch("x.parquet", table), fetch("x.csv", table.to_csv(na_rep="nan"))):
        assert fetched.values("is_mirror") == [0, 0]
        assert fetched.values("has_homepage") == [0, 0]


def test_used_and_unused_columns_are_described() -> None:
    header = ["full_name", "stars", "owner", "license", "licenseInfo", "team", "stargazers_count"]
    mapper = TableMapper(header, {}, "x")
    cells = ["oak/one", "1", "{'type': 'User'}", "{'key': 'isc'}", "", "red", "5"]

    mapper.map_batch(
        {name: pd.Series([cell], dtype="str", name=name) for name, cell in zip(header, cells, strict=True)}
    )

    use = mapper.describe()
    assert use.fields == {
        "full_name": "full_name",
        "stars": "stars",
        "owner_type": "owner.type",
        "license": "license.key",
    }
    assert use.unused == (("team", ""), ("stargazers_count", "stars"))


@pytest.mark.parametrize("column", ["owner_login", "owner.login", "license.key", "license_spdx_id"])
def test_a_flattened_column_beside_the_object_is_read(column: str, fetch: Callable[..., Fetched]) -> None:
    """The object is seen only in the cells, after the columns to read were chosen."""
    rows = [f'{{"login": "oak", "type": "User"}}|{{"key": "isc"}}|oak/{i}|{i}|mit' for i in range(3)]
    cells = [[f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row.split("|")] for row in rows]
    header = f"owner,license,full_name,stars,{column}"

    fetched = fetch("oak.csv", "\n".join([header, *map(",".join, cells)]))

    assert fetched.values("owner_type") == ["User"] * 3
    assert fetched.values("license")[0] in ("isc", "mit")
