"""Objects in the cells of tables: texts of JSON or of a Python repr, parsed without running code, in linear time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from stargaze.features.schema import LIST_FIELDS

MAX_OBJECT = 4 * 2**20
"""Length of a cell that is parsed [characters]; a real list of releases has up to 1.2 MB."""
MAX_CACHED = 600
"""Length of a cell whose value is kept, as a table has few licenses and owners [characters]."""
POWERSHELL = "@{"
"""The beginning of an object as PowerShell writes it in the cells of a CSV, and in JSON below the second level."""
BEGINNINGS = ("{", "[", POWERSHELL)

_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*+(?:'|\Z)|"(?:[^"\\]|\\.)*+(?:"|\Z))"""
    r"""|(?P<word>\b(?:None|True|False|nan|NaT|inf|np\.True_|np\.False_)\b)"""
    r"""|(?P<number>\bnp\.\w{1,20}\((?P<digits>[\w.+-]{1,40})\))"""
    r"""|(?P<date>\b(?:Timestamp|Decimal|UUID|np\.str_)\(\s*'(?P<stamp>[^'\\]{1,60})'[^)']{0,60}(?:'[^']{0,40}')?\s*\))"""
    r"""|(?P<time>\b(?:datetime\.)?(?:datetime|date)\((?P<parts>[\d, ]{8,60})(?:tzinfo=[\w.()<>]{1,60}?)?\))"""
    r"""|(?P<open>\barray\(\s*\[)"""
    r"""|(?P<close>\]\s{0,20}(?:,\s{0,20}dtype=[\w.]{1,20})?\s{0,20}\))"""
    r"""|(?P<tuple>[()])""",
    re.DOTALL,
)
_TOPIC_OBJECTS = re.compile(r"\s*(?:\{|\[\s*\{|\[[^\\]{0,2000}\\)")
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LIST_SEPARATORS = re.compile(r"[\[\](){},;|'\"]")
_LIST_CALL = re.compile(
    r"\s*(?P<kind>c|list|array|set|frozenset|character)\((?P<items>.*?)(?:,\s*dtype=[\w<>|.']{1,20})?\)\s*", re.DOTALL
)
"""Lists as R, numpy and Python write them."""
_WORDS = {"None": "null", "True": "true", "False": "false", "nan": "NaN", "NaT": "NaN", "inf": "Infinity"} | {
    "np.True_": "true",
    "np.False_": "false",
}


def split_words(text: str) -> list[str]:
    """Return the words of a list as people and programs write it; a topic of GitHub has no spaces.

    Examples
    --------
    >>> split_words("['cli', 'tool']"), split_words("cli;tool"), split_words('c("cli", "tool")'), split_words("cli tool")
    (['cli', 'tool'], ['cli', 'tool'], ['cli', 'tool'], ['cli', 'tool'])
    """
    call = _LIST_CALL.fullmatch(text)
    if call:
        text = "" if call["kind"] == "character" else call["items"]
    parts = _LIST_SEPARATORS.split(text) if _LIST_SEPARATORS.search(text) else text.split()
    return [part.strip() for part in parts if part.strip()]


def is_object_text(key: str, value: object) -> bool:
    """Return whether a value is a text of an object; a list of words or numbers is none."""
    if not isinstance(value, str) or not looks_like_object(value):
        return False
    return key not in LIST_FIELDS or _TOPIC_OBJECTS.match(value) is not None


def looks_like_object(value: object) -> bool:
    """Return whether a value is an object, or a text that begins as one."""
    return isinstance(value, (dict, list)) or (isinstance(value, str) and value[:80].lstrip().startswith(BEGINNINGS))


def parse_object(text: str) -> Any:
    """Return the object or list that a cell contains; None if it contains anything else, or is broken or too long.

    Examples
    --------
    >>> parse_object('{"key": "mit"}'), parse_object("{'key': 'mit', 'url': None}"), parse_object("{'key': 'mi")
    ({'key': 'mit'}, {'key': 'mit', 'url': None}, None)
    >>> parse_object("@{key=mit; name=MIT License; url=}")
    {'key': 'mit', 'name': 'MIT License', 'url': None}
    """
    if len(text) > MAX_OBJECT or not looks_like_object(text):
        return None
    return _parse_cached(text) if len(text) <= MAX_CACHED else _parse(text)


@lru_cache(maxsize=4096)
def _parse_cached(text: str) -> Any:
    return _parse(text)


def _parse(text: str) -> Any:
    if text.lstrip().startswith(POWERSHELL):
        return _parse_powershell(text.strip())
    for convert in (str, _repr_to_json):
        try:
            value = _DECODER.decode(convert(text))
            return drop_unknown(value) if isinstance(value, (dict, list)) else None
        except (ValueError, RecursionError):
            continue
    return None


def _parse_powershell(text: str) -> dict[str, str | None] | None:
    """Return the object in ``@{login=a; type=User}``; its lists and objects are names of types, and so without contents."""
    if not text.endswith("}"):
        return None
    pairs = [pair.partition("=") for pair in text.removeprefix(POWERSHELL)[:-1].split("; ")]
    return {name.strip(): value or None for name, equals, value in pairs if equals}


def _repr_to_json(text: str) -> str:
    return _TOKEN.sub(_convert_token, text)


def _convert_token(match: re.Match[str]) -> str:
    return _CONVERTERS[str(match.lastgroup)](match)


def _convert_text(match: re.Match[str]) -> str:
    quoted = match[0]
    if len(quoted) < 2 or quoted[-1] != quoted[0]:
        raise ValueError("a quote is not closed")
    inner = quoted[1:-1]
    return json.dumps(_ESCAPE.sub(_unescape, inner) if "\\" in inner else inner)


def _convert_time(match: re.Match[str]) -> str:
    numbers = [int(part[:9]) for part in match["parts"].replace(" ", "").strip(",").split(",") if part]
    return '"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}"'.format(*(numbers + [0] * 6)[:6])


_CONVERTERS: dict[str, Callable[[re.Match[str]], str]] = {
    "text": _convert_text,
    "word": lambda match: _WORDS[match[0]],
    "number": lambda match: _WORDS.get(match["digits"], match["digits"]),
    "date": lambda match: json.dumps(match["stamp"]),
    "time": _convert_time,
    "open": lambda _match: "[",
    "close": lambda _match: "]",
    "tuple": lambda match: "[" if match[0] == "(" else "]",
}
"""How each kind of token of a Python repr is written in JSON."""


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    if code:
        number = int(code, 16)
        return chr(number) if number <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"
    return _CONTROLS.get(match[4], match[4])


def read_integer(text: str) -> int | float:
    """Parse an integer of any length; Python rejects more than 4300 digits, and a float of that size is an invalid count."""
    return int(text) if len(text) < 20 else float(text)


_DECODER = json.JSONDecoder(parse_int=read_integer, strict=False)


def drop_unknown(value: Any) -> Any:
    """Return a parsed value without NaN and Infinity, which programs write for what they do not know.

    Raise RecursionError if it is nested too deeply.

    Examples
    --------
    >>> drop_unknown({"mirror_url": float("nan"), "topics": ["a", float("nan")], "size": 1.0})
    {'topics': ['a'], 'size': 1.0}
    """
    if isinstance(value, dict):
        return {key: drop_unknown(inner) for key, inner in value.items() if not _is_unknown(inner)}
    if isinstance(value, list):
        return [drop_unknown(inner) for inner in value if not _is_unknown(inner)]
    return value


def _is_unknown(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def repair_text(text: str) -> str:
    """Return a text with a question mark for each half of a character pair, which no file can store."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()
