"""One at a time: locks on the disk, and the removal of what a killed one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from stargaze.errors import ExternalError
from stargaze.system.files import convert_disk_errors

STALE = 3600.0
"""What nobody touched for so long belongs to nobody [s]; no push and no write lasts longer."""
TEMPORARY = re.compile(
    r"\.(screen-|making-|(repositories|trials|star_history)\.parquet\.|(features|fetch|screen|installed|stargaze|errand|job)\.json\."
    r"|(selection|leaderboard)\.csv\.|selection\.svg\.|trials\.jsonl\.|latest(-growth)?\.|allowed_signers\.)[a-z0-9_]{8}"
)
"""Names that `artifacts` and `screen` give to what is not finished; a store may lie among files of other programs."""


class BusyError(ExternalError):
    """Another process holds the lock."""


@contextlib.contextmanager
def locked(path: Path, *, busy: str = "", hint: str = "") -> Iterator[None]:
    """Hold the lock at ``path`` until the block or the process ends; one that is held is a BusyError with ``busy``, if given."""
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="utf-8")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            raise BusyError(busy + _holder(path), hint=hint) from error
        with convert_disk_errors(path):
            path.write_text(f"{os.getpid()}\n", encoding="utf-8")
        try:
            yield
        finally:
            stream.truncate(0)


def sweep(folder: Path, names: re.Pattern[str], *, now: float) -> None:
    """Remove what has such a name and is stale; ``now`` [s] by the clock of the disk that dated it."""
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(OSError):  # it went meanwhile, or is not ours: it harms nobody
            if names.fullmatch(path.name) and now - path.lstat().st_mtime > STALE:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _holder(path: Path) -> str:
    """Name the process that holds the lock, if it has said so already."""
    number = path.read_text(encoding="utf-8", errors="replace").strip()
    return f" (process {number})" if number.isdigit() else ""
