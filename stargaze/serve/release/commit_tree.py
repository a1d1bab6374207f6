"""The files of a release commit: listed and measured without reading any, then extracted into a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.errors import ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.record import RELEASE_FILE, printable
from stargaze.serve.release.repository import HookPolicy

BUNDLE_FOLDER = "bundle"
MAX_JSON = 64_000  # [byte]; far above three policies' scores or 64 checksums, far below what strains a parser
_PLAIN_FILE = "100644"
_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a folder", "100755": "a program"}


class RefusedError(ExternalError):
    """The hook refused a release; the previous one stays in production."""


@dataclass(frozen=True)
class CommitTree:
    """The blobs of one release commit: ``release`` is that of release.json, ``files`` those of the bundle by name."""

    release: str
    files: Mapping[str, str]


def list_commit(repository: git.Repository, commit: str, policy: HookPolicy) -> CommitTree:
    """Check layout, number and size of a release commit's files and return them; reads only git's trees."""
    top = {entry.name: entry for entry in git.list_tree(repository, commit)}
    if set(top) != {BUNDLE_FOLDER, RELEASE_FILE} or top[BUNDLE_FOLDER].kind != "tree":
        names = _quote_names(list(top))
        raise RefusedError(f"a release contains {BUNDLE_FOLDER}/ and {RELEASE_FILE}, this one {names}")
    entries = git.list_tree(repository, top[BUNDLE_FOLDER].object)
    if len(entries) > policy.max_files:
        raise RefusedError(f"the bundle has {len(entries)} files, at most {policy.max_files} are allowed")
    for entry in [top[RELEASE_FILE], *entries]:
        _check_plain_file(entry)
    bundle = {entry.name: entry for entry in entries}
    if len(bundle) != len(entries):
        raise RefusedError("the bundle contains two files of the same name")
    size = sum(entry.size for entry in entries)
    if size > policy.max_bytes:
        raise RefusedError(f"the bundle has {size / 1e6:.1f} MB, at most {policy.max_bytes / 1e6:g} MB are allowed")
    if manifest.MANIFEST not in bundle:
        raise RefusedError(f"the bundle has no {manifest.MANIFEST}")
    for entry in (top[RELEASE_FILE], bundle[manifest.MANIFEST]):
        if entry.size > MAX_JSON:
            raise RefusedError(f"{entry.name} is larger than {MAX_JSON} bytes")
    return CommitTree(release=top[RELEASE_FILE].object, files={name: entry.object for name, entry in bundle.items()})


def extract_bundle(repository: git.Repository, tree: CommitTree, folder: Path) -> str:
    """Write the bundle's files into ``folder``, verify them against their manifest, and return the digest."""
    for name, blob in tree.files.items():
        git.write_blob(repository, blob, folder / name)
    try:
        return manifest.verify_files(folder)
    except manifest.BadBundleError as error:
        # The folder is temporary, so its path would mean nothing to the reader.
        message = error.message.replace(f"{folder}/", "").replace(str(folder), "the bundle")
        raise RefusedError(printable(message)) from error


def _check_plain_file(entry: git.TreeEntry) -> None:
    if entry.kind != "blob" or entry.mode != _PLAIN_FILE:
        kind = _KINDS.get(entry.mode, f"of mode {entry.mode}")
        raise RefusedError(f"{_quote_names([entry.name])} is {kind}, only ordinary files are allowed")
    if not manifest.FILE_NAME.fullmatch(entry.name):
        raise RefusedError(f"{_quote_names([entry.name])} is not a plain file name")


def _quote_names(names: Sequence[str]) -> str:
    quoted = ", ".join(repr(printable(name, 60)) for name in sorted(names)[:5])
    return (quoted or "nothing") + (", …" if len(names) > 5 else "")
