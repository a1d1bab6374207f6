"""The installed package as files: the input of images and wheels, from a checkout or an installation."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import stargaze
from stargaze.errors import ExternalError

PACKAGE = Path(stargaze.__file__).parent
RECIPE_FOLDERS = (PACKAGE.parent, PACKAGE / "recipe")
"""Folders of the Dockerfile and the lock files: the root of a checkout, or inside an installed package."""


@functools.cache
def package_files() -> Mapping[str, bytes]:
    """Return the files of the package by name, as they were at the first call."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"stargaze/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes() for path in files}


@functools.cache
def code_digest() -> str:
    """Return a short digest of the running code, the same for a checkout, its wheel and its installation."""
    data = ("stargaze/ansible/", "stargaze/recipe/")  # outside the package in a checkout
    return digest_files({name: content for name, content in package_files().items() if not name.startswith(data)})


def find_recipe(name: str) -> Path:
    """Return the path of the Dockerfile or a lock file."""
    for folder in RECIPE_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise ExternalError(f"{name} is missing from this installation", hint="reinstall stargaze")


def digest_files(files: Mapping[str, bytes], *options: str) -> str:
    """Return a short digest of files and the options with which they are built."""
    total = hashlib.sha256("\0".join(options).encode())
    for name, content in sorted(files.items()):
        total.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def build_context(lock: str) -> dict[str, bytes]:
    """Return the build context of an image by name: Dockerfile, the named lock file, package."""
    return {
        "Dockerfile": find_recipe("Dockerfile").read_bytes(),
        "requirements.lock": find_recipe(lock).read_bytes(),
        **package_files(),
    }


def pack_tar(files: Mapping[str, bytes]) -> bytes:
    """Return a reproducible tar of read-only files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o444
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
