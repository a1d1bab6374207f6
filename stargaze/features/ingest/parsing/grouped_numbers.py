"""Counts as texts with separators of thousands, decimals or units: what each text says, and what a whole column says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pandas as pd

from stargaze.errors import BadDataError
from stargaze.features.ingest.parsing.missing import Bools

AUTO = "auto"
"""Value of ``fetch.thousands``: decide from the values."""
MARKS = (".", ",")
"""The characters that separate thousands in some languages and decimals in others."""
_SPACES = " '\N{RIGHT SINGLE QUOTATION MARK}_\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"
_SPACED = re.compile(rf"\d{{1,3}}([{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:[.,]0+)?", re.ASCII)
_SINGLE = re.compile(r"[1-9]\d{0,2}([.,])(\d{3})", re.ASCII)
_SEVERAL = re.compile(r"[1-9]\d{0,2}([.,])\d{3}(?:(?:\1\d{3})+(?:(?!\1)[.,]\d+)?|(?!\1)[.,]\d+)", re.ASCII)
_DECIMAL = re.compile(r"\d*([.,])\d+", re.ASCII)
_ROUNDED = re.compile(r"(\d+(?:[.,]\d{1,2})?)\s?([kKmM])", re.ASCII)
_SCIENTIFIC = re.compile(r"\s*\d(?:[.,](\d{0,30}))?E\+(\d{1,3})\s*", re.ASCII)
_UNITS = {"k": 1_000, "m": 1_000_000}
MAX_NUMBER_LENGTH = 40
"""Length of the longest text that is read as a number [characters]."""


@dataclass
class SeparatorUse:
    """What the texts of a column show about each mark: that it separates thousands, or decimals, or either."""

    thousands: set[str] = field(default_factory=set)
    decimals: set[str] = field(default_factory=set)
    undecided: dict[str, str] = field(default_factory=dict)
    """The mark, and the first text such as 12.000 that is a whole number in both ways."""

    def add(self, texts: Iterable[str]) -> None:
        """Collect what texts show: 1.234.567, 12.345 (no whole number otherwise) and 1.234,5 thousands; 7.5 decimals."""
        for text in texts:
            if len(text) > MAX_NUMBER_LENGTH:
                continue
            if single := _SINGLE.fullmatch(text):
                if single[2] == "000":
                    self.undecided.setdefault(single[1], text)
                else:
                    self.thousands.add(single[1])
            elif several := _SEVERAL.fullmatch(text):
                self.thousands.add(several[1])
                self.decimals.update({mark for mark in MARKS if mark in text} - {several[1]})
            elif decimal := _DECIMAL.fullmatch(text):
                self.decimals.add(decimal[1])

    def find_thousands(self) -> tuple[str, str]:
        """Return the mark that separates thousands, or an empty text; and a text that could be either, or an empty text.

        Examples
        --------
        >>> use = SeparatorUse()
        >>> use.add(["12.000", "7.000", "950"])
        >>> use.find_thousands()
        ('', '12.000')
        >>> use.add(["1.250"])
        >>> use.find_thousands()
        ('.', '')
        """
        proved = {
            mark
            for mark, other in (MARKS, MARKS[::-1])
            if (mark in self.thousands or other in self.decimals)
            and mark not in self.decimals
            and other not in self.thousands
        }
        for mark, text in self.undecided.items():
            other = MARKS[mark == MARKS[0]]
            is_decimal = (mark in self.decimals or other in self.thousands) and not (
                mark in self.thousands or other in self.decimals
            )
            if mark not in proved and not is_decimal:
                return "", text
        return next(iter(proved), ""), ""


def undecided_error(place: str, text: str, key: str) -> BadDataError:
    """Return the error of a column in which no value shows what a text such as 12.000 means; the config's ``key`` can say it."""
    separator = text.strip("0123456789")
    message = f"{place} is {text!r}: thousands or decimals? No value of the column shows it"
    return BadDataError(
        message, hint=f'set {key} = "{separator}" if it separates thousands, or {key} = "" if nothing does'
    )


def find_rounded_numbers(column: pd.Series) -> Bools:
    """Return which texts are numbers of which a spreadsheet shows the first digits only; other programs write no ``E+``.

    Examples
    --------
    >>> find_rounded_numbers(pd.Series(["1.23457E+08", "1.2345E8", "1.5E+01"])).tolist()
    [True, False, False]
    """
    if column.dtype == "object" or (column.dtype == "str" and column.str.contains("E+", regex=False, na=False).any()):
        return np.fromiter(map(_is_rounded, column), dtype=bool, count=len(column))
    return np.zeros(len(column), dtype=bool)


def _is_rounded(text: object) -> bool:
    match = _SCIENTIFIC.fullmatch(text) if isinstance(text, str) else None
    return match is not None and len(match[1] or "") < int(match[2])


def depends_on_column(text: str) -> bool:
    """Return whether only the other texts of the column can say what a number means, as 12.345."""
    return len(text) <= MAX_NUMBER_LENGTH and _SINGLE.fullmatch(text) is not None


def read_grouped(text: str, thousands: str) -> str:
    """Return a count as digits, with a point for decimals; other texts unchanged. ``thousands`` is a mark or empty.

    Examples
    --------
    >>> [read_grouped(text, ".") for text in ("12.000", "1.234,0", "7,5", "12 345", "12'345", "1.2k", "many")]
    ['12000', '1234.0', '7.5', '12345', '12345', '1200', 'many']
    >>> read_grouped("12.000", ""), read_grouped("12,000", ","), read_grouped("1,234,567", "")
    ('12.000', '12000', '1234567')
    """
    if len(text) > MAX_NUMBER_LENGTH:
        return text
    if spaced := _SPACED.fullmatch(text):
        return text.replace(spaced[1], "").replace(",", ".")
    if several := _SEVERAL.fullmatch(text):
        return text.replace(several[1], "").replace(",", ".")
    if single := _SINGLE.fullmatch(text):
        return text.replace(single[1], "") if single[1] == thousands else text.replace(",", ".")
    if rounded := _ROUNDED.fullmatch(text):
        return f"{Decimal(rounded[1].replace(',', '.')) * _UNITS[rounded[2].lower()]:.0f}"
    return text.replace(",", ".") if _DECIMAL.fullmatch(text) else text
