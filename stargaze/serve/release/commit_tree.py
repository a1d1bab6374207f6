"""The files of a release commit: their layout, number and size are checked before any is read, then the checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.bundle.manifest import GROWTH_FOLDER
from stargaze.serve.release import git
from stargaze.serve.release.record import RELEASE_FILE, printable
from stargaze.serve.release.release_folder import release_name
from stargaze.serve.release.repository import BUNDLE_FOLDER, HookPolicy, RefusedError

MAX_JSON = 64_000  # [byte]; far above three policies' scores or 64 checksums, far below what strains a parser
FOLDER_MODE = 0o755
_PLAIN_FILE = "100644"
_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a folder", "100755": "a program"}


@dataclass(frozen=True)
class CommitTree:
    """The blobs of one release commit: ``release`` is that of release.json, the others are those of each bundle by file name.

    ``growth`` is None if the release has no growth bundle.
    """

    release: str
    stars: Mapping[str, str]
    growth: Mapping[str, str] | None

    @property
    def files(self) -> dict[str, str]:
        """The blobs of both bundles by their path in the commit."""
        stars = {f"{BUNDLE_FOLDER}/{name}": blob for name, blob in self.stars.items()}
        return stars | {f"{GROWTH_FOLDER}/{name}": blob for name, blob in (self.growth or {}).items()}


def list_commit(repository: git.Repository, commit: str, policy: HookPolicy) -> CommitTree:
    """Check layout, number and size of a release commit's files and return them; reads only git's trees."""
    top = {entry.name: entry for entry in git.list_tree(repository, commit)}
    release, *folders = top.get(RELEASE_FILE), top.get(BUNDLE_FOLDER), top.get(GROWTH_FOLDER)
    trees = [entry for entry in folders if entry is not None and entry.kind == "tree"]
    if release is None or folders[0] not in trees or len(trees) + 1 != len(top):
        names = _quote_names(list(top))
        allowed = f"{BUNDLE_FOLDER}/, {RELEASE_FILE} and, if it forecasts, {GROWTH_FOLDER}/"
        raise RefusedError(f"a release contains {allowed}, this one {names}")
    _check_plain_file(release)
    if release.size > MAX_JSON:
        raise RefusedError(f"{RELEASE_FILE} is larger than {MAX_JSON} bytes")
    contents = [_list_bundle(repository, entry, policy) for entry in trees]
    size = sum(entry.size for entries in contents for entry in entries.values())
    if size > policy.max_bytes:
        part = "bundle has" if len(contents) == 1 else "two bundles have"
        raise RefusedError(f"the {part} {size / 1e6:.1f} MB, at most {policy.max_bytes / 1e6:g} MB are allowed")
    stars, *growth = [{name: entry.object for name, entry in entries.items()} for entries in contents]
    return CommitTree(release.object, stars, growth[0] if growth else None)


def list_growth_files(repository: git.Repository, commit: str) -> dict[str, str]:
    """Return the blobs of the growth bundle of an accepted release by their path in the commit."""
    top = {entry.name: entry for entry in git.list_tree(repository, commit)}
    entries = git.list_tree(repository, top[GROWTH_FOLDER].object)
    return {f"{GROWTH_FOLDER}/{entry.name}": entry.object for entry in entries}


def _list_bundle(repository: git.Repository, folder: git.TreeEntry, policy: HookPolicy) -> dict[str, git.TreeEntry]:
    """Check names and number of a bundle's files and return them by name."""
    which = "growth bundle" if folder.name == GROWTH_FOLDER else "bundle"
    entries = git.list_tree(repository, folder.object)
    if len(entries) > policy.max_files:
        raise RefusedError(f"the {which} has {len(entries)} files, at most {policy.max_files} are allowed")
    for entry in entries:
        _check_plain_file(entry)
    files = {entry.name: entry for entry in entries}
    if len(files) != len(entries):
        raise RefusedError(f"the {which} contains two files of the same name")
    if manifest.MANIFEST not in files:
        raise RefusedError(f"the {which} has no {manifest.MANIFEST}")
    if GROWTH_FOLDER in files:
        raise RefusedError(f"the {which} has a file {GROWTH_FOLDER!r}, which is the name of a folder")
    if files[manifest.MANIFEST].size > MAX_JSON:
        raise RefusedError(f"{manifest.MANIFEST} is larger than {MAX_JSON} bytes")
    return files


def extract_release(repository: git.Repository, tree: CommitTree, folder: Path) -> str:
    """Write the files of a release into ``folder``, verify them against their manifests, and return the name of the release."""
    digest = _extract_bundle(repository, tree.stars, folder, "the bundle")
    if tree.growth is None:
        return digest
    (folder / GROWTH_FOLDER).mkdir()
    (folder / GROWTH_FOLDER).chmod(FOLDER_MODE)
    return release_name(digest, _extract_bundle(repository, tree.growth, folder / GROWTH_FOLDER, "the growth bundle"))


def _extract_bundle(repository: git.Repository, files: Mapping[str, str], folder: Path, which: str) -> str:
    for name, blob in files.items():
        git.write_blob(repository, blob, folder / name)
    try:
        return manifest.verify_files(folder)
    except manifest.BadBundleError as error:
        # The folder is temporary, so its path would mean nothing to the reader.
        message = error.message.replace(f"{folder}/", "").replace(str(folder), which)
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
