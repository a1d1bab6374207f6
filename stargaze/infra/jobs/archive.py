"""Transfer files as one stream: a line of JSON with name, size and SHA-256 of each file, then their contents.

Not tar: an archive of an untrusted machine could contain links, devices, sparse files and headers of any size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from stargaze.errors import ExternalError
from stargaze.system.files import sha256

MAX_FILES = 1_000
MAX_BYTES = 4_000_000_000
"""Largest sum of the sizes of transferred files [byte]; a bundle has at most 1 GB."""
MAX_HEADER = 1_000_000
"""Largest first line [byte]."""
CHUNK = 1 << 18
"""Size of one read [byte]."""
CORRUPT = "the transferred files are corrupt"


class ByteStream(Protocol):
    """What is read of an input stream."""

    def readline(self, limit: int, /) -> bytes:
        """Return the bytes up to a newline, at most ``limit``."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end."""


def pack_files(files: Mapping[str, Path]) -> Iterator[bytes]:
    """Yield the stream of files by name."""
    entries: list[tuple[str, int, str]] = [(name, path.stat().st_size, sha256(path)) for name, path in files.items()]
    yield json.dumps(entries).encode() + b"\n"
    for (_, size, _), path in zip(entries, files.values(), strict=True):
        with path.open("rb") as source:
            yield from _read_exactly(source, size)


def unpack_files(stream: ByteStream, folder: Path, accepts: Callable[[str], bool]) -> list[str]:
    """Write the files of a stream below a folder; return their names.

    ExternalError if a name is not accepted, the stream is truncated or too large, or a checksum differs.
    """
    entries = _read_header(stream.readline(MAX_HEADER), accepts)
    for name, size, digest in entries:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        total = hashlib.sha256()
        with path.open("xb") as target:
            for chunk in _read_exactly(stream, size):
                total.update(chunk)
                target.write(chunk)
        if total.hexdigest() != digest:
            raise ExternalError(f"{CORRUPT}: {name} differs from its checksum", hint="try again")
    return [name for name, _, _ in entries]


def checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by name."""
    return {name: sha256(path) for name, path in files.items()}


def _read_header(line: bytes, accepts: Callable[[str], bool]) -> list[tuple[str, int, str]]:
    try:
        entries = [(str(name), int(size), str(digest)) for name, size, digest in json.loads(line)]
    except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
        raise ExternalError(f"{CORRUPT}: their list cannot be read", hint="try again") from error
    names = [name for name, _, _ in entries]
    unexpected = [name for name in names if not accepts(name)]
    if unexpected:
        raise ExternalError(f"{CORRUPT}: {unexpected[0][:80]!r} was not requested")
    sizes = [size for _, size, _ in entries]
    if len(names) > MAX_FILES or len(set(names)) < len(names) or min(sizes, default=0) < 0 or sum(sizes) > MAX_BYTES:
        raise ExternalError(f"{CORRUPT}: too many, too large or equal files")
    return entries


def _read_exactly(stream: ByteStream, size: int) -> Iterator[bytes]:
    while size:
        chunk = stream.read(min(size, CHUNK))
        if not chunk:
            raise ExternalError(f"{CORRUPT}: the connection or a file ended early", hint="try again")
        size -= len(chunk)
        yield chunk
