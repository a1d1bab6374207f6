"""Install the bundles of the newest release where ``serve`` reads them; safe to repeat after a crash at any moment."""

from __future__ import annotations

import dataclasses
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from stargaze.bundle.manifest import BadBundleError
from stargaze.errors import ExternalError
from stargaze.serve.release import git
from stargaze.serve.release.commit_tree import extract_release, list_commit
from stargaze.serve.release.record import Release, read_history
from stargaze.serve.release.release_folder import verify_release
from stargaze.serve.release.repository import HookPolicy
from stargaze.system.files import convert_disk_errors, read_json, scratch_folder, write_json
from stargaze.system.locks import file_lock

INSTALLED_FILE = "installed.json"
MAX_HISTORY = 200  # newest releases among which the bundles to keep are searched


def install_newest(repository: git.Repository, policy: HookPolicy, *, now: datetime) -> Release | None:
    """Make ``serving/current`` the newest release, with both its bundles, and return it; None if there is no release yet.

    Not the one that started the hook: two hooks that run in the wrong order have the same result as in the right one.
    ``changed`` is False if it was installed already.
    """
    with convert_disk_errors(policy.serving), file_lock(policy.serving / ".lock"):
        history = read_history(repository, MAX_HISTORY)
        if not history:
            return None
        newest = history[0]
        bundles = policy.serving / "bundles"
        changed = _extract_once(repository, newest, policy, bundles / newest.name)
        changed |= _switch_link(policy.serving / "current", newest.name)
        changed |= _record_installation(policy.serving / INSTALLED_FILE, newest, now, changed=changed)
        _prune_releases(bundles, list(dict.fromkeys(release.name for release in history)), policy.max_installed)
    return dataclasses.replace(newest, changed=changed)


def _extract_once(repository: git.Repository, release: Release, policy: HookPolicy, folder: Path) -> bool:
    if _is_intact(folder):
        return False
    if folder.exists():
        # Renamed first: a process that opens it now finds nothing rather than half of it.
        folder.rename(folder.with_name(f".broken.{release.commit}.{os.getpid()}"))
    with scratch_folder(folder.parent) as temporary:
        extract_release(repository, list_commit(repository, release.commit, policy), temporary)
        for path in temporary.rglob("*"):
            _fsync(path)
        temporary.rename(folder)
    return True


def _is_intact(folder: Path) -> bool:
    try:
        return folder.is_dir() and verify_release(folder) == folder.name
    except BadBundleError:
        return False


def _switch_link(link: Path, name: str) -> bool:
    """Point the link to the release in one rename; the target is relative, so the store can be moved."""
    target = f"bundles/{name}"
    if link.is_symlink() and str(link.readlink()) == target:
        return False
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except IsADirectoryError as error:
        message = f"{link} is a folder, not the link that deploy creates"
        raise ExternalError(message, hint=f"mv {link} {link}.old") from error
    _fsync(link.parent)
    return True


def _record_installation(path: Path, release: Release, now: datetime, *, changed: bool) -> bool:
    if not changed and path.is_file() and read_json(path, "deploy").get("commit") == release.commit:
        return False
    names = ("commit", "digest", "growth_digest", "kind", "author", "created_at")
    value = {name: getattr(release, name) for name in names}
    write_json(path, value | {"installed_at": now.astimezone(UTC).isoformat(timespec="seconds")})
    return True


def _prune_releases(bundles: Path, names: list[str], limit: int) -> None:
    """Remove all but the newest releases, and what a crash left; the lock excludes other writers."""
    newest = set(names[: max(1, limit)])
    for path in bundles.iterdir():
        if path.name not in newest:
            shutil.rmtree(path, ignore_errors=True)


def _fsync(path: Path) -> None:
    """Write a file or folder to the disk before anything points to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
