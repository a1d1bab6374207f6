"""Texts, names and values that people and programs write into files, and damaged ones."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.mutations import NUMBERS

CELLS = [
    *("", " ", "0", "-1", "1.0", "60.6", "1e3", "NaN", "nan", "-Infinity", "null", "None", r"\N", "#N/A", "-", "?"),
    *(
        "12.000",
        "12,000",
        "1.234.567",
        "1,234,567",
        "1'234",
        "1 234",
        "1\u202f234",
        "12.5",
        "7k",
        "0x10",
        "١٢",
        "9" * 5000,
    ),
    *("true", "False", "t", "yes", "2", "ja", "MIT License", "unknown-1.0", "user", "Organization"),
    *(
        "2015-01-02",
        "2015-01-02 03:04:05 UTC",
        "2015-01-02 03:04:05.123456 UTC",
        "2015-01-02T03:04:05+02:00",
        "0001-01-01",
    ),
    *(
        "0000-00-00 00:00:00",
        "1970-01-01",
        "9999-12-31",
        "2015-13-45",
        "1420167845",
        "1420167845000",
        "1420167845000000",
    ),
    *(
        "Mon Jan 03 2022 00:00:00 GMT+0200 (Central European Summer Time)",
        "Mon Jan 99 2022 00:00:00 GMT+9900",
        "02.01.2015",
    ),
    *(
        "https://site.example",
        "git://old.example/a.git",
        "a, b",
        "a;b",
        "['a', 'b']",
        '["a", "b"]',
        "['a",
        "{'key': 'mit'}",
    ),
    *(
        '{"key": "mit"}',
        '{"Go": 1, "C": 2}',
        "[{'name': 'Go'}]",
        "{'a': {'b': {'c': 1}}}",
        "{1: 2}",
        "{'a': nan}",
        "b'x'",
        "()",
    ),
    *(
        "__import__('os').system('false')",
        "[" * 5000,
        "(" * 5000,
        "{'a':" * 5000,
        "-" * 20_000 + "1",
        "1" + "+1j" * 5000,
    ),
    *(
        "'" * 3,
        '"',
        '""',
        '"a',
        'a"b',
        "'",
        "\\",
        "\0",
        "\x1b[2J",
        "\u2028",
        "\ud83d",
        "\U0001f600",
        "e\u0301" * 50,
        "\ufeff",
    ),
    *(
        "a/b",
        "../etc",
        "a/b/c",
        "/",
        "a/" + "b" * 200,
        "git@github.com:a/b.git",
        "ssh://git@github.com/a/b",
        "HTTPS://GitHub.com/A/B/",
    ),
    *(
        "https://github.com/a/b/tree/main?x=1#y",
        "https://gitlab.example/a/b",
        "https://" * 2000,
        ".git" * 2000,
        "/" * 5000,
    ),
]
"""Texts that people and programs write into a cell."""
TOKENS = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0.0",
        "9" * 5000,
        "1" + "0" * 400,
        "1.5",
        "true",
        "null",
        "nul",
        "undefined",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "'",
        "\n",
        "\r",
        "\t",
        "\0",
        "\\",
        "//",
        "#",
        "=",
        "\ufeff",
        "\u2028",
        "{}",
        "[]",
        '""',
    ),
    *(
        r'"\ud83d"',
        r'"\ud83d\ude00"',
        r'"\u0000"',
        r'"\x"',
        r'"\u12"',
        "[" * 100_000,
        '{"a":' * 50_000,
        '"' + "x" * 170_000 + '"',
    ),
    *(
        '"full_name"',
        '"stars"',
        '"stargazers_count"',
        '"languages"',
        '"data"',
        '"errors"',
        '"items"',
        '"nodes"',
        '"repo"',
        '"message"',
    ),
    *(
        '{"items": [',
        '{"data": {',
        "}{",
        "][",
        "]}",
        "}\n{",
        '{"message": "Not Found", "status": "404"}',
        '{"key": "mit"}',
    ),
]
"""Parts of JSON and TOML, valid and not."""
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "utf-7")
NAMES = [
    *(
        "full_name",
        "name",
        "owner",
        "stars",
        "stargazers_count",
        "watchers",
        "license",
        "licenseInfo",
        "topics",
        "languages",
    ),
    *(
        "homepage",
        "mirror_url",
        "owner.type",
        "owner_login",
        "license.key",
        "license_key",
        "created_at",
        "createdAt",
        "size",
    ),
    *(
        "contributors",
        "description",
        "date",
        "week",
        "days",
        "Repository",
        "Date",
        "Stars",
        "",
        "x" * 300,
        "é",
        "a.b.c.d",
    ),
]
"""Names of columns and keys."""


LONG = "long " * 40_000
"""A text that is longer than what CSV readers accept by default."""


def pick_cell(random: Random) -> str:
    """Return a text; one in a hundred is long."""
    return LONG if random.random() < 0.01 else random.choice(CELLS)


def pick(random: Random) -> Any:
    """Return a value of any type."""
    if random.random() < 0.5:
        return pick_cell(random)
    return random.choice(
        (*NUMBERS, None, True, False, [], {}, [None], [[1]], ["a", "b"], {"key": "mit"}, {"a": {"b": 1}})
    )
