"""Pages, lists, lines and responses of GitHub become one stream of records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features.ingest import json_records
from stargaze.features.ingest.json_records import RecordAt, read_records
from stargaze.features.ingest.open_file import open_source
from stargaze.features.ingest.parsing import json_documents
from stargaze.features.ingest.parsing.json_wrappers import unpack_records

A: dict[str, Any] = {"full_name": "a/b", "stars": 1}
B: dict[str, Any] = {"nameWithOwner": "c/d", "stargazerCount": 2}


def stream(path: Path, content: str | bytes) -> list[RecordAt]:
    """Write a file and return its records."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with open_source(path) as source:
        return list(read_records(source))


@pytest.mark.parametrize(
    ("answer", "inside"),
    [
        (A, [A]),
        ([A, B], [A, B]),
        ({"total_count": 2, "items": [A, B]}, [A, B]),
        ({"data": {"search": {"edges": [{"node": B}, {"node": None}, None]}}}, [B, None, None]),
        ({"data": {"search": {"nodes": [B, None]}}, "errors": [{"message": "x"}]}, [B, None]),
        ({"data": {"nodes": [B]}}, [B]),
        ({"data": {"repository": B}}, [B]),
        ({"data": {"repository": None}, "errors": []}, [None]),
        ({"data": {"first": B, "second": B, "rateLimit": {"cost": 1}}}, [B, B]),
        ({"data": {"viewer": {"repositories": {"pageInfo": {}, "nodes": [B]}}}}, [B]),
        ({"nodes": [B]}, [B]),
        ({"full_name": "a/b", "items": [1]}, [{"full_name": "a/b", "items": [1]}]),
        ({"message": "Not Found"}, [{"message": "Not Found"}]),
        (None, [None]),
        (3, [3]),
    ],
)
def test_each_shape_is_unpacked(answer: object, inside: list[object]) -> None:
    assert [record.value for record in unpack_records(answer)] == inside


def test_an_error_response_is_an_invalid_record_with_githubs_message(tmp_path: Path) -> None:
    answer = json.dumps({"data": None, "errors": [{"message": "API rate limit exceeded"}]})

    assert stream(tmp_path / "x", answer) == [(1, None, "GitHub responded with an error: 'API rate limit exceeded'")]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_page_may_have_one_line_or_many(tmp_path: Path, indent: int | None) -> None:
    assert stream(tmp_path / "x", json.dumps({"items": [A, B]}, indent=indent)) == [(1, A, ""), (2, B, "")]


def test_a_list_may_contain_pages(tmp_path: Path) -> None:
    assert [value for _, value, _ in stream(tmp_path / "x", json.dumps([{"items": [A]}, {"items": [B]}]))] == [A, B]


def test_a_broken_line_is_an_invalid_record_and_the_others_are_read(tmp_path: Path) -> None:
    records = stream(tmp_path / "x", json.dumps(A) + '\n{"full_name": \n\n' + json.dumps(B) + "\n")

    assert [(line, value) for line, value, _ in records] == [(1, A), (2, None), (4, B)]
    assert records[1][2] == "Expecting value, column 14"


def test_a_line_of_a_hundred_thousand_levels_is_an_invalid_record(tmp_path: Path) -> None:
    records = stream(tmp_path / "x.jsonl", '{"a":' * 100_000 + "\n" + json.dumps(A))

    assert records == [(1, None, "nested too deeply"), (2, A, "")]


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "[{}," + "[" * 100_000])
def test_a_document_of_a_hundred_thousand_levels_is_rejected(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadDataError, match="nested too deeply"):
        stream(tmp_path / "x", content)


@pytest.mark.parametrize(
    ("content", "position"),
    [
        ('{"items": [\n  {"full_name" 3}]}', "line 2, column 16"),
        ('[{"full_name": "a/b"},\n\n {"full_name": nothing}]', "line 3, column 16"),
        ('[{"full_name": "a/b"}', "line 1"),
        ('[{"full_name": "a/b"}, {"full_', "line 1, column 25"),
        ('[{"full_name": "a/b"} {"x": 1}]', "line 1, column 22"),
        ('[{"full_name": "a/b"}][}', "line 1, column 24"),
        ('{"full_name": "a/b"} x', "line 1, column 22"),
        ("[", "line 1"),
    ],
)
def test_broken_json_is_rejected_with_line_and_column(tmp_path: Path, content: str, position: str) -> None:
    with pytest.raises(BadDataError, match=position) as caught:
        stream(tmp_path / "x", content)

    assert caught.value.hint


@pytest.mark.parametrize("digits", [30, 10_000])
def test_a_number_of_thousands_of_digits_does_not_stop_the_file(tmp_path: Path, digits: int) -> None:
    records = stream(tmp_path / "x", f'[{{"stars": {"9" * digits}}}, {{"stars": 1}}]')

    assert [value["stars"] for _, value, _ in records if isinstance(value, dict)][1] == 1


def test_a_value_larger_than_the_limit_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_records, "MAX_VALUE", 1000)
    monkeypatch.setattr(json_documents, "MAX_VALUE", 1000)

    for content in (
        '{"a": "' + "x" * 2000 + '"}',
        '{"a": 1}\n{"a": "' + "x" * 2000 + '"}',
        '[{"a": "' + "x" * 2_000_000,
    ):
        with pytest.raises(BadDataError):
            stream(tmp_path / "x", content)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**15), 10**15), st.text(max_size=30)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
)


@pytest.mark.thorough
@settings(deadline=None)
@given(
    items=st.lists(VALUES.filter(lambda value: not isinstance(value, (dict, list))), max_size=30),
    chunk=st.integers(2, 40),
)
def test_a_list_is_read_in_chunks_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], chunk: int
) -> None:
    """A chunk may end within a number, a word or an escape sequence."""
    path = tmp_path_factory.mktemp("lists") / "x.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_documents, "CHUNK", chunk)
        records = stream(path, json.dumps([{"full_name": item} for item in items], indent=1) + "\n")

    assert [value for _, value, _ in records] == [{"full_name": item} for item in items]


@settings(deadline=None)
@given(VALUES)
def test_any_json_is_a_stream_of_values_or_rejected(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("any") / "x.json"

    try:
        records = stream(path, json.dumps([value]))
    except BadDataError:
        return
    assert [position for position, _, _ in records] == list(range(1, len(records) + 1))
