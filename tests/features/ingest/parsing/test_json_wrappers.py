"""Records are found in the wrappers of responses and exports, and GitHub's errors are counted once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.parsing.json_wrappers import unpack_records
from tests.features.ingest.parsing.conftest import Fetched

A: dict[str, Any] = {"full_name": "elm/one", "stargazers_count": 3}
B: dict[str, Any] = {"nameWithOwner": "elm/two", "stargazerCount": 4}
USER = {"login": "elm", "followers": {"nodes": [{"login": "x"}]}, "repositories": {"nodes": []}}
ERROR = "GitHub responded with an error"
KEYS = (
    *("nodes", "edges", "node", "row", "_source", "repo", "repository", "repositories", "items", "data", "errors"),
    *("path", "columns", "meta", "rows", "full_name", "nameWithOwner", "name", "owner", "stargazers"),
    *("stargazers_count", "other"),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["", "elm/one", "elm", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)


def unpacked(value: object, columns: dict[str, str] | None = None) -> list[object]:
    """Return the records, or the reasons where there are none."""
    return [record.reason or record.value for record in unpack_records(value, columns)]


@pytest.mark.parametrize(
    ("value", "records"),
    [
        ({"data": [A, A]}, [A, A]),
        ({"repositories": [A, B]}, [A, B]),
        ({"total": 2, "my export": [A, B], "tags": ["x"]}, [A, B]),
        ({"parameters": {}, "count": 1, "items": [A]}, [A]),
        ([{"starred_at": "2024-01-01", "repo": A}], [A]),
        ({"starred_at": "2024-01-01", "repo": A}, [A]),
        ([{"repository": A, "path": "x"}], [A]),
        ([[A], [B]], [A, B]),
        ([{"items": [A]}, {"items": [B]}], [A, B]),
        ([{"data": {"search": {"nodes": [A]}}}, {"data": {"search": {"nodes": [B]}}}], [A, B]),
        ({"data": {"user": {"repositories": [A, B]}}}, [A, B]),
        ({"data": {"user": {"starredRepositories": {"edges": [{"starredAt": "x", "node": B}]}}}}, [B]),
        ({"edges": [{"node": B}, {"node": None}]}, [B, None]),
        ({"first": [A], "second": [B]}, [A, B]),
        ({"categories": [{"title": "x", "projects": [A]}, {"title": "y", "projects": [B], "links": ["z"]}]}, [A, B]),
        ([{"login": "x", "starred": [A]}, {"login": "y", "starred": [B]}], [A, B]),
        ({"result": {"payload": {"list": [A, B]}, "tags": [{"name": "x"}]}}, [A, B]),
        ({"took": 1, "hits": {"total": 2, "hits": [{"_id": "1", "_source": A}, {"_id": "2", "_source": B}]}}, [A, B]),
        ({"features": [], "rows": [{"row_idx": 0, "row": A}]}, [A]),
        ({"rows": [["elm/one", 3]], "columns": ["full_name", "stargazers_count"]}, [A]),
        ({"meta": [{"name": "full_name"}, {"name": "stargazers_count"}], "data": [["elm/one", 3]]}, [A]),
        ({"full_name": ["elm/one"], "stargazers_count": [3]}, [A]),
        ({"elm/one": {"stargazers_count": 3}}, [A]),
        ({"data": {"elm/one": A, "elm/two": B}}, [A, B]),
        ({"data": {"viewer": {"lists": {"nodes": [{"name": "x", "items": {"nodes": [B, B]}}]}}}}, [B, B]),
        ({"data": {"search": {"nodes": [USER, {**USER, "repositories": {"nodes": [B, None]}}]}}}, [B, None]),
        ({"data": {"search": {"nodes": [{"title": "x", "repository": B, "labels": {"nodes": [{"name": "y"}]}}]}}}, [B]),
        ({**A, "items": [1], "data": 2}, [{**A, "items": [1], "data": 2}]),
        ([[[[[[A]]]]]], [[A]]),
    ],
)
def test_records_are_found(value: object, records: list[object]) -> None:
    assert unpacked(value) == records


def test_a_record_with_names_of_its_own_is_known_by_the_mapping() -> None:
    record = {"slug": "elm/one", "items": [A], "repo": {"x": 1}}

    assert unpacked(record) == [A]
    assert unpacked(record, {"full_name": "slug"}) == [record]
    assert unpacked([record], {"full_name": "slug"}) == [record]
    assert unpacked([record], {"owner": "org", "name": "slug"}) == [A]
    assert unpacked([{**record, "org": "elm"}], {"owner": "org", "name": "slug"}) == [{**record, "org": "elm"}]


@pytest.mark.parametrize(
    ("value", "records"),
    [
        (
            {"data": None, "errors": [{"message": "slow down"}, {"message": "stop"}]},
            [f"{ERROR}: 'slow down'", f"{ERROR}: 'stop'"],
        ),
        (
            {"errors": [{"resource": "Search", "code": "invalid"}], "message": "Validation Failed"},
            [f"{ERROR}: 'Validation Failed'"],
        ),
        ({"errors": "out of order"}, [f"{ERROR}: 'out of order'"]),
        ({"data": {"a": None, "b": B}, "errors": [{"path": ["a"], "message": "gone"}]}, [B, f"{ERROR} at 'a': 'gone'"]),
        (
            {"data": {"nodes": [None, B]}, "errors": [{"path": ["nodes", 0], "message": "gone"}]},
            [f"{ERROR} at 'nodes.0': 'gone'", B],
        ),
        (
            {
                "data": {"search": {"edges": [{"node": B}, {"node": None}]}},
                "errors": [{"path": ["search", "edges", 1, "node", "id"]}],
            },
            [B, f"{ERROR} at 'search.edges.1.node.id': a dict"],
        ),
        ({"data": {"nodes": [None, B, None]}, "errors": [{"message": "gone"}]}, [f"{ERROR}: 'gone'", B, None]),
        ({"data": {"b": B}, "errors": [{"path": ["b", "owner"], "message": "hidden"}]}, [B]),
        ({"data": {"b": B}, "errors": [{"path": [{"x": []}], "message": 7}]}, [B, f"{ERROR} at 'a dict': 7"]),
        ({"data": None}, ["data is null instead of records"]),
        ({"data": "soon"}, ["data is 'soon' instead of records"]),
    ],
)
def test_each_error_of_github_is_one_invalid_record(value: object, records: list[object]) -> None:
    assert unpacked(value) == records


@given(VALUES | st.lists(VALUES, max_size=3).map(lambda nodes: {"data": {"search": {"nodes": nodes}}}))
def test_any_json_of_known_keys_has_records_or_reasons(value: Any) -> None:
    for record in unpack_records(value):
        if not record.reason:
            with contextlib.suppress(BadDataError):
                map_record(record.value)


@pytest.mark.parametrize("repositories", [[1, 2], [[]], "elm/one", {"nodes": 3}])
def test_a_node_whose_repositories_are_no_objects_is_a_record(repositories: object) -> None:
    node = {"repositories": repositories}

    assert unpacked({"data": {"search": {"nodes": [node, B]}}}) == [node, B]


@pytest.mark.parametrize("key", ["data", "items", "repo"])
def test_wrappers_of_wrappers_end_somewhere(key: str) -> None:
    value: object = [A]
    for _ in range(400):
        value = [{key: value}]

    assert len(unpacked(value)) == 1


def test_lists_of_records_with_names_of_their_own_are_found_by_the_mapping() -> None:
    records = [{"slug": "elm/one"}, {"slug": "elm/two"}]

    assert unpacked({"page": 1, "hits": records}, {"full_name": "slug"}) == records
    assert unpacked({"data": {"hits": records}}, {"full_name": "slug"}) == records


def test_a_path_of_a_million_keys_is_no_problem() -> None:
    answer = {"data": {"b": B}, "errors": [{"path": ["b"] * 1_000_000, "message": "x"}]}

    assert unpacked(answer) == [B]


def test_a_partial_response_is_fetched_with_githubs_words(fetch: Callable[..., Fetched]) -> None:
    error = {"type": "NOT_FOUND", "path": ["r1"], "message": "Could not resolve elm/none"}

    fetched = fetch(
        "answer.json",
        json.dumps({"data": {"r0": B, "r1": None, "r2": {**B, "nameWithOwner": "elm/c"}}, "errors": [error]}),
    )

    assert fetched.values("full_name") == ["elm/c", "elm/two"]
    assert "at 'r1': 'Could not resolve elm/none'" in fetched.ended.out


def test_an_error_inside_of_a_record_explains_the_missing_values(fetch: Callable[..., Fetched]) -> None:
    records = {"r0": {**B, "owner": None, "description": "x"}, "r1": {"nameWithOwner": "elm/c", "stargazerCount": None}}
    errors = [
        {"path": ["r0", "owner"], "message": "owner is hidden"},
        {"path": ["r1", "stargazerCount"], "message": "too many stars"},
    ]

    fetched = fetch("answer.json", json.dumps({"data": records, "errors": errors}))

    assert fetched.values("full_name") == ["elm/two"]
    assert "at 'r0.owner': 'owner is hidden'" in fetched.ended.out
    assert (
        "stars is unknown (GitHub responded with an error at 'r1.stargazerCount': 'too many stars')"
        in fetched.ended.out
    )


def test_stars_of_a_user_are_fetched(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("starred.json", json.dumps([{"starred_at": "2024-01-01T00:00:00Z", "repo": A}]))

    assert fetched.values("stars") == [3]


def test_texts_of_numbers_and_flags_are_read_as_in_csv(fetch: Callable[..., Fetched]) -> None:
    record = {"full_name": "elm/one", "stargazers_count": "31", "archived": "true", "fork": "0", "size": "12"}

    fetched = fetch("texts.json", json.dumps([record]))

    assert [fetched.values(name) for name in ("stars", "is_archived", "is_fork", "size_kb")] == [[31], [1], [0], [12]]


@pytest.mark.parametrize(
    ("value", "records"),
    [
        ({"status": 200, "headers": {}, "data": A}, [A]),
        ({"data": {"total": 2, "repos": [{"slug": "elm/six"}]}}, [{"slug": "elm/six"}]),
        ({"data": {"rateLimit": {"cost": 1}}}, ["data has no repositories"]),
        ({"data": {"search": {"repositoryCount": 0, "nodes": []}}}, []),
        ({"data": {"repositories": []}}, []),
    ],
)
def test_data_never_disappears_unless_it_has_an_empty_list(value: object, records: list[object]) -> None:
    assert unpacked(value) == records
