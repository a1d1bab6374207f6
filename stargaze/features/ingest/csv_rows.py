"""Read the rows of a CSV; after a record that cannot be parsed, the following lines are read again as rows.

A record that cannot be parsed is refused, and never hides the rows behind it:

- After an unclosed quote, or text behind a closing quote, the first line of the record is refused and reading goes on at the next
  line. Lines of a broken multi-line text follow such a line: ``FRAGMENTS`` or more of them, none like a row, belong to it.
- A quote that is never closed also hides rows if a later stray quote closes it. A record of several lines is therefore
  refused in the same way if it has no name, no stars or a wrong number of cells and one of its further lines is like a row or
  has a name, or if it is valid but its last line and another one are whole rows, but for a quote too many, and most of its
  further lines are like rows. All other records of several lines are one row.

A line is like a row if it has two of: the right number of cells, a repository's name, a count in the column of the stars.
"""

from __future__ import annotations

import csv
import functools
import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from stargaze.features.ingest.open_file import MAX_VALUE

LINES = 512
"""Physical lines that are parsed at once."""
FRAGMENTS = 8
"""So many lines in a row that are not like rows belong to the broken record before them."""
PIECE = 2**16
"""Characters of a line that are read at once; a longer line is joined from pieces."""
MAX_COMPARED = 2**16
"""Length of a line up to which it is compared with a row [characters]; a longer one counts as a row."""
FREE_LOOKAHEAD = 2 * MAX_VALUE
"""Characters of broken records that may be parsed again, besides four times those that have been read."""
MAX_LINES = 2**22
"""Lines of one record."""
FEW_LINES = 8
"""Lines that are parsed at once when more than that was parsed again, as only crafted files cause."""
_OVERSIZE = '"x"x\n'
"""Stands for a line beyond the limit; it cannot be parsed anywhere."""
UNCLOSED = "a quote is not closed"
MISPLACED = "text follows a closing quote"
TOO_LONG = f"longer than {MAX_VALUE / 2**20:.0f} MB"
_NAME = re.compile(r"[\w-]{1,48}/[\w.-]{1,100}|\S*github\.com[:/]\S+", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"\d[\d.,' ]*[kKmM]?", re.ASCII)


@dataclass(frozen=True)
class RowShape:
    """How many cells a row has, and where the parts of a repository's name and its stars are, if known."""

    width: int
    names: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    def is_like_row(self, cells: Sequence[str]) -> bool:
        """Return whether cells of one line are probably those of a row, which may have a wrong cell or a wrong width.

        Examples
        --------
        >>> shape = RowShape(3, names=(0,), counts=(1,))
        >>> shape.is_like_row(["a/b", "x", ""]), shape.is_like_row(["a/b", "5"]), shape.is_like_row(["Well", " no", " 5"])
        (True, True, False)
        """
        if not self.names or not self.counts:
            return len(cells) == self.width > 0
        score = 0 if len(cells) != self.width else 2 if self.width >= 6 else 1
        counts = [cells[i].strip('" ') for i in self.counts if i < len(cells)]
        score += self.is_named(cells)
        score += bool(counts) and all(_COUNT.fullmatch(count) for count in counts)
        return score >= 2

    def is_whole_row(self, cells: Sequence[str]) -> bool:
        """Return whether cells of one line have all that a row has: the right number, a repository's name, and counts."""
        if len(cells) != self.width or not self.width:
            return False
        counts = (cells[i].strip('" ') for i in self.counts)
        return (not self.names or self.is_named(cells)) and all(map(_COUNT.fullmatch, counts))

    def is_named(self, cells: Sequence[str]) -> bool:
        """Return whether the cells have a repository's name where a row has it."""
        name = "/".join(cells[i].strip('" ') for i in self.names if i < len(cells))
        return _NAME.fullmatch(name) is not None

    def is_possible(self, cells: Sequence[str]) -> bool:
        """Return whether a record of several lines may be a row: it has name and stars, without a line break."""
        single = [cells[i] for i in (*self.names, *self.counts) if i < len(cells)]
        return self.is_whole_row(cells) and not any("\n" in cell or "\r" in cell for cell in single)


