"""Copy what cannot be created again to one file, and check where and how the store keeps it."""

from __future__ import annotations

import json
import shlex
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from stargaze.diagnostics import Check, CheckState
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.pipeline.production import lock_production
from stargaze.store import IRREPLACEABLE, Store
from stargaze.system.files import atomic_write, convert_disk_errors, write_json
from stargaze.system.locks import file_lock
from stargaze.system.process import run_program

NOTE = "backup.json"
"""Time and file of the last backup."""
SKIPPED = ("runs", "wheels")
"""Folders of a cluster's state that are created again: logs of the playbooks, the installed package."""
CLEANED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - compared with, never written to
PUBLIC_FILES = ("allowed_signers", "known_hosts", "pins.json", "hosts.json", "inventory.yml", "configured")
"""Files without secrets in the folders of secrets, besides ``*.pub``."""
NAMES = ", ".join(IRREPLACEABLE)


def irreplaceable_paths(store: Store) -> list[Path]:
    """Return the existing artifacts of a store that cannot be created again; empty folders do not count."""
    paths = [store.root / name for name in IRREPLACEABLE]
    return [path for path in paths if path.is_file() or (path.is_dir() and any(_files(path)))]


def write_backup(store: Store, target: Path, now: datetime) -> list[str]:
    """Write them as one archive that only its owner can read; return their names. An existing file is replaced at once."""
    paths = irreplaceable_paths(store)
    if not paths:
        raise MissingInputError(f"{store.root} contains none of {NAMES}", hint="there is nothing to back up yet")
    if target.resolve().is_relative_to(store.root.resolve()):
        raise UsageError(f"{target} is inside the store", hint="name a file on another disk or machine")
    busy, hint = "a deploy or rollback is running", "repeat it when that one has ended"
    with (
        lock_production(store),
        file_lock(store.root / "releases.lock", busy=busy, hint=hint),  # the copy has all files of a push or none
        atomic_write(target, 0o600) as temporary,
        tempfile.TemporaryDirectory(dir=target.parent) as scratch,
        tarfile.open(temporary, "w:gz") as archive,
    ):
        for path in paths:
            source = _copy_database(path, Path(scratch, path.name)) if path.suffix == ".sqlite" else path
            archive.add(source, path.name, filter=_without_logs)
    write_json(store.root / NOTE, {"created_at": now.isoformat(timespec="seconds"), "file": str(target.resolve())})
    return [path.name for path in paths]


def check_store(store: Store, now: datetime) -> Iterator[Check]:
    """Check that what cannot be created again is backed up, in a lasting folder, and private."""
    paths = irreplaceable_paths(store)
    if not paths:
        return
    root = store.root.resolve()
    command = f"stargaze backup FILE copies {', '.join(path.name for path in paths)}"
    yield _check_backup(store, paths, now, command)
    cleaned = next((folder for folder in (tempfile.gettempdir(), *CLEANED_FOLDERS) if root.is_relative_to(folder)), "")
    if cleaned:
        yield Check("store", "warning", f"is in {cleaned}, which systems empty", "move it, and point store.path to it")
    if writable := [path for path in (root, *root.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o022]:
        state: CheckState = "error" if any(path.stat().st_mode & 0o002 for path in writable) else "warning"
        result = f"other users can write {len(writable)} files and folders, as {writable[0]}"
        yield Check("permissions", state, result, f"chmod -R go-w {shlex.quote(str(root))}")
    exposed = [path for path in _secret_files(store) if path.stat().st_mode & 0o077]
    if exposed:
        names = ", ".join(str(path.relative_to(root)) for path in exposed)
        fix = f"chmod 600 {shlex.join(map(str, exposed))}"
        yield Check("secrets", "error", f"other users can read {names}", fix)
    if _is_unignored(root):
        fix = f"echo /{root.name}/ >> {shlex.quote(str(root.parent / '.gitignore'))}"
        yield Check("git", "warning", "the store is inside a git repository that does not ignore it: keys", fix)


def _check_backup(store: Store, paths: list[Path], now: datetime, command: str) -> Check:
    try:
        note = json.loads((store.root / NOTE).read_text(encoding="utf-8"))
        created, file = datetime.fromisoformat(note["created_at"]), str(note["file"])
    except (OSError, ValueError, LookupError, TypeError):
        names = ", ".join(path.name for path in paths)
        return Check("backup", "warning", f"none yet of what cannot be created again: {names}", command)
    changed = [path.name for path in paths if path.suffix != ".sqlite" and _modified(path) > created.timestamp() + 1]
    age = f"{(now - created.astimezone(UTC)).days} days old: {file}"
    if changed:
        return Check("backup", "warning", f"{age}; changed since: {', '.join(changed)}", command)
    return Check("backup", "ok", age)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from () if _is_skipped(path) else _files(path)
        else:
            yield path


def _secret_files(store: Store) -> Iterator[Path]:
    for folder in (store.keys.resolve(), store.infra.resolve()):
        for path in _files(folder) if folder.is_dir() else ():
            if path.suffix != ".pub" and path.name not in PUBLIC_FILES and path.is_file():
                yield path


def _modified(path: Path) -> float:
    return max(file.lstat().st_mtime for file in (_files(path) if path.is_dir() else [path]))


def _is_unignored(root: Path) -> bool:
    """Return whether the folder is inside a work tree of git and would be committed."""
    git = ("git", "-c", "core.fsmonitor=false", "-C", str(root))  # its config may name a program that git runs
    inside = run_program(*git, "rev-parse", "--is-inside-work-tree")
    if inside.stdout.strip() != b"true":
        return False
    return run_program(*git, "check-ignore", "--quiet", str(root / "keys")).returncode == 1


def _copy_database(path: Path, copy: Path) -> Path:
    """Copy a SQLite file that other processes may be writing."""
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(copy)) as target,
            convert_disk_errors(copy),
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise ExternalError(
            f"{path}: cannot be read: {error}", hint=f"restore {path.name}, or move it aside"
        ) from error
    return copy


def _without_logs(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.isdir() and _is_skipped(Path(member.name)) else member


def _is_skipped(folder: Path) -> bool:
    """Return whether a folder is one of those in ``infra/NAME``; a cluster may be named as one of them."""
    return folder.name in SKIPPED and folder.parent.parent.name == "infra"
