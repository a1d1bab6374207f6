"""Control groups of one host, in the version that this machine uses: one tree (v2), or one per controller (v1)."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PAUSE = 0.05  # [s]
V1 = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids", "systemd")


def create(name: str) -> list[Path]:
    """Create the groups of a host; return the files to which a pid is written to move that process into them."""
    if _is_one_tree():
        _delegate_controllers()
    folders = [tree / name for tree in _trees()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if folder.parent.name == "cpuset":  # a new group of v1 has none, and accepts no process without
                (folder / setting).write_text((folder.parent / setting).read_text())
    return [folder / "cgroup.procs" for folder in folders]


def remove(name: str, seconds: float = 10.0) -> None:
    """Remove the groups of a host that has ended, and those below them; the kernel may take a moment to release them."""
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


def _delegate_controllers() -> None:
    """Enable every controller in the groups below the root: the engine of a host limits its containers with them."""
    for controller in (ROOT / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # another program may use one of them exclusively
            (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")


def _trees() -> list[Path]:
    if _is_one_tree():
        return [ROOT]
    return [ROOT / name for name in V1 if (ROOT / name / "cgroup.procs").is_file()]
