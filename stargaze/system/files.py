"""Atomic writes, JSON, checksums; disk errors become one clear message."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stargaze.errors import ExternalError, MissingInputError

STANDARD_OUTPUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)
UNUSABLE_PATH = (
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENOENT),
    *(errno.ENAMETOOLONG, errno.EILSEQ, errno.ELOOP, errno.EIO, errno.EBUSY, errno.ESTALE, errno.EMFILE),
)
"""A file in place of a folder or the reverse, an invalid name, a failing disk."""


def is_standard_output(path: Path) -> bool:
    """Return whether a path means the standard output, which may be a terminal, a pipe or a file."""
    return str(path) in STANDARD_OUTPUT


@contextlib.contextmanager
def atomic_write(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` if the block succeeds, else delete it.

    If the disk is full or the folder is not writable, ExternalError is raised and the previous file stays.
    """
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with convert_disk_errors(path):
            yield temporary
            temporary.chmod(mode)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a temporary folder inside ``parent``, to be filled and renamed; delete it otherwise."""
    with convert_disk_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
        temporary.chmod(0o755)
    try:
        with convert_disk_errors(parent):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def convert_disk_errors(path: Path) -> Iterator[None]:
    """Convert the errors of a full, protected or failing disk to ExternalError."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise ExternalError(
                f"{path}: the disk is full; the previous contents are unchanged",
                hint=f"free some space, or point store.path elsewhere; df -h {path.parent}",
            ) from error
        if error.errno in NOT_PERMITTED:
            raise ExternalError(
                f"{path}: cannot be written: {error.strerror}", hint="point store.path to a folder that you own"
            ) from error
        if error.errno in UNUSABLE_PATH:
            raise ExternalError(
                f"{path}: cannot be written: {error.strerror}", hint="point store.path to a folder that can be created"
            ) from error
        raise


@contextlib.contextmanager
def limited_umask() -> Iterator[None]:
    """Let nobody but the owner write what this process and its children create, whatever umask was inherited."""
    previous = os.umask(0o022)
    os.umask(previous | 0o022)
    try:
        yield
    finally:
        os.umask(previous)


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner can enter, or restrict an existing one of this user; return it."""
    with convert_disk_errors(path):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        restrict_mode(path, 0o700)
    return path


def create_private_file(path: Path, content: bytes = b"") -> None:
    """Create a file for its owner only, which has its content as soon as it has its name; an existing one is not changed."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(name, path)
    finally:
        Path(name).unlink()


def restrict_mode(path: Path, mode: int) -> None:
    """Remove permissions that ``mode`` lacks, if the file belongs to this user."""
    status = path.stat()
    if status.st_mode & 0o777 & ~mode and status.st_uid == os.geteuid():
        path.chmod(status.st_mode & mode)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented and in a fixed order."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, command: str) -> Any:
    """Read JSON that stargaze wrote; the hint of an error is the ``stargaze`` command that creates the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingInputError(f"{path} does not exist yet", hint=f"stargaze {command}") from error
    except (ValueError, RecursionError, OSError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint=f"stargaze {command} creates it again") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
