"""Files on the way, as one tar: plain files with the names of a store, each with its SHA-256, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from stargaze.errors import ExternalError
from stargaze.infra.jobs.spec import NAME

SUMS = "sums.json"
"""The first in every parcel: the SHA-256 of each other file."""
MOST_FILES = 10_000
BROKEN = "what came through ssh is not what was sent"


def pack(files: Mapping[str, Path]) -> bytes:
    """Return a tar of these files, by the names that they have in the store."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        content = json.dumps(sums(files)).encode()
        entry = tarfile.TarInfo(SUMS)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for name, path in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as source:
                archive.addfile(entry, source)
    return stream.getvalue()


def unpack(stream: IO[bytes], folder: Path) -> list[str]:
    """Write the files of a tar below a folder; return their names.

    Raises
    ------
    ExternalError
        If it was cut off, holds anything but plain files of a store, or one is not what it was.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            return _unpacked(archive, folder)
    except (tarfile.TarError, EOFError, ValueError, TypeError) as error:
        raise ExternalError(f"{BROKEN}: {error}", hint="try again") from error


def sums(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file, by name."""
    found = {}
    for name, path in files.items():
        with path.open("rb") as source:
            found[name] = hashlib.file_digest(source, "sha256").hexdigest()
    return found


def _unpacked(archive: tarfile.TarFile, folder: Path) -> list[str]:
    promised: dict[str, str] | None = None
    written = dict[str, Path]()
    for entry in archive:
        source = archive.extractfile(entry) if entry.isfile() else None
        if source is None or len(written) > MOST_FILES:
            raise ExternalError(f"{BROKEN}: {entry.name[:80]!r} is no plain file")
        if promised is None:
            promised = _promised(entry, source)
            continue
        if entry.name not in promised or entry.name in written:
            raise ExternalError(f"{BROKEN}: {entry.name[:80]!r} was not announced")
        path = written[entry.name] = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    if promised is None or sums(written) != promised:
        raise ExternalError(BROKEN, hint="try again")
    return list(written)


def _promised(entry: tarfile.TarInfo, source: IO[bytes]) -> dict[str, str]:
    if entry.name != SUMS:
        raise ExternalError(f"{BROKEN}: it does not begin with {SUMS}")
    promised = json.loads(source.read(10_000_000))
    odd = [name for name in promised if not NAME.fullmatch(name)]
    if odd:
        raise ExternalError(f"{BROKEN}: {odd[0][:80]!r} is no file of a store")
    return dict(promised)
