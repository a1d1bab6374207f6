"""What a container's processes leave in files for those who ask how they are: a look must not cost what an answer costs."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from stargaze.system.progress import Notify

RELOAD_INTERVAL_VARIABLE = "STARGAZE_FOLLOW"
"""Variable: look at the link to the release this often [s], from a thread; without it, at each question."""
HEARTBEAT_INTERVAL = 2.0
"""So often a worker's main loop says that it turns [s]."""


def role_file(queue: Path) -> Path:
    """Return the file that says what a container is: web or worker."""
    return queue / "role"


def draining_file(queue: Path) -> Path:
    """Return the file that is there once a page is to end and shall get no new visitors."""
    return queue / "draining"


def heartbeat_file(queue: Path) -> Path:
    """Return the file that a worker's main loop touches."""
    return queue / "pulse"


def is_heartbeat_recent(queue: Path, most: float) -> bool:
    """Notify whether the main loop turned within the last ``most`` seconds."""
    with contextlib.suppress(OSError):
        return time.time() - heartbeat_file(queue).stat().st_mtime <= most
    return False


def record_served_bundle(queue: Path) -> Notify:
    """Return what writes down which bundle this process answers with."""

    def note(digest: str) -> None:
        folder = queue / "serves"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{os.getpid()}"
        temporary.write_text(digest, encoding="ascii")
        temporary.replace(folder / str(os.getpid()))

    return note


def served_bundles(queue: Path) -> list[str]:
    """Return the bundles that the living processes answer with, one each."""
    found = []
    for path in sorted((queue / "serves").glob("[0-9]*")):
        if Path("/proc", path.name).exists():
            found.append(path.read_text(encoding="ascii"))
        else:
            path.unlink(missing_ok=True)
    return found


def read_reload_interval(environ: Mapping[str, str]) -> float:
    """Return how often to look at the link [s]; 0 where each question looks itself."""
    return float(environ.get(RELOAD_INTERVAL_VARIABLE, "0"))
