"""Run Python modules of this package in processes that import nothing from the working directory, which contains only data."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import stargaze

PYTHON = (sys.executable, "-P", "-m")
"""-P: Python does not put the working directory on its path."""


def python_path(environ: Mapping[str, str]) -> str:
    """Return a path with this package, which may be a checkout that is not installed, and without the working directory."""
    inherited = environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(Path(stargaze.__file__).parent.parent), *filter(_is_elsewhere, inherited)])


def ignore_working_directory(environ: MutableMapping[str, str]) -> None:
    """Remove the working directory, named as such, from where this process and its children search programs and modules."""
    for name in ("PATH", "PYTHONPATH"):
        entries = environ.get(name, "").split(os.pathsep)
        if name in environ and not all(map(_is_elsewhere, entries)):
            environ[name] = os.pathsep.join(filter(_is_elsewhere, entries))
            if name == "PYTHONPATH":
                sys.path[:] = [path for path in sys.path if path not in ("", str(Path.cwd()))]


def _is_elsewhere(entry: str) -> bool:
    """Return whether an entry of a search path is not the working directory: empty, or relative as ``.``."""
    return Path(entry).is_absolute()
