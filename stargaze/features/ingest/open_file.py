"""Files of others, opened with care: what is in them is told from their content, and a bomb does not go off."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stargaze.errors import BadDataError, MissingInputError

Format = Literal["json", "json list", "json lines", "csv", "parquet"]

MOST_BYTES = 16 * 2**30
"""Of one file, unpacked, read as a stream: records of all repositories with ten stars or more are smaller."""
MOST_VALUE = 32 * 2**20
"""Characters of one record or one search answer, which are parsed in memory: to ten times the size, or thirty if
somebody means harm. A real record has up to 1.2 MB (its many release notes), an answer of GitHub's up to 2 MB."""
HEAD = 2**20
"""Bytes that are looked at to tell what a file is."""

PACKED = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x1f\x8b": "gzip inside gzip",
    b"SQLite format 3": "a SQLite database",
}


@dataclass(frozen=True)
class Source:
    """An open file and what it holds."""

    path: Path
    format: Format
    packed: bool
    stream: io.BufferedReader[Any]

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    def text(self) -> io.TextIOWrapper:
        """Read it as text; a broken character becomes a mark, the record around it may still be good."""
        return io.TextIOWrapper(self.stream, encoding=_encoding(self.stream.peek(4)), errors="replace", newline="")


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, unpack it if it is gzip, and tell its format.

    Raises
    ------
    MissingInputError
        If it is not there or cannot be read.
    BadDataError
        If it is empty, cut short, too large, a web page, or of a kind that stargaze does not read.
    """
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(_open(path))
        packed = plain.peek(2)[:2] == b"\x1f\x8b"
        raw = stack.enter_context(gzip.GzipFile(fileobj=plain)) if packed else plain
        stream = stack.enter_context(io.BufferedReader(_Bounded(raw, path), buffer_size=HEAD))
        yield Source(path, _format(stream.peek(HEAD), path), packed, stream)


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path}: no such file", hint="check the name; names are taken from this folder"
        ) from error
    except IsADirectoryError as error:
        raise MissingInputError(f"{path} is a folder, not a file", hint=f"name its files: {path}/*") from error
    except (OSError, ValueError) as error:
        raise MissingInputError(f"{path}: cannot be read: {error}", hint="check its name and permissions") from error


class _Bounded(io.RawIOBase):
    """A stream that ends in a clear error if it is broken or too large."""

    def __init__(self, raw: io.BufferedIOBase, path: Path) -> None:
        self._raw = raw
        self._path = path
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            piece = self._read(len(view) - filled)
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        self._count += filled
        if self._count > MOST_BYTES:
            raise BadDataError(
                f"{self._path}: unpacks to more than {MOST_BYTES / 2**30:.0f} GiB", hint="split it into smaller files"
            )
        return filled

    def _read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadDataError(
                f"{self._path}: broken gzip: {error}", hint="the file is cut short or damaged; fetch it again"
            ) from error
        except OSError as error:
            raise MissingInputError(
                f"{self._path}: cannot be read: {error}", hint="check the disk it lies on"
            ) from error


def _encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _format(head: bytes, path: Path) -> Format:
    """Tell what a file holds from how it begins."""
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, what in PACKED.items():
        if head.startswith(magic):
            raise BadDataError(
                f"{path} is {what}", hint="unpack it, or save it as CSV, JSON or Parquet (.gz of each is read)"
            )
    text = head.decode(_encoding(head), errors="replace").strip()
    if not text:
        raise BadDataError(f"{path} is empty", hint="fetch it again")
    if "\x00" in text:
        raise BadDataError(
            f"{path} is neither text nor Parquet", hint="save it as CSV, JSON or Parquet (.gz of each is read)"
        )
    if text.startswith("<"):
        raise BadDataError(f"{path} is a web page (HTML or XML), not data", hint="download the raw file")
    if {".jsonl", ".ndjson"} & set(path.suffixes):
        return "json lines"
    if text.startswith("["):
        return "json list"
    if text.startswith("{"):
        return "json lines" if _is_lines(text) else "json"
    return "csv"


def _is_lines(text: str) -> bool:
    """Tell JSON lines from one document over several lines, even if the first line is broken."""
    first, _, rest = text.partition("\n")
    second = rest.lstrip()[:1]
    if not second:
        return False
    if second == "{" and first.rstrip()[-1] not in "[{:,":
        return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True
