"""Control groups of one host, of the machine's own kind: one tree (v2), or one per controller (v1)."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PAUSE = 0.05  # [s]
V1 = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")


def make(name: str) -> list[Path]:
    """Make the groups of a host; return the files that a process's number is written to for it to be in them."""
    if _is_one_tree():
        _hand_down()
    folders = [tree / name for tree in _trees()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if folder.parent.name == "cpuset":  # a group of v1 begins without any, and takes no process so
                (folder / setting).write_text((folder.parent / setting).read_text())
    return [folder / "cgroup.procs" for folder in folders]


def remove(name: str, seconds: float = 10.0) -> None:
    """Remove the groups of a host that has ended, and those below them; the kernel may take a moment to let go."""
    limit = time.monotonic() + seconds
    for top in (tree / name for tree in _trees()):
        while top.is_dir():
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if top.is_dir() and time.monotonic() > limit:
                raise OSError(f"{top}: is still in use")
            time.sleep(PAUSE if top.is_dir() else 0)


def _is_one_tree() -> bool:
    return (ROOT / "cgroup.controllers").is_file()


def _hand_down() -> None:
    """Have every group below the root get every controller: an engine on a host limits its containers with them."""
    for controller in (ROOT / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # one of them may be in use by someone who does not share it
            (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")


def _trees() -> list[Path]:
    if _is_one_tree():
        return [ROOT]
    return [ROOT / name for name in V1 if (ROOT / name / "cgroup.procs").is_file()]
