"""Copy standard input to a log file that is renamed to ``.old`` when it is full: ``python rotate_log.py FILE BYTES``.

A process of its own: no process that logs waits for a disk, and lines written after the supervisor's death are kept. It ends with
the last process that writes, and imports only the standard library.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

MODE = 0o600
CHUNK = 65_536


def main(arguments: list[str]) -> None:
    """Copy until the end of the input; what a full disk refuses is counted, and reported when it accepts data again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the last lines of the other processes are still to come
    path, limit = Path(arguments[0]), int(arguments[1])
    lost = 0
    while data := os.read(0, CHUNK):
        try:
            if lost:
                _append(path, f"{lost} bytes of this log are missing: the disk was full\n".encode(), limit)
            _append(path, data, limit)
            lost = 0
        except OSError:
            lost += len(data)


def _append(path: Path, data: bytes, limit: int) -> None:
    """Append data; a file is renamed between two lines."""
    size = path.stat().st_size if path.exists() else 0
    if size and size + len(data) > limit:
        end = 0 if _ends_with_line(path) else data.find(b"\n") + 1
        if end or _ends_with_line(path) or size > 2 * limit:
            _write(path, data[:end])
            path.replace(path.with_suffix(".old"))
            data = data[end:]
    _write(path, data)


def _ends_with_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() == b"\n"


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
