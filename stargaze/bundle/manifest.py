"""The manifest of a bundle: SHA-256 and size of every file, checked before anything parses them. Standard library only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stargaze.errors import StargazeError

FORMAT = 1
STAR_FORMAT, GROWTH_FORMAT = 5, 3
"""Formats of the descriptions of star and growth bundles."""
STAR_HINT = "stargaze tune writes one for this version"
GROWTH_HINT = 'stargaze tune with tuning.target = "growth" writes one for this version'
MANIFEST, DESCRIPTION = "manifest.json", "bundle.json"
GROWTH_FOLDER = "growth"
"""Folder of the growth bundle beside the files of the star bundle in an installed release: it has a manifest of its own."""
MAX_FILES = 32
MAX_BYTES = 1_000_000_000
MAX_OUTPUT = 1e6
"""Largest prediction that a model can return, so that sums stay finite; real ones are logarithms of counts [nat]."""
MAX_MESSAGE = 600
"""Length of an error in characters: a changed file can contain a text of any length."""
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""The exceptions of Python, NumPy and pandas for malformed content."""


class BadBundleError(StargazeError):
    """A bundle does not match its manifest, or its content is malformed."""

    code = "bad_bundle"

    def __init__(self, message: str, *, hint: str = "stargaze tune writes a new bundle") -> None:
        super().__init__(message.partition("\n")[0][:MAX_MESSAGE], hint=hint)  # libraries explain on further lines


def write_manifest(folder: Path) -> str:
    """Write the manifest of all files in the folder and return the bundle's digest."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    text = _render(files)
    (folder / MANIFEST).write_bytes(text)
    return hashlib.sha256(text).hexdigest()


def parse_json(data: bytes) -> Any:
    """Parse JSON in UTF-8; raise ValueError for a byte order mark, a key that occurs twice, NaN, and nesting too deep to read."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_verified(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return the digest and the content of every file, each read once and equal to its entry in the manifest.

    Raise BadBundleError if a file is missing, unexpected, changed or a link, or the manifest is malformed.
    """
    try:
        text = _read_bytes(folder / MANIFEST, 1_000_000)
        entries = _parse(text, folder)
        names = {path.name for path in folder.iterdir() if not _is_growth_folder(path)} - {MANIFEST}
        if names != set(entries):
            differing = ", ".join(sorted(names ^ set(entries)))
            raise BadBundleError(f"{folder}: the manifest and the folder differ in {differing}", hint=_HINT)
        content = {name: _read_checked(folder / name, entry) for name, entry in entries.items()}
    except OSError as error:
        raise BadBundleError(f"{folder}: cannot be read: {error}", hint=_HINT) from error
    return hashlib.sha256(text).hexdigest(), content


def verify_files(folder: Path) -> str:
    """Check the folder against its manifest and return the digest."""
    return read_verified(folder)[0]


def read_description(folder: Path, kind: str, version: int, hint: str) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """Return the digest, the parsed description and the content of all files, verified by :func:`read_verified`.

    Raise BadBundleError if a file was changed, or the bundle has another kind or format.
    """
    digest, content = read_verified(folder.resolve())
    with convert_malformed(folder, hint):
        meta = parse_json(content[DESCRIPTION])
        check_kind(meta, kind, folder)
        if meta["format"] != version:
            raise BadBundleError(f"{folder}: another version wrote this bundle: format", hint=hint)
    return digest, meta, content


@contextmanager
def convert_malformed(folder: Path, hint: str) -> Iterator[None]:
    """Convert the exceptions of a malformed description to BadBundleError."""
    try:
        yield
    except MALFORMED as error:
        raise BadBundleError(f"{folder}: {DESCRIPTION} is malformed: {_shorten(error)}", hint=hint) from error


def _shorten(error: Exception) -> str:
    """Return the message of a failed check, or the kind of error and its message."""
    return (str(error) if type(error) is ValueError else repr(error))[:300]


def check_kind(meta: Any, kind: str, folder: Path) -> None:
    """Raise BadBundleError for a bundle of another kind; the default kind is "stars"."""
    actual = meta.get("kind", "stars") if isinstance(meta, dict) else "stars"
    if actual != kind:
        raise BadBundleError(
            f"{folder}: is a bundle of kind {str(actual)[:20]!r}, but one of kind {kind!r} is needed",
            hint=f'stargaze tune with tuning.target = "{kind}" writes one',
        )


def check_file_names(names: set[str], content: Mapping[str, bytes], folder: Path, hint: str) -> None:
    """Raise BadBundleError if the description does not mention exactly the files of the folder."""
    if differing := ", ".join(sorted(names ^ set(content))):
        raise BadBundleError(f"{folder}: {DESCRIPTION} and the manifest differ in {differing}", hint=hint)


_HINT = "stargaze tune writes a new bundle; stargaze rollback restores the previous release"


def _render(files: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the only text of a manifest, so that a bundle has one digest."""
    return (json.dumps({"format": FORMAT, "files": files}, indent=1, sort_keys=True) + "\n").encode()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _parse(text: bytes, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = parse_json(text)
        files = manifest["files"]
        is_known = manifest["format"] == FORMAT and isinstance(files, dict)
        is_valid = is_known and all(
            FILE_NAME.fullmatch(name) and _is_size(item["size"]) and isinstance(item["sha256"], str)
            for name, item in files.items()
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadBundleError(f"{folder}: {MANIFEST} is malformed: {error}", hint=_HINT) from error
    if not is_valid or len(files) > MAX_FILES or sum(item["size"] for item in files.values()) > MAX_BYTES:
        raise BadBundleError(f"{folder}: {MANIFEST} has another format, too many files or too large ones", hint=_HINT)
    if text != _render({name: {"sha256": item["sha256"], "size": item["size"]} for name, item in files.items()}):
        raise BadBundleError(f"{folder}: {MANIFEST} is not written as stargaze writes it", hint=_HINT)
    return dict(files)


def _is_growth_folder(path: Path) -> bool:
    return path.name == GROWTH_FOLDER and path.is_dir() and not path.is_symlink()


def _is_size(value: object) -> bool:
    """Return whether this is a file size; a negative one would read a whole file and offset a large one in the sum."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_checked(path: Path, entry: dict[str, Any]) -> bytes:
    data = _read_bytes(path, entry["size"])
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise BadBundleError(f"{path}: differs from the manifest (SHA-256)", hint=_HINT)
    return data


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise BadBundleError(f"{path}: is missing or not a regular file", hint=_HINT)
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BadBundleError(f"{path}: is larger than the {max_bytes} bytes of the manifest", hint=_HINT)
    return data
