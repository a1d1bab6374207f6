"""File locks, and the removal of temporary files that killed processes left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stargaze.errors import ExternalError
from stargaze.system.files import convert_disk_errors

STALE_AFTER = 3600.0
"""Age of a temporary file without an owner [s]; no push and no write takes longer."""
TEMPORARY_NAME = re.compile(
    r"\.(screen-|partial-|(repositories|trials|star_history)\.parquet\.|(features|installed|stargaze|job|rollback)\.json\."
    r"|(fetch|select-features|screen|tune)(\.started)?\.json\."
    r"|(selection|leaderboard)\.csv\.|selection\.svg\.|trials(-[0-9a-f]{12})?\.jsonl\.|latest(-growth)?\.|allowed_signers\.)[a-z0-9_]{8}"
)
"""Names of temporary files; a store may be a folder with files of other programs."""


OWNER_LOCK = "owner.lock"
"""The lock file of a folder that belongs to one process."""


LOCKLESS_NAME = re.compile(r"stargaze-(tune|screen|catboost)-[a-z0-9_]{8}")
"""Names of temporary folders that have no lock; they are deleted when they are old."""


class BusyError(ExternalError):
    """Another process holds the lock."""

    code = "busy"


@contextlib.contextmanager
def file_lock(path: Path, *, busy: str = "", hint: str = "") -> Iterator[None]:
    """Hold the lock at ``path`` while the block runs; wait for it, or with a ``busy`` message raise BusyError at once."""
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise BusyError(busy + _describe_holder(path), hint=hint) from error
        with convert_disk_errors(path):
            path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        try:
            yield
        finally:
            stream.truncate(0)


@contextlib.contextmanager
def owned_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder for this process, readable by its user only, and delete it in the end.

    The kernel releases its lock when the process dies, so the next process recognizes an abandoned folder at once.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        hidden = folder / f".{OWNER_LOCK}"
        with hidden.open("wb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            hidden.rename(folder / OWNER_LOCK)  # visible when it is locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, names: re.Pattern[str], before: Callable[[Path], None]) -> None:
    """Call ``before`` with each folder with such a name whose owner has ended, and delete the folder."""
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):  # already deleted, or of another user
            if names.fullmatch(folder.name) and folder.lstat().st_uid == os.geteuid() and _is_abandoned(folder):
                before(folder)
                shutil.rmtree(folder, ignore_errors=True)


def remove_stale(folder: Path, names: re.Pattern[str], *, now: float) -> None:
    """Delete files and folders with such a name that are stale; ``now`` [s] is the time of the file system."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # already deleted, or of another user
            if names.fullmatch(path.name) and now - path.lstat().st_mtime > STALE_AFTER:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _is_abandoned(folder: Path) -> bool:
    """Return whether the process that owned the folder has ended; without a lock, whether the folder is old."""
    if folder.is_symlink():
        return False
    if not (folder / OWNER_LOCK).exists():
        return time.time() - folder.stat().st_mtime > STALE_AFTER and LOCKLESS_NAME.fullmatch(folder.name) is not None
    with (folder / OWNER_LOCK).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _describe_holder(path: Path) -> str:
    number = path.read_text(encoding="utf-8", errors="replace").strip()
    return f" (process {number})" if number.isdigit() else ""
