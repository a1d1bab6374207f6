"""Open untrusted files: detect the format from the content, and limit the decompressed size."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import json
import re
import shlex
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stargaze.errors import BadDataError, MissingInputError

Format = Literal["json", "json list", "json lines", "csv", "parquet"]

MAX_BYTES = 16 * 2**30
"""Decompressed size of a file [byte]; the records of all repositories with ten stars or more are smaller."""
MAX_VALUE = 32 * 2**20
"""Length of one record or search response, which takes ten times the memory when parsed, thirty if crafted [characters].
A real record has up to 1.2 MB (its release notes), a response of GitHub up to 2 MB."""
MIN_TEXT_PER_NUL, MIN_TEXT_PER_INVALID = 10, 20
"""Characters of a text with NULs per NUL, and per invalid character; a binary file has more of one of them."""
HEAD = 2**20
"""Length of the beginning from which the format is detected [byte]."""

SUPPORTED = "save it as CSV, JSON or Parquet, or as .gz of these"
DECOMPRESS = f"decompress it, or {SUPPORTED}"
SPREADSHEET = "export the sheet as CSV (UTF-8)"
FROM_SQLITE = (
    "write the table with the repositories as CSV, which is repos in databases of github-to-sqlite: "
    "sqlite3 -header -csv {path} 'select * from repos' > repos.csv"
)
FROM_PANDAS = "read it with pandas and write it with to_parquet"
UNSUPPORTED = {
    b"PK\x03\x04": ("a zip archive", DECOMPRESS),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", SPREADSHEET),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", DECOMPRESS),
    b"BZh": ("compressed with bzip2", DECOMPRESS),
    b"\xfd7zXZ": ("compressed with xz", DECOMPRESS),
    b"7z\xbc\xaf": ("a 7z archive", DECOMPRESS),
    b"\x1f\x8b": ("gzip inside gzip", DECOMPRESS),
    b"SQLite format 3": ("a SQLite database", FROM_SQLITE),
    b"ARROW1\x00": ("an Arrow (Feather) file", FROM_PANDAS),
    b"Obj\x01": ("an Avro file", SUPPORTED),
    b"\x89HDF": ("an HDF5 file", FROM_PANDAS),
    b"\x80\x03": ("a pickle, which can run code", "write it as CSV or Parquet where you trust it"),
    b"\x80\x04": ("a pickle, which can run code", "write it as CSV or Parquet where you trust it"),
    b"\x80\x05": ("a pickle, which can run code", "write it as CSV or Parquet where you trust it"),
    b"%PDF": ("a PDF", SUPPORTED),
    b"version https://git-lfs": ("a pointer of Git LFS, not the data", "download the data: git lfs pull"),
}
"""First bytes of files that are not read, what they are, and what to do."""
_NULL_FIRST = re.compile(r"null\s{1,99}(?:null|[{\[])")
"""JSON of which the first value is null, as jq writes for a repository that does not exist."""
IN_SPREADSHEET = (b"[Content_Types].xml", b"_rels/.rels", b"xl/", b"opendocument.spreadsheet")
"""What the beginning of an xlsx or ods file contains, which is a zip archive."""


@dataclass(frozen=True)
class Source:
    """An open file and its format."""

    path: Path
    format: Format
    compressed: bool
    stream: io.BufferedReader[Any]

    @property
    def name(self) -> str:
        """The path, for messages."""
        return str(self.path)

    def text(self) -> io.TextIOWrapper:
        """Return a text stream; an invalid character becomes U+FFFD, as the rest of its record may be valid."""
        return io.TextIOWrapper(self.stream, encoding=_encoding(self.stream.peek(4)), errors="replace", newline="")


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, decompress it if it is gzip, and detect its format.

    Raise MissingInputError if it cannot be read; BadDataError if it is empty, truncated, too large, a web page, or of an
    unsupported format.
    """
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(_open(path))
        compressed = plain.peek(2)[:2] == b"\x1f\x8b"
        raw = stack.enter_context(gzip.GzipFile(fileobj=plain)) if compressed else plain
        stream = stack.enter_context(io.BufferedReader(_LimitedReader(raw, path), buffer_size=HEAD))
        yield Source(path, _detect_format(stream.peek(HEAD), path), compressed, stream)


