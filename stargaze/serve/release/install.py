"""Put the bundle of the newest release where ``serve`` reads it; repeating it after a crash at any moment heals."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.errors import ExternalError
from stargaze.serve.release import commit_tree as contents
from stargaze.serve.release import git, record
from stargaze.serve.release.record import Release
from stargaze.serve.release.repository import HookPolicy
from stargaze.system.files import convert_disk_errors, read_json, scratch_folder, write_json
from stargaze.system.locks import locked

RECORD = "installed.json"
LOOK_BACK = 200  # releases among which the bundles to keep are looked for


@dataclass(frozen=True)
class Installed:
    """The release that serves; ``changed`` says whether anything had to be done for it."""

    release: Release
    changed: bool


def install(repository: git.Repository, rules: HookPolicy, *, now: datetime) -> Installed | None:
    """Make ``serving/current`` the bundle of the newest release; None if there is no release yet.

    It is always the newest release that is installed, read under a lock, never the one that a hook was started for:
    two hooks that overtake each other leave the same as one after the other.
    """
    with convert_disk_errors(rules.serving), locked(rules.serving / ".lock"):
        releases = record.history(repository, LOOK_BACK)
        if not releases:
            return None
        newest = releases[0]
        bundles = rules.serving / "bundles"
        placed = _place(repository, newest, rules, bundles / newest.digest)
        switched = _switch(rules.serving / "current", newest.digest)
        recorded = _record(rules.serving / RECORD, newest, now, changed=placed or switched)
        _clear(bundles, {*_last(releases, rules.keep)})
    return Installed(newest, changed=placed or switched or recorded)


def _place(repository: git.Repository, release: Release, rules: HookPolicy, folder: Path) -> bool:
    if _is_whole(folder):
        return False
    if folder.exists():
        # Renamed first: whoever opens it now finds nothing rather than half of it.
        folder.rename(folder.with_name(f".broken.{release.commit}.{os.getpid()}"))
    with scratch_folder(folder.parent) as temporary:
        found = contents.list_commit(repository, release.commit, rules)
        contents.write_out(repository, found, temporary)
        for path in temporary.iterdir():
            _sync(path)
        temporary.rename(folder)
    return True


def _is_whole(folder: Path) -> bool:
    try:
        return folder.is_dir() and manifest.verify_files(folder) == folder.name
    except manifest.BadBundleError:
        return False


def _switch(link: Path, digest: str) -> bool:
    """Point the link to the bundle in one rename, relative, so that a store that is moved still works."""
    target = f"bundles/{digest}"
    if link.is_symlink() and str(link.readlink()) == target:
        return False
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except IsADirectoryError as error:
        raise ExternalError(
            f"{link} is a folder, not the link that deploy makes", hint=f"mv {link} {link}.old"
        ) from error
    _sync(link.parent)
    return True


def _record(path: Path, release: Release, now: datetime, *, changed: bool) -> bool:
    if not changed and path.is_file() and read_json(path, "deploy").get("commit") == release.commit:
        return False
    names = ("commit", "digest", "kind", "who", "when")
    value = {name: getattr(release, name) for name in names}
    write_json(path, value | {"installed_at": now.astimezone(UTC).isoformat(timespec="seconds")})
    return True


def _last(releases: list[Release], most: int) -> list[str]:
    return list(dict.fromkeys(release.digest for release in releases))[: max(1, most)]


def _clear(bundles: Path, keep: set[str]) -> None:
    """Remove older bundles and what a crash left half written; nobody else writes here while the lock is held."""
    for path in bundles.iterdir():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _sync(path: Path) -> None:
    """Make sure that the disk holds it before anything points to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
