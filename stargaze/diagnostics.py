"""One line of ``stargaze doctor``: what was looked at, whether it is well, what was found, and what to type."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stargaze.errors import StargazeError

State = Literal["well", "warning", "ill"]
LEAST_FREE = 2.0
"""For a store [GB]: the sample takes 0.1, a million repositories 1.5."""
PROGRAMS = {
    "git": ("releases are git commits", "apt-get install git"),
    "ssh": ("machines are entered by ssh", "apt-get install openssh-client"),
    "ssh-keygen": ("releases are signed with an ssh key", "apt-get install openssh-client"),
}


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    state: State
    found: str
    hint: str = ""

    def as_row(self) -> dict[str, str]:
        """Return it as a row for people."""
        return {
            "check": self.name,
            "state": self.state,
            "found": self.found,
            "type": "" if self.state == "well" else self.hint,
        }


def checked(name: str, look: Callable[[], Iterable[Check]]) -> tuple[Check, ...]:
    """Look; an error that a look meets is what it found."""
    try:
        return tuple(look())
    except StargazeError as error:
        return (Check(name, "ill", error.message, error.hint),)


def of_this_machine(store: Path, environ: Mapping[str, str]) -> tuple[Check, ...]:
    """Check what every stage needs of the machine that it runs on."""
    free = shutil.disk_usage(_that_exists(store)).free / 1e9
    version = ".".join(map(str, sys.version_info[:3]))
    token = bool(environ.get("GITHUB_TOKEN"))
    programs = [
        Check(f"program {name}", "well", path)
        if (path := shutil.which(name))
        else Check(f"program {name}", "ill", f"not found: {why}", hint)
        for name, (why, hint) in PROGRAMS.items()
    ]
    return (
        Check("python", "well" if sys.version_info >= (3, 11) else "ill", version, "use Python 3.11 or newer"),
        Check(
            "disk",
            "well" if free >= LEAST_FREE else "ill",
            f"{free:.1f} GB free for {store}",
            "free some space, or point store.path elsewhere",
        ),
        Check("cores", "well", f"{os.cpu_count()}"),
        *programs,
        Check("GITHUB_TOKEN", "well", "is set")
        if token
        else Check(
            "GITHUB_TOKEN", "warning", "is not set: GitHub answers 60 questions an hour", "export GITHUB_TOKEN=..."
        ),
    )


def _that_exists(path: Path) -> Path:
    """Return the nearest folder above that is there."""
    return next(one for one in (path.resolve(), *path.resolve().parents) if one.is_dir())
