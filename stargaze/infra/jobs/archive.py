"""Transfer files as one tar: plain files with names of a store and their SHA-256 checksums, and nothing else."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from stargaze.errors import ExternalError
from stargaze.infra.jobs.spec import FILE_NAME
from stargaze.system.files import sha256

CHECKSUMS = "checksums.json"
"""The first entry: the SHA-256 of each other entry."""
MAX_FILES = 10_000
CORRUPT = "the transferred files are corrupt"


def pack_files(files: Mapping[str, Path]) -> bytes:
    """Return a tar of files by name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        content = json.dumps(checksums(files)).encode()
        entry = tarfile.TarInfo(CHECKSUMS)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as source:
                archive.addfile(entry, source)
    return stream.getvalue()


def unpack_files(stream: IO[bytes], folder: Path) -> list[str]:
    """Write the files of a tar below a folder; return their names.

    ExternalError if it is truncated, contains anything but plain files of a store, or a checksum differs.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            return _unpack(archive, folder)
    except (tarfile.TarError, EOFError, ValueError, TypeError) as error:
        raise ExternalError(f"{CORRUPT}: {error}", hint="try again") from error


def checksums(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by name."""
    return {name: sha256(path) for name, path in files.items()}


def _unpack(archive: tarfile.TarFile, folder: Path) -> list[str]:
    expected: dict[str, str] | None = None
    written = dict[str, Path]()
    for entry in archive:
        source = archive.extractfile(entry) if entry.isfile() else None
        if source is None or len(written) > MAX_FILES:
            raise ExternalError(f"{CORRUPT}: {entry.name[:80]!r} is not a plain file")
        if expected is None:
            expected = _read_checksums(entry, source)
            continue
        if entry.name not in expected or entry.name in written:
            raise ExternalError(f"{CORRUPT}: {entry.name[:80]!r} has no checksum")
        path = written[entry.name] = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    if expected is None or checksums(written) != expected:
        raise ExternalError(CORRUPT, hint="try again")
    return list(written)


def _read_checksums(entry: tarfile.TarInfo, source: IO[bytes]) -> dict[str, str]:
    if entry.name != CHECKSUMS:
        raise ExternalError(f"{CORRUPT}: {CHECKSUMS} is not the first entry")
    expected = json.loads(source.read(10_000_000))
    invalid = [name for name in expected if not FILE_NAME.fullmatch(name)]
    if invalid:
        raise ExternalError(f"{CORRUPT}: {invalid[0][:80]!r} is not a file of a store")
    return dict(expected)