def read_csv_rows(
    text: TextIO, delimiter: str, width: int, *, names: Sequence[int] = (), counts: Sequence[int] = ()
) -> Iterator[tuple[int, list[str], str]]:
    r"""Yield each row with its position from 1, and the reason if it is invalid; empty lines are no rows.

    ``text`` is open with ``newline=""``, after the header. ``names`` and ``counts`` are the columns of the name (or of owner and
    name) and of the stars. A row may have fields of up to ``MAX_VALUE`` characters. The time is proportional to the length.

    Examples
    --------
    >>> import io
    >>> list(read_csv_rows(io.StringIO('a/b,"1\nc/d,2\n'), ",", 2))
    [(1, [], 'a quote is not closed'), (2, ['c/d', '2'], '')]
    """
    reader = _RowReader(_Lines(text), delimiter, RowShape(width, tuple(names), tuple(counts)))
    position = 0
    with _LARGE_FIELDS:
        while block := reader.next_block():
            records, problem = reader.parse(block)
            for cells in records:
                if cells:
                    position += 1
                    yield position, cells, "" if len(cells) == width else f"{len(cells)} columns instead of {width}"
            if problem:
                position += 1
                yield position, [], problem


class _Lines:
    """The physical lines of a text: the next ones can be seen before they are passed."""

    def __init__(self, text: TextIO) -> None:
        self._pieces = iter(functools.partial(text.readline, PIECE), "")
        self._lines: list[str] = []
        self._at = 0
        self._is_complete = False
        self.size = 0
        """Characters that have been read."""

    def peek(self, count: int) -> list[str]:
        """Return the next lines, at most ``count``."""
        while len(self._lines) - self._at < count and not self._is_complete:
            self._read()
        return self._lines[self._at : self._at + count]

    def skip(self, lines: Sequence[str]) -> None:
        """Pass lines that were seen."""
        self._at += len(lines)

    def _read(self) -> None:
        pieces = list(itertools.islice(self._pieces, LINES))
        self._is_complete = len(pieces) < LINES
        del self._lines[: self._at]
        self._at = 0
        size = sum(map(len, pieces))
        self.size += size
        is_plain = size < PIECE or max(map(len, pieces)) < PIECE
        self._lines += pieces if is_plain else self._join(iter(pieces))

    def _join(self, pieces: Iterator[str]) -> Iterator[str]:
        """Yield whole lines; the last one may need more pieces of the text."""
        following = itertools.chain(pieces, self._pieces)
        for piece in pieces:
            yield _read_line(piece, following) if _is_part(piece) else piece


def _is_part(piece: str) -> bool:
    return len(piece) == PIECE and piece[-1] not in "\r\n"


def _read_line(first: str, following: Iterator[str]) -> str:
    parts, size = [first], len(first)
    for piece in following:
        size += len(piece)
        if size <= MAX_VALUE:
            parts.append(piece)
        if not _is_part(piece):
            break
    return "".join(parts) if size <= MAX_VALUE else _OVERSIZE


