"""One check of ``stargaze doctor``, and the checks of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stargaze.errors import StargazeError
from stargaze.network_settings import find_problems

CheckState = Literal["ok", "warning", "error"]
MIN_FREE = 2.0
"""Free space for a store [GB]: the sample takes 0.1, a million repositories 1.5."""
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
