"""The package that runs here as files: what an image and a wheel are made from, in a checkout and where it is installed."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import stargaze
from stargaze.errors import ExternalError

PACKAGE = Path(stargaze.__file__).parent
RECIPES = (PACKAGE.parent, PACKAGE / "recipe")
"""Where Dockerfile and lock files lie: beside the package in a checkout, inside it where it is installed."""


def source() -> dict[str, bytes]:
    """Return the files of the package, by name."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"stargaze/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes() for path in files}


def code_digest() -> str:
    """Return a short name for the code that runs here: equal in a checkout, in its wheel and where that is installed."""
    beside = ("stargaze/ansible/", "stargaze/recipe/")  # lie beside the package in a checkout
    return digest({name: content for name, content in source().items() if not name.startswith(beside)})


def recipe(name: str) -> Path:
    """Return the path of a file that says how to build.

    Raises
    ------
    ExternalError
        If this installation came without.
    """
    for folder in RECIPES:
        if (folder / name).is_file():
            return folder / name
    raise ExternalError(f"{name} came not with this installation", hint="install it anew")


def digest(files: Mapping[str, bytes], *how: str) -> str:
    """Return a short name for a content; the same files built in the same way have the same."""
    whole = hashlib.sha256("\0".join(how).encode())
    for name, content in sorted(files.items()):
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return whole.hexdigest()[:12]


def context(lock: str) -> dict[str, bytes]:
    """Return all that an image is made from, by name: Dockerfile, the lock file of what it shall hold, source."""
    return {"Dockerfile": recipe("Dockerfile").read_bytes(), "requirements.lock": recipe(lock).read_bytes(), **source()}


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a tar that anybody may read and nobody write; always the same for the same files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o444
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