def _open(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise MissingInputError(f"{path}: no such file", hint=_missing_hint(path)) from error
    except IsADirectoryError as error:
        hint = f"name its files, as stargaze fetch --from {shlex.quote(str(path))}/*"
        raise MissingInputError(f"{path} is a folder, not a file", hint=hint) from error
    except (OSError, ValueError) as error:
        raise MissingInputError(f"{path}: cannot be read: {error}", hint="check its name and permissions") from error


def _missing_hint(path: Path) -> str:
    if str(path) == "-":
        return "write /dev/stdin to read a pipe"
    if "*" in str(path):
        return f"only a shell expands patterns, without quotes: stargaze fetch --from {path}; in the config, name each file"
    return "check the path" if path.is_absolute() else "check the path; it is relative to this folder"


class _LimitedReader(io.RawIOBase):
    """A stream that raises a clear error if it is broken or too large."""

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
            chunk = self._read(len(view) - filled)
            if not chunk:
                break
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
        self._count += filled
        if self._count > MAX_BYTES:
            message = f"{self._path}: decompresses to more than {MAX_BYTES / 2**30:.0f} GiB"
            raise BadDataError(message, hint="split it into smaller files")
        return filled

    def _read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            hint = "the file is truncated or damaged; fetch it again"
            raise BadDataError(f"{self._path}: broken gzip: {error}", hint=hint) from error
        except OSError as error:
            raise MissingInputError(f"{self._path}: cannot be read: {error}", hint="check the disk") from error


def _encoding(head: bytes) -> str:
    """Return the encoding of a text; some databases write UTF-16 without its mark, and each second byte is then zero."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    is_zero = [byte == 0 for byte in head[:4]]
    if is_zero == [False, True] * 2:
        return "utf-16-le"
    return "utf-16-be" if is_zero == [True, False] * 2 else "utf-8-sig"


def _is_binary(text: str) -> bool:
    """Return whether a text with NULs is none; a crawler or a damaged disk may have left a few, but none in the first line."""
    nuls, invalid = text.count("\x00"), text.count("\ufffd")
    is_dense = nuls * MIN_TEXT_PER_NUL > len(text) or invalid * MIN_TEXT_PER_INVALID > len(text)
    return nuls > 0 and (is_dense or "\x00" in text.partition("\n")[0])


def _detect_format(head: bytes, path: Path) -> Format:
    """Return the format of a file from its beginning."""
    if head.startswith(b"PAR1"):
        return "parquet"
    _refuse_unsupported(head, path)
    text = head.decode(_encoding(head), errors="replace").strip()
    if not text:
        raise BadDataError(f"{path} is empty", hint="fetch it again")
    if _is_binary(text):
        raise BadDataError(f"{path} is neither text nor Parquet", hint=SUPPORTED)
    if text.startswith("<"):
        raise BadDataError(f"{path} is a web page (HTML or XML), not data", hint="download the raw file")
    if {".jsonl", ".ndjson"} & set(path.suffixes):
        return "json lines"
    if text.startswith("["):
        return "json list"
    if text.startswith("{") or _NULL_FIRST.match(text):
        return "json lines" if _is_json_lines(text) else "json"
    return "csv"


def _refuse_unsupported(head: bytes, path: Path) -> None:
    found = next((kind for magic, kind in UNSUPPORTED.items() if head.startswith(magic)), None)
    if found and head.startswith(b"PK") and any(name in head[:4096] for name in IN_SPREADSHEET):
        found = ("a spreadsheet", SPREADSHEET)
    if found:
        raise BadDataError(f"{path} is {found[0]}", hint=found[1].format(path=shlex.quote(str(path))))


def _is_json_lines(text: str) -> bool:
    """Distinguish JSON lines from one document over several lines, even if the first line is broken."""
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
