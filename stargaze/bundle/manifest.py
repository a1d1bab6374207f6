"""The manifest of a bundle: SHA-256 and size of every file, checked before anything parses them. Standard library only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError

FORMAT = 1
NAME = "manifest.json"
MOST_FILES = 32
MOST_BYTES = 1_000_000_000
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BadBundleError(StargazeError):
    """A bundle is not what its manifest says, or cannot be what it claims to be."""

    exit_code = 5


def write_manifest(folder: Path) -> str:
    """Write the manifest of all files in the folder and return the bundle's digest."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != NAME
    }
    text = json.dumps({"format": FORMAT, "files": files}, indent=1, sort_keys=True) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def read_verified(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return the digest and the content of every file, each read once and equal to what the manifest promises.

    Raises
    ------
    BadBundleError
        If a file is missing, too many, changed, a link, or the manifest itself is not well-formed.
    """
    try:
        text = _read(folder / NAME, 1_000_000)
        promised = _files(text, folder)
        there = {path.name for path in folder.iterdir()} - {NAME}
        if there != set(promised):
            odd = sorted(there ^ set(promised))
            raise BadBundleError(f"{folder}: the manifest and the folder differ in {', '.join(odd)}", hint=_HINT)
        content = {name: _checked(folder / name, promise) for name, promise in promised.items()}
    except OSError as error:
        raise BadBundleError(f"{folder}: cannot be read: {error}", hint=_HINT) from error
    return hashlib.sha256(text).hexdigest(), content


def verify_files(folder: Path) -> str:
    """Check the folder against its manifest and return the digest."""
    return read_verified(folder)[0]


def check_kind(meta: Any, kind: str, folder: Path) -> None:
    """Refuse a sound bundle that answers another question; one without a word about it estimates stars.

    Raises
    ------
    BadBundleError
        If it is of another kind.
    """
    found = meta.get("kind", "stars") if isinstance(meta, dict) else "stars"
    if found != kind:
        raise BadBundleError(
            f"{folder}: is a bundle of kind {str(found)[:20]!r}, and one of kind {kind!r} is needed",
            hint=f'stargaze tune with tuning.target = "{kind}" makes one',
        )


def check_named(named: set[str], content: Mapping[str, bytes], folder: Path, hint: str) -> None:
    """Refuse a bundle whose description gives a meaning to other files than are there: such a file could be anything.

    Raises
    ------
    BadBundleError
        If a file is named and missing, or there and not named.
    """
    stray = named ^ set(content)
    if stray:
        odd = ", ".join(sorted(stray))
        raise BadBundleError(f"{folder}: bundle.json and the manifest do not name the same files: {odd}", hint=hint)


_HINT = "stargaze tune makes a bundle; stargaze rollback returns to the release before"


def _files(text: bytes, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads(text)
        files = manifest["files"]
        known = manifest["format"] == FORMAT and isinstance(files, dict)
        sound = known and all(
            PLAIN_NAME.fullmatch(name) and _is_size(item["size"]) and isinstance(item["sha256"], str)
            for name, item in files.items()
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBundleError(f"{folder}: {NAME} is not well-formed: {error}", hint=_HINT) from error
    if not sound or len(files) > MOST_FILES or sum(item["size"] for item in files.values()) > MOST_BYTES:
        raise BadBundleError(f"{folder}: {NAME} is of another format, or names too much", hint=_HINT)
    return dict(files)


def _is_size(value: object) -> bool:
    """Tell a size from what is none; a negative one would read a whole file, and make room in the sum for a large one."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _checked(path: Path, promise: dict[str, Any]) -> bytes:
    data = _read(path, promise["size"])
    if hashlib.sha256(data).hexdigest() != promise["sha256"]:
        raise BadBundleError(f"{path}: is not the file that the manifest names (SHA-256 differs)", hint=_HINT)
    return data


def _read(path: Path, most: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BadBundleError(f"{path}: is missing or is not a plain file", hint=_HINT)
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise BadBundleError(f"{path}: is larger than {most} bytes, which is not the file that is meant", hint=_HINT)
    return data
