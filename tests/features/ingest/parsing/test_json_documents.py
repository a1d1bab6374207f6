"""Documents that follow each other are read one by one, in chunks of any size."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.errors import BadDataError
from stargaze.features.ingest.parsing import json_documents
from stargaze.features.ingest.parsing.json_documents import DocumentReader
from tests.features.ingest.parsing.conftest import Fetched


def read(text: str) -> list[object]:
    """Return the values of a text."""
    return list(DocumentReader(io.StringIO(text), "x.json").read_values())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", []),
        ('{"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('[{"a": 1}][{"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('[\n {"a": 1}\n]\n[\n {"a": 2}\n]\n', [{"a": 1}, {"a": 2}]),
        ('{\r\n"a": 1\r\n}\r\n\ufeff{"a": 2}', [{"a": 1}, {"a": 2}]),
        ("[] {} []", [{}]),
        ('\x1e{"a": 1}\n\x1e{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a": NaN, "b": [Infinity, 1]}', [{"b": [1]}]),
    ],
)
def test_documents_follow_each_other(text: str, values: list[object]) -> None:
    assert read(text) == values


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"a": 1},]', "Illegal trailing comma before end of list, line 1, column 11"),
        ('[{"a": 1},,{"a": 2}]', "Expecting value, line 1, column 11"),
        ('{"a": 1}\n{"a": 2}\nrubbish', "Expecting value, line 3, column 1"),
        ('{"a": 1}, {"a": 2}', "Expecting value, line 1, column 9"),
        ('[{"a": 1}]]', "Expecting value, line 1, column 11"),
        ('[{"a": 1}][{"a": ', "Expecting value, line 1, column"),
        ('{"a": 1}{"b": 2', "Expecting ',' delimiter, line 1, column 16"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_garbage_is_rejected_with_line_and_column(
    text: str, problem: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_documents, "CHUNK", chunk)

    with pytest.raises(BadDataError, match=problem) as caught:
        read(text)

    assert "x.json: broken JSON" in caught.value.message


ITEMS = st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=9), max_size=3))


@given(documents=st.lists(ITEMS, max_size=5), chunk=st.integers(1, 30), between=st.sampled_from(["", "\n", " \r\n"]))
def test_chunks_of_any_size_give_the_same_values(documents: list[list[Any]], chunk: int, between: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_documents, "CHUNK", chunk)
        values = read(between.join(json.dumps(document, indent=chunk % 3 or None) for document in documents))

    assert values == [item for document in documents for item in document]


def test_the_list_of_a_large_response_is_read_item_by_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "MAX_VALUE", 4000)
    monkeypatch.setattr(json_documents, "CHUNK", 500)
    items = [{"name": f"o/r{i}", "stargazers": i} for i in range(500)]
    text = json.dumps({"parameters": {"language": "Zig"}, "count": 500, "items": items, "end": [1]})

    assert read(text + text) == items * 2


def test_a_large_object_without_a_list_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "MAX_VALUE", 4000)
    monkeypatch.setattr(json_documents, "CHUNK", 500)

    for text in ('{"a": "' + "x" * 9000 + '"}', '{"items": [1], "b": "' + "x" * 9000 + '"}'):
        with pytest.raises(BadDataError, match="one JSON value of more than"):
            read(text)


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_number_of_documents() -> None:
    text = json.dumps([{"full_name": "o/r", "stars": 1, "words": "x" * 500}] * 1000)
    stream = io.StringIO(text * 40)

    tracemalloc.start()
    count = sum(1 for _ in DocumentReader(stream, "x").read_values())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 40_000
    assert peak < 12 * json_documents.CHUNK


def test_pages_of_a_paginated_call_are_fetched(fetch: Callable[..., Fetched]) -> None:
    pages = [
        {"total_count": 3, "items": [{"id": i, "full_name": f"oak/r{i}", "stargazers_count": i}]} for i in (1, 2, 3)
    ]

    fetched = fetch("pages.json", "".join(map(json.dumps, pages)))

    assert fetched.values("full_name") == ["oak/r1", "oak/r2", "oak/r3"]


def test_lists_of_a_paginated_call_are_fetched(fetch: Callable[..., Fetched]) -> None:
    pages = [[{"full_name": f"oak/r{i}", "stargazers_count": i}] for i in (1, 2)]

    fetched = fetch("pages.json", "".join(json.dumps(page, indent=2) for page in pages))

    assert fetched.values("stars") == [1, 2]


def test_what_python_writes_for_an_unknown_value_is_not_known(fetch: Callable[..., Fetched]) -> None:
    record = {"full_name": "oak/r", "stargazers_count": 4, "mirror_url": float("nan"), "homepage": float("nan")}
    other = {"full_name": "oak/s", "stargazers_count": 5, "language": float("inf"), "topics": ["a", float("nan")]}

    fetched = fetch("frame.json", json.dumps([record, other]))

    assert fetched.values("is_mirror") == [None, None]
    assert fetched.values("has_homepage") == [None, None]
    assert fetched.values("topics") == [None, ["a"]]


@pytest.mark.parametrize("key", ["topics", "description", "language", "license", "default_branch", "x\\udc00"])
def test_half_a_character_anywhere_does_not_stop_the_file(key: str, fetch: Callable[..., Fetched]) -> None:
    half = '["web", "\\ud83d"]' if key == "topics" else '"half \\ud83d"'

    fetched = fetch(
        "x.json", f'[{{"full_name": "oak/r", "stars": 4, "{key}": {half}}}, {{"full_name": "oak/s", "stars": 5}}]'
    )

    assert fetched.ended.code == 0
    assert fetched.values("stars") == [4, 5]


def test_half_a_character_in_a_name_refuses_the_record(fetch: Callable[..., Fetched]) -> None:
    fetched = fetch("x.json", '[{"full_name": "oak/\\ud83d", "stars": 4}, {"full_name": "oak/s", "stars": 5}]')

    assert fetched.values("stars") == [5]
    assert "1 invalid record" in fetched.ended.out