class _RowReader:
    """Parses blocks of lines, and goes on behind the first line of a record that cannot be parsed."""

    def __init__(self, lines: _Lines, delimiter: str, shape: RowShape) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._shape = shape
        self._window = LINES
        self._reparsed = 0

    def next_block(self) -> list[str]:
        """Return the next lines, which begin with a record."""
        return self._lines.peek(self._window)

    def parse(self, block: list[str]) -> tuple[list[list[str]], str]:
        """Return the records of a block up to the first broken or incomplete one, and the reason if that is refused.

        An incomplete one begins the next block, which is longer if nothing else is in this one.
        """
        ends: list[None] = []  # gets an item when the parser requests a line behind the block
        lines = itertools.chain(block, iter(functools.partial(ends.append, None), None))
        parser = csv.reader(lines, delimiter=self._delimiter, strict=True)
        records: list[list[str]] = []
        start, is_whole = 0, True
        try:
            for cells in parser:
                end = parser.line_num
                if end - start > 1 and self._hides_rows(block[start:end], cells):
                    is_whole = False
                    break
                start = end
                records.append(cells)
        except csv.Error:
            is_whole = False
        if not is_whole and not ends:
            self._lines.skip(block[:start])
            return records, self._refuse(block[start : parser.line_num])
        if not is_whole and not start:
            return records, self._extend(block)
        self._lines.skip(block[:start])
        self._window = self._usual_window()
        return records, ""

    def _usual_window(self) -> int:
        return LINES if self._may_look_ahead() else FEW_LINES

    def _may_look_ahead(self) -> bool:
        return self._reparsed <= FREE_LOOKAHEAD + 4 * self._lines.size

    def _hides_rows(self, lines: list[str], cells: list[str]) -> bool:
        """Return whether the further lines of a record are rows, which a stray quote has joined to it."""
        further = lines[1:]
        if not self._shape.is_possible(cells):
            return any(self._is_row(line) or self._is_named(line) for line in further)
        if not self._is_whole_row(further[-1]) or 2 * sum(map(self._is_any_row, further)) <= len(further):
            return False
        return any(map(self._is_whole_row, lines[:-1]))

    def _is_whole_row(self, line: str) -> bool:
        """Return whether a line is a row if its last quote without a partner is part of a text."""
        if line.count(self._delimiter) < self._shape.width - 1:
            return False
        if len(line) > MAX_COMPARED:
            return True
        line = line.rstrip("\r\n")
        *cells, rest = next(csv.reader([line], delimiter=self._delimiter), [""])
        is_odd = line.count('"') % 2 == 1
        return (is_odd and self._shape.is_whole_row([*cells, *rest.split(self._delimiter)])) or (
            (not is_odd or line.endswith('"')) and self._shape.is_whole_row([*cells, rest])
        )

    def _is_row(self, line: str) -> bool:
        if len(line) > MAX_COMPARED:
            return True
        if self._shape.width > 1 and self._delimiter not in line:
            return False
        return self._shape.is_like_row(next(csv.reader([line], delimiter=self._delimiter), []))

    def _is_any_row(self, line: str) -> bool:
        return self._is_row(line) or self._is_whole_row(line)

    def _is_named(self, line: str) -> bool:
        """Return whether a line has a repository's name where a row has it, whatever follows."""
        cells = next(csv.reader([line], delimiter=self._delimiter), []) if self._delimiter in line else []
        return bool(self._shape.names) and self._shape.is_named(cells)

    def _extend(self, block: list[str]) -> str:
        """Look at more lines of the record that fills the block; refuse it if it is too long or the text ends."""
        is_end = len(block) < self._window
        is_short = len(block) <= MAX_LINES and sum(map(len, block)) <= MAX_VALUE
        if not is_end and is_short and self._may_look_ahead():
            self._window *= 2
            return ""
        if is_end and not any(map(self._is_row, block[1:])):  # the text is cut within this record
            self._lines.skip(block)
            return UNCLOSED
        return self._refuse(block)

    def _refuse(self, lines: list[str]) -> str:
        """Pass the first line of a broken record, and fragments behind it; return the reason."""
        self._reparsed += sum(map(len, lines[1:]))
        self._lines.skip(lines[:1])
        self._skip_fragments()
        self._window = self._usual_window()
        if lines[0] is _OVERSIZE or len(lines) > MAX_LINES or sum(map(len, lines)) > MAX_VALUE:
            return TOO_LONG
        return UNCLOSED if len(lines) > 1 else MISPLACED

    def _skip_fragments(self) -> None:
        few = self._lines.peek(FRAGMENTS)
        if len(few) < FRAGMENTS or any(map(self._is_row, few)):
            return
        while few and not self._is_row(few[0]):
            self._lines.skip(few[:1])
            few = self._lines.peek(1)


class _LargeFields:
    """The limit of the csv module, which holds for all threads: raised while at least one of them reads rows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._limit = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                self._limit = csv.field_size_limit(MAX_VALUE)
            self._readers += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                csv.field_size_limit(self._limit)


_LARGE_FIELDS = _LargeFields()
