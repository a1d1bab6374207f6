"""Objects in cells are parsed without running code, in linear time; anything else is no object."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.features.ingest.parsing import object_text
from stargaze.features.ingest.parsing.object_text import is_object_text, parse_object, repair_text, split_words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"spdx_id": "ISC"}', {"spdx_id": "ISC"}),
        (
            "{'spdx_id': 'ISC', 'url': None, 'fork': True, 'x': False}",
            {"spdx_id": "ISC", "url": None, "fork": True, "x": False},
        ),
        ('[{"a": 1}, 2]', [{"a": 1}, 2]),
        ("[('Zig', 5), ('C', 6)]", [["Zig", 5], ["C", 6]]),
        ("{'n': array([{'name': 'x'}], dtype=object)}", {"n": [{"name": "x"}]}),
        ("{'at': Timestamp('2021-05-06 07:08:09+0000', tz='UTC')}", {"at": "2021-05-06 07:08:09+0000"}),
        ("{'at': datetime.datetime(2021, 5, 6, 7, 8, tzinfo=datetime.timezone.utc)}", {"at": "2021-05-06T07:08:00"}),
        ("{'at': datetime.date(2021, 5, 6)}", {"at": "2021-05-06T00:00:00"}),
        ("{'a': nan, 'b': inf, 'c': NaT, 'd': 1.5}", {"d": 1.5}),
        ('{"a": NaN}', {}),
        ("{'it\\'s': \"say \\\"hi\\\"\", 'tab': '\\t\\x41\\u00e9'}", {"it's": 'say "hi"', "tab": "\tA\u00e9"}),
        ("{'n': np.int64(5), 'x': np.float64(nan), 'f': np.True_, 's': np.str_('y')}", {"n": 5, "f": True, "s": "y"}),
        ("{'n': Decimal('1.5')}", {"n": "1.5"}),
        ("{'nan': 'None, True'}", {"nan": "None, True"}),
    ],
)
def test_json_and_python_reprs_are_parsed(text: str, value: object) -> None:
    assert parse_object(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "", "12", '"text"', "{", "{'a': 'b", "{'a': 1", "[1, 2", "{'a': b}", "{a: 1}", "{'a': 1} x"),
        *("{'a': __import__('os').getcwd()}", "[x for x in y]", "{'a': 1 + 1}", "{'a': f'{b}'}"),
    ],
)
def test_anything_else_is_no_object(text: str) -> None:
    assert parse_object(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 1_000_000, "{'a':" * 300_000, '{"a":' * 300_000, "{" + '"\\"' * 300_000, "{'" + "\\'" * 500_000),
        *("{" + "Timestamp('x' " * 90_000, "{" + "array(" * 300_000, "{" + "] " * 500_000, "{" + "'" * 999_999),
        "{" + "datetime.datetime(1, 2, 3 " * 90_000,
    ],
    ids=lambda text: text[:16],
)
def test_a_hostile_cell_takes_linear_time(text: str) -> None:
    begin = time.process_time()

    assert parse_object(text) is None
    assert time.process_time() - begin < 10


def test_a_cell_beyond_the_limit_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_text, "MAX_OBJECT", 10)

    assert parse_object('{"a": 1}') == {"a": 1}
    assert parse_object('{"a": 1234567}') is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(VALUES, max_size=3) | st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_python_and_json_write_is_read_again(value: Any) -> None:
    expected = json.loads(json.dumps(value))

    assert parse_object(json.dumps(value)) == expected
    assert parse_object(repr(value)) == expected


@given(st.text(alphabet="{}[]()'\"\\,: aNone1", max_size=40))
def test_no_text_is_a_crash(text: str) -> None:
    assert parse_object(text) is None or isinstance(parse_object(text), (dict, list))


def test_topics_are_words_unless_the_list_has_objects() -> None:
    assert not is_object_text("topics", "['cli', 'web']")
    assert is_object_text("topics", "[{'name': 'cli'}]")
    assert is_object_text("contributors", "['cli', 'web']")
    assert not is_object_text("contributors", 7)


def test_half_a_character_is_replaced() -> None:
    assert repair_text("a\ud83d") == "a?"
    assert repair_text("é \N{GRINNING FACE}") == "é \N{GRINNING FACE}"


@pytest.mark.parametrize(
    "text",
    [
        "cli, tool",
        "cli;tool",
        "cli|tool",
        "cli tool",
        "{cli,tool}",
        "['cli' 'tool']",
        "array(['cli', 'tool'], dtype=object)",
        'c("cli", "tool")',
        "frozenset({'cli', 'tool'})",
        '["cli","tool"]',
    ],
)
def test_words_are_split_however_a_list_is_written(text: str) -> None:
    assert split_words(text) == ["cli", "tool"]


@pytest.mark.parametrize("text", ["[]", "{}", "set()", "character(0)", "array([], dtype=object)", "c()", "  "])
def test_an_empty_list_has_no_words(text: str) -> None:
    assert split_words(text) == []
