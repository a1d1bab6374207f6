"""Exports of GitHub Search need no mapping, and their row numbers are not GitHub's ids."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.features.ingest.parsing.conftest import Fetched

HEADER = "id,name,isFork,mainLanguage,license,homepage,watchers,stargazers,totalIssues,languages,topics"
ROWS = """5,ash/one,false,Zig,ISC License,,7,70,4,"{""Zig"":900,""C"":8}",parser;zig;cli
6,ash/two,true,,,https://ash.example,8,80,5,,"""
CSV = f"{HEADER}\n{ROWS}\n"
RECORDS = [
    {
        "id": 5,
        "name": "ash/one",
        "isFork": False,
        "mainLanguage": "Zig",
        "watchers": 7,
        "stargazers": 70,
        "languages": {"Zig": 9, "C": 8},
    },
    {
        "id": 6,
        "name": "ash/two",
        "isFork": True,
        "mainLanguage": None,
        "watchers": 8,
        "stargazers": 80,
        "languages": {},
    },
]


@pytest.mark.parametrize("columns", ["", 'full_name = "name"\nstars = "stargazers"'])
def test_csv_is_read_with_and_without_a_mapping(columns: str, fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("results.csv", CSV, columns)

    assert fetched.values("full_name") == ["ash/one", "ash/two"]
    assert fetched.values("id") == [None, None]
    assert fetched.values("stars") == [70, 80]
    assert fetched.values("subscribers") == [7, 8]
    assert fetched.values("language") == ["Zig", None]
    assert fetched.values("languages") == [2, None]
    assert fetched.values("has_homepage") == [0, 1]
    assert fetched.values("issues") == [4, 5]


@pytest.mark.parametrize("columns", ["", 'full_name = "name"\nstars = "stargazers"'])
def test_json_is_read_with_and_without_a_mapping(columns: str, fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("results.json", json.dumps({"parameters": {}, "count": 2, "items": RECORDS}), columns)

    assert fetched.values("full_name") == ["ash/one", "ash/two"]
    assert fetched.values("id") == [None, None]
    assert fetched.values("stars") == [70, 80]
    assert fetched.values("languages") == [2, 0]


def test_a_table_with_github_s_names_is_not_taken_for_an_export_of_it(fetch: Callable[..., Fetched]) -> None:
    content = "id,full_name,name,isFork,mainLanguage,stargazers,stars\n31,ash/one,one,false,Zig,70,71\n"

    fetched = fetch("x.csv", content)

    assert fetched.values("id") == [31]
    assert fetched.values("stars") == [71]
