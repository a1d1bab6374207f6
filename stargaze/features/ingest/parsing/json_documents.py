"""JSON documents that follow each other in one text, read one by one with bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

from stargaze.errors import BadDataError
from stargaze.features.ingest.open_file import MAX_VALUE
from stargaze.features.ingest.parsing.object_text import drop_unknown, read_integer

CHUNK = 2**20
WRAPPED_LISTS = ("items", "data", "repositories", "results", "records")
"""Keys of an object whose list is read item by item if the object is too large for one value."""
_HINT = "correct it there, or write the file with a JSON library: texts have double quotes, and no comma follows the last value"
_SPACE = re.compile(r"[ \t\r\n\x1e\ufeff]*")
_WRAPPED = re.compile(rf'"(?:{"|".join(WRAPPED_LISTS)})"\s{{0,100}}:\s{{0,100}}\[')


def skip_space(text: str, at: int) -> int:
    """Return the position of the next character that is no space."""
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text


class JsonDecoder:
    """A decoder that leaves out NaN and Infinity, which programs write for what they do not know."""

    def __init__(self) -> None:
        self._has_unknown = False
        self._decoder = json.JSONDecoder(parse_int=read_integer, parse_constant=self._note_unknown, strict=False)

    def decode_at(self, text: str, at: int) -> tuple[object, int]:
        """Return the value that begins at a position, and its end; raise ValueError or RecursionError if it is broken."""
        self._has_unknown = False
        value, end = self._decoder.raw_decode(text, at)
        return (drop_unknown(value) if self._has_unknown else value), end

    def _note_unknown(self, name: str) -> float:
        self._has_unknown = True
        return float(name)


class DocumentReader:
    """Reads a text in chunks; only the value that is being parsed is in memory."""

    def __init__(self, text: TextIO, name: str) -> None:
        self._text = text
        self._name = name
        self._decoder = JsonDecoder()
        self._buffer, self._at, self._is_end = "", 0, False
        self._line, self._column = 1, 1

    def read_values(self) -> Iterator[object]:
        """Yield every document, and of lists every item.

        Raise BadDataError with line and column if the text is broken, or a value is too large.
        """
        while first := self._peek():
            if first == "[":
                yield from self._read_items()
            elif (value := self._decode(is_divisible=first == "{")) is not self:
                yield value
            else:
                yield from self._read_large_object()

    def _read_items(self) -> Iterator[object]:
        self._at += 1
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._decode()
            self._expect(",]", "Expecting ',' delimiter")
            self._at += 1
            if self._buffer[self._at - 1] == "]":
                return
            if self._peek() == "]":
                raise self._broken("Illegal trailing comma before end of list")

    def _read_large_object(self) -> Iterator[object]:
        """Yield the items of the lists of a search response that is too large for one value."""
        mark = "{"
        while mark != "}":
            self._at += 1
            self._expect('"', "Expecting property name enclosed in double quotes")
            key = self._decode()
            self._expect(":", "Expecting ':' delimiter")
            self._at += 1
            if key in WRAPPED_LISTS and self._peek() == "[":
                yield from self._read_items()
            else:
                self._decode()
            self._expect(",}", "Expecting ',' delimiter")
            mark = self._buffer[self._at]
        self._at += 1

    def _peek(self) -> str:
        """Go to the next character that is no space and return it; an empty text at the end."""
        while True:
            self._at = skip_space(self._buffer, self._at)
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._fill(CHUNK):
                return ""

    def _expect(self, marks: str, problem: str) -> None:
        at = self._at
        mark = self._peek()
        if not mark or mark not in marks:
            raise self._broken(problem, at)

    def _decode(self, *, is_divisible: bool = False) -> object:
        """Return the next value; the reader itself for an object that is too large but begins with a list of records."""
        if not self._peek():
            raise self._broken("Expecting value")
        while True:
            problem, offset = "", 0
            try:
                value, end = self._decoder.decode_at(self._buffer, self._at)
                if end < len(self._buffer) or self._is_end:
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                problem, offset = error.msg, error.pos - self._at
            except (ValueError, RecursionError) as error:
                message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
                raise self._broken(message) from error
            if len(self._buffer) - self._at > MAX_VALUE:
                if is_divisible and self._begins_with_list():
                    return self
                raise self._too_large()
            if not self._fill(max(CHUNK, len(self._buffer) - self._at)) and problem:
                raise self._broken(problem, self._at + offset)

    def _begins_with_list(self) -> bool:
        """Return whether one of the first keys of the object has a list of records."""
        beginning = self._buffer[self._at : self._at + CHUNK]
        return _WRAPPED.search(beginning) is not None

    def _fill(self, size: int) -> bool:
        """Read more text and forget what has been parsed; return False at the end."""
        passed = self._buffer[: self._at]
        newlines = passed.count("\n")
        self._column = len(passed) - passed.rfind("\n") if newlines else self._column + len(passed)
        self._line += newlines
        more = self._text.read(size)
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        self._is_end = not more
        return bool(more)

    def _broken(self, problem: str, at: int | None = None) -> BadDataError:
        at = self._at if at is None else at
        line = self._line + self._buffer.count("\n", 0, at)
        begin = self._buffer.rfind("\n", 0, at)
        column = at - begin if begin >= 0 else self._column + at
        is_cut = self._is_end and (problem.startswith("Unterminated") or not self._buffer[at:].strip())
        hint = "the file is truncated or damaged; fetch it again" if is_cut else _HINT
        return BadDataError(f"{self._name}: broken JSON: {problem}, line {line}, column {column}", hint=hint)

    def _too_large(self) -> BadDataError:
        message = f"{self._name}: one JSON value of more than {MAX_VALUE / 2**20:.0f} MB"
        return BadDataError(message, hint="write a list, or one record per line")
