"""Files in the queue folder: the health check reads the status of a process from them without asking it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from stargaze.store import Store
from stargaze.system.files import private_folder

RELOAD_INTERVAL_VARIABLE = "STARGAZE_RELOAD_INTERVAL"
"""Check the link to the release this often in a thread [s]; without it, at each request."""
ROLE_FILE = "role"
"""The role of a container: web or worker."""
DRAINING_FILE = "draining"
"""A file that exists while a web server is draining: it is to stop and must get no new visitors."""
HEARTBEAT_FILE = "heartbeat"
"""Its times say until when a prediction process accounts for itself, in seconds since the start of the machine, and its pid: a
change of times needs no space on a full disk and is independent of the clock."""
MAX_SILENCE = 6.0
"""Without a broker, a worker whose processes took no message for so long is stuck [s]."""
QUEUE_FORMAT = "3"
"""Changes with the content of messages and results."""


def prepare_queue_folder(store: Store) -> None:
    """Create the queue folder; one of another version is emptied with its results, which are all transient."""
    format_file = store.queue / "format"
    if store.queue.is_dir() and not (format_file.is_file() and format_file.read_bytes() == QUEUE_FORMAT.encode()):
        shutil.rmtree(store.queue)
        for path in store.root.glob(f"{store.results.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    private_folder(store.queue)
    format_file.write_text(QUEUE_FORMAT, encoding="ascii")
    (store.queue / HEARTBEAT_FILE).unlink(missing_ok=True)  # its time may be of an earlier start of the machine
    (store.queue / "messages").mkdir(exist_ok=True)


def record_heartbeat(queue: Path, busy_for: float = 0.0) -> None:
    """Record that this prediction process takes messages now, and that it may be busy for some time [s]."""
    path = queue / HEARTBEAT_FILE
    times = os.getpid(), time.monotonic() + busy_for
    with contextlib.suppress(OSError):
        try:
            os.utime(path, times)
        except FileNotFoundError:
            path.touch(mode=0o600)
            os.utime(path, times)


def is_heartbeat_recent(queue: Path, max_age: float) -> bool:
    """Return whether a prediction process took a message at most ``max_age`` ago [s], or is still busy."""
    try:
        status = (queue / HEARTBEAT_FILE).stat()
    except OSError:
        return False
    age = time.monotonic() - status.st_mtime
    return age <= max_age and (age >= 0 or Path("/proc", f"{status.st_atime:.0f}").exists())


def record_served_bundle(queue: Path, digest: str) -> None:
    """Record the bundle that this process has loaded."""
    folder = queue / "served-bundles"
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{os.getpid()}"
    temporary.write_text(digest, encoding="ascii")
    temporary.replace(folder / str(os.getpid()))


def served_bundles(queue: Path) -> list[str]:
    """Return the bundle of each living process."""
    digests = []
    for path in sorted((queue / "served-bundles").glob("[0-9]*")):
        if Path("/proc", path.name).exists():
            digests.append(path.read_text(encoding="ascii"))
        else:
            path.unlink(missing_ok=True)
    return digests


def read_reload_interval(environ: Mapping[str, str]) -> float:
    """Return how often to check the link [s]; 0 to check it at each request."""
    return float(environ.get(RELOAD_INTERVAL_VARIABLE, "0"))
