"""What a release commit holds: listed and measured without reading a file, then written out as a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.errors import ExternalError
from stargaze.serve.release import git, record
from stargaze.serve.release.record import printable
from stargaze.serve.release.repository import HookPolicy

FOLDER = "bundle"
PLAIN_FILE = "100644"
MOST_JSON = 64_000  # [byte]; far above three policies' scores or 64 sums, far below what strains a parser


class RefusedError(ExternalError):
    """The hook does not let a release in; what served before serves on."""


@dataclass(frozen=True)
class Contents:
    """The blobs of one release commit; ``files`` has the bundle's, by name."""

    release: str
    files: Mapping[str, str]


def list_commit(repository: git.Repository, commit: str, rules: HookPolicy) -> Contents:
    """Return what the commit holds if it is a release in shape, number and size; reads nothing but git's own trees."""
    top = {entry.name: entry for entry in git.list_tree(repository, commit)}
    if set(top) != {FOLDER, record.FILE} or top[FOLDER].kind != "tree":
        raise RefusedError(f"a release holds {FOLDER}/ and {record.FILE}, this one holds {_names(list(top))}")
    entries = git.list_tree(repository, top[FOLDER].object)
    if len(entries) > rules.max_files:
        raise RefusedError(f"the bundle has {len(entries)} files, at most {rules.max_files} are allowed")
    for entry in [top[record.FILE], *entries]:
        _check_plain(entry)
    if len({entry.name for entry in entries}) != len(entries):
        raise RefusedError("the bundle names a file twice")
    size = sum(entry.size for entry in entries)
    if size > rules.max_bytes:
        raise RefusedError(f"the bundle has {size / 1e6:.1f} MB, at most {rules.max_bytes / 1e6:g} MB are allowed")
    found = {entry.name: entry for entry in entries}
    if manifest.NAME not in found:
        raise RefusedError(f"the bundle has no {manifest.NAME}")
    for entry in (top[record.FILE], found[manifest.NAME]):
        if entry.size > MOST_JSON:
            raise RefusedError(f"{entry.name} is larger than {MOST_JSON} bytes")
    return Contents(release=top[record.FILE].object, files={name: entry.object for name, entry in found.items()})


def write_out(repository: git.Repository, contents: Contents, folder: Path) -> str:
    """Write the bundle's files into ``folder``, check them against their manifest, and return the digest."""
    for name, blob in contents.files.items():
        git.write_out(repository, blob, folder / name)
    try:
        return manifest.verify_files(folder)
    except manifest.BadBundleError as error:
        # The folder is a temporary one, so its path would tell nothing.
        message = error.message.replace(f"{folder}/", "").replace(str(folder), "the bundle")
        raise RefusedError(printable(message)) from error


def _check_plain(entry: git.Entry) -> None:
    if entry.kind != "blob" or entry.mode != PLAIN_FILE:
        what = _KINDS.get(entry.mode, f"of mode {entry.mode}")
        raise RefusedError(f"{_names([entry.name])} is {what}, only ordinary files are allowed")
    if not manifest.PLAIN_NAME.fullmatch(entry.name):
        raise RefusedError(f"{_names([entry.name])} is not a plain file name")


_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a folder", "100755": "a program"}


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(printable(name, 60)) for name in sorted(names)[:5])
    return (shown or "nothing") + (", …" if len(names) > 5 else "")
