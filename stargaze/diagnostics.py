"""One check of ``stargaze doctor``, and the checks of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from stargaze.errors import StargazeError
from stargaze.network_settings import find_problems

CheckState = Literal["ok", "warning", "error"]
MIN_FREE = 2.0
"""Free space for a store [GB]: the sample takes 0.1, a million repositories 1.5."""
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""No clock of a machine with this program can show an earlier time."""
SET_CLOCK = "set it: sudo timedatectl set-ntp true"
PROGRAMS = {
    "git": ("releases are git commits", "apt-get install git"),
    "ssh": ("machines are reached by ssh", "apt-get install openssh-client"),
    "ssh-keygen": ("releases are signed with an ssh key", "apt-get install openssh-client"),
}


@dataclass(frozen=True)
class Check:
    """The result of one check; ``fix`` is what to type where it is not ok."""

    name: str
    state: CheckState
    result: str
    fix: str = ""

    def as_row(self) -> dict[str, str]:
        """Return the row of the table."""
        fix = "" if self.state == "ok" else self.fix
        return {"check": self.name, "state": self.state, "result": self.result, "fix": fix}


def catch_errors(name: str, check: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    """Return the results of a check; an error becomes a failed check of this name."""
    try:
        return tuple(check())
    except StargazeError as error:
        return (Check(name, "error", error.message, error.hint),)


def find_clock_problem(now: float) -> str:
    """Return what is wrong with the time of this machine [s since 1970]; empty if it can be right.

    >>> find_clock_problem(0.0).partition(":")[0]
    "this machine's clock shows 1970-01-01"
    """
    if now >= EARLIEST.timestamp():
        return ""
    day = datetime.fromtimestamp(now, tz=UTC).date()
    return f"this machine's clock shows {day}: newer dates seem to be in the future, and certificates not valid yet"


def check_this_machine(store: Path, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Check what every stage needs of the machine that it runs on."""
    path = store.resolve()
    free = shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.is_dir())).free / 1e9
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        Check("python", "ok" if sys.version_info >= (3, 11) else "error", version, "use Python 3.11 or newer"),
        Check(
            "disk",
            "ok" if free >= MIN_FREE else "error",
            f"{free:.1f} GB free for {store}",
            "free some space, or point store.path elsewhere",
        ),
        Check("cores", "ok", f"{os.cpu_count()}"),
        *(Check("clock", "error", problem, SET_CLOCK) for problem in [find_clock_problem(time.time())] if problem),
        *(_check_program(name, *details) for name, details in PROGRAMS.items()),
        *(Check(name, "error", error.message, error.hint) for name, error in find_problems(environ).items()),
        Check("GITHUB_TOKEN", "ok", "is set")
        if environ.get("GITHUB_TOKEN")
        else Check("GITHUB_TOKEN", "warning", "is not set: 60 requests/hour to GitHub", "export GITHUB_TOKEN=..."),
    )


def _check_program(name: str, purpose: str, fix: str) -> Check:
    path = shutil.which(name)
    state: CheckState = "ok" if path else "error"
    return Check(f"program {name}", state, path or f"not found: {purpose}", fix)
