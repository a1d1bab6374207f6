"""Numbers of own columns as people write them: with separators of thousands, percent signs, currencies and units."""

from __future__ import annotations

import re
from collections.abc import Collection

import pandas as pd

from stargaze.features.ingest.parsing.grouped_numbers import (
    AUTO,
    MAX_NUMBER_LENGTH,
    SeparatorUse,
    read_grouped,
    undecided_error,
)
from stargaze.features.ingest.validate import shorten

_SIGNED = re.compile(r"([+\-\N{MINUS SIGN}]?)\s*(.*)", re.DOTALL)
_AFFIXES = tuple(re.compile(pattern) for pattern in (r"(.*?)\s*%", r"[$€£¥]\s*(.*)", r"(.*?)\s*[$€£¥]"))
"""What may stand at the same side of every number of a column."""
_POINT_AND_THREE = re.compile(r"[1-9]\d{0,2}\.\d{3}", re.ASCII)
_PLAIN = re.compile(r"-?\d{0,18}\.?\d{1,18}(?:[eE][+-]?\d{1,3})?", re.ASCII)
"""A number as programs write it."""
_LONG = re.compile(r"\d{4,}", re.ASCII)


def write_plainly(name: str, texts: pd.Series, entered: Collection[str], thousands: str) -> pd.Series:
    """Return numbers as Python writes them, and other texts unchanged.

    ``texts`` are the distinct values of the column ``name``, of which ``entered`` were texts in the file already: only these can
    have separators of thousands. Raise BadDataError if no value shows whether 12.345 is a whole number.

    Examples
    --------
    >>> texts = pd.Series(["12,345", "-1,234,567", "950", "many"])
    >>> write_plainly("score", texts, set(texts), "auto").tolist()
    ['12345', '-1234567', '950', 'many']
    >>> write_plainly("share", pd.Series(["45%", "7.5 %"]), {"45%", "7.5 %"}, "auto").tolist()
    ['45', '7.5']
    """
    if thousands == AUTO and all(map(_PLAIN.fullmatch, texts)) and not any(map(_POINT_AND_THREE.search, entered)):
        return texts
    signs, numbers = _split(list(texts))
    from_texts = {number for number, text in zip(numbers, texts, strict=True) if text in entered}
    mark = _find_mark(name, from_texts) if thousands == AUTO else thousands
    plain = [read_grouped(number, mark) if number in from_texts else number for number in numbers]
    pairs = zip(texts, signs, numbers, plain, strict=True)
    return pd.Series([_join(*pair) for pair in pairs], index=texts.index, dtype="object")


def _split(texts: list[str]) -> tuple[list[str], list[str]]:
    """Return the signs and numbers of texts, without what surrounds all of the numbers."""
    for affix in _AFFIXES:
        inner = [affix.fullmatch(text) if len(text) <= MAX_NUMBER_LENGTH else None for text in texts]
        if texts and all(inner):
            texts = [match[1] for match in inner if match]
    pairs = [_SIGNED.fullmatch(text) for text in texts]
    return [pair[1] if pair else "" for pair in pairs], [pair[2] if pair else "" for pair in pairs]


def _join(text: str, sign: str, number: str, plain: str) -> str:
    """Return a text unchanged if it is no number."""
    if _PLAIN.fullmatch(plain) is None or (plain == number and text == sign + number):
        return f"-{number}" if sign == "\N{MINUS SIGN}" and _PLAIN.fullmatch(number) else text
    return ("-" if sign in ("-", "\N{MINUS SIGN}") else "") + plain


def _find_mark(name: str, numbers: Collection[str]) -> str:
    """Return what separates thousands: 12,345 shows a separator, but 12.345 does not, as programs write decimals so."""
    points = [text for text in numbers if _POINT_AND_THREE.fullmatch(text)]
    use = SeparatorUse()
    use.add(text for text in numbers if not _POINT_AND_THREE.fullmatch(text))
    if points and not any(map(_LONG.fullmatch, numbers)):
        use.undecided["."] = min(points)
    mark, undecided = use.find_thousands()
    if undecided:
        raise undecided_error(f"fetch.extra: {shorten(name)}", undecided, "fetch.thousands")
    return mark
