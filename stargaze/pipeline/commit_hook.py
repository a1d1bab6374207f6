"""Install and remove the post-commit hook of one working tree, without affecting any other repository or working tree."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from stargaze.errors import MissingInputError, UsageError
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.process import run_program

MARKER = "# Written by `stargaze hook install`"
FOLDER_MARKER = "# The folder of this hook was created too."
GUARDED = re.compile(r"^test \"\$\(git rev-parse --absolute-git-dir\)\" -ef (.+) \|\| exit 0$", re.MULTILINE)
"""The line of the hook that names the git folder of its working tree."""
LOCATION_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"),
)
"""Variables of a git that started this process; they would select its repository instead of the folder's."""


@dataclass(frozen=True)
class WorkingTree:
    """A working tree: its root, its own git folder, and the hooks folder that it shares with linked working trees."""

    root: Path
    git_folder: Path
    hooks: Path

    @property
    def hook(self) -> Path:
        """The post-commit hook."""
        return self.hooks / "post-commit"


def install_hook(folder: Path, store: Store, config: Path | None) -> Path:
    """Write the post-commit hook of the working tree around ``folder``; return its path.

    UsageError, and nothing is written, if the hooks of other repositories are in the same folder, or another program or
    working tree has a hook there. Git starts hooks in the root of the working tree; the hook returns to this folder, where
    relative paths of a config are valid.
    """
    tree = _find_working_tree(folder)
    command = _start_command(store, config)
    _check_hooks_folder(tree, command)
    text = _read_hook(tree.hook)
    if text is not None and MARKER not in text:
        raise UsageError(f"{tree.hook} already exists and was not created by stargaze", hint=f"add to it: {command}")
    other = _guarded_folder(text or "")
    if other is not None and other.exists() and not _is_same(other, tree.git_folder):
        message = f"{tree.hook} is shared by linked working trees and already runs the stages of the one of {other}"
        raise UsageError(message, hint="in that working tree: stargaze hook remove")
    new_folder = not tree.hooks.is_dir() or FOLDER_MARKER in (text or "")
    with atomic_write(tree.hook, 0o755) as temporary:
        temporary.write_bytes(os.fsencode(_script(tree, command, new_folder=new_folder)))
    return tree.hook


def remove_hook(folder: Path) -> Path:
    """Delete the hook of this working tree that stargaze wrote, and the folder if it was created for it; return its path."""
    tree = _find_working_tree(folder)
    configured = _configured_hooks(tree)  # where an earlier version wrote it
    for path in [tree.hook, *([configured / "post-commit"] if configured else [])]:
        text = _read_hook(path)
        if text is None or MARKER not in text:
            continue
        other = _guarded_folder(text)
        if other is not None and other.exists() and not _is_same(other, tree.git_folder):
            raise UsageError(
                f"{path} runs the stages of the working tree of {other}",
                hint="stargaze hook remove, in that working tree",
            )
        path.unlink()
        if FOLDER_MARKER in text:
            with contextlib.suppress(OSError):  # other hooks are in it by now
                path.parent.rmdir()
        return path
    raise MissingInputError(f"{tree.hook} is not a hook of stargaze", hint="stargaze hook install")


def _script(tree: WorkingTree, command: str, *, new_folder: bool) -> str:
    """Return the hook. A copy of the repository, or a linked working tree, has the same hook and must not run it."""
    git_folder = shlex.quote(str(tree.git_folder))
    moved = f"stargaze: the repository was moved from {shlex.quote(str(tree.root))}: stargaze hook install"
    lines = [
        "#!/bin/sh",
        f"{MARKER}: train, compare and release each commit. `stargaze hook remove` deletes it.",
        *([FOLDER_MARKER] if new_folder else []),
        f"test -e {git_folder} || {{ echo {shlex.quote(moved)} >&2; exit 0; }}",
        f'test "$(git rev-parse --absolute-git-dir)" -ef {git_folder} || exit 0',
        f"cd {shlex.quote(str(Path.cwd()))} && exec {command}",
    ]
    return "\n".join(lines) + "\n"


def _find_working_tree(folder: Path) -> WorkingTree:
    if _git(folder, "rev-parse", "--is-inside-work-tree") != "true":
        raise UsageError(
            f"{folder.resolve()} is in no working tree: nothing is committed there", hint="name another folder"
        )
    common = Path(_git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir"))
    git_folder = Path(_git(folder, "rev-parse", "--absolute-git-dir"))
    return WorkingTree(Path(_git(folder, "rev-parse", "--show-toplevel")), git_folder, common / "hooks")


def _check_hooks_folder(tree: WorkingTree, command: str) -> None:
    """Raise UsageError if git does not read the hooks of this repository from its own git folder."""
    configured, common = _configured_hooks(tree), tree.hooks.parent.resolve()
    if configured and not _is_same(configured, tree.hooks):
        raise UsageError(
            f"core.hooksPath is {configured} ({_hooks_origin(tree)}), so this repository does not read hooks of its own, "
            "and other repositories may read that folder: nothing was installed",
            hint=f"git -C {shlex.quote(str(tree.root))} config core.hooksPath {shlex.quote(str(tree.hooks))} gives it its own; "
            f"or add to {configured}/post-commit: "
            f'test "$(git rev-parse --absolute-git-dir)" -ef {shlex.quote(str(tree.git_folder))} && {command}',
        )
    if common not in tree.hooks.resolve().parents:
        raise UsageError(
            f"{tree.hooks} is a link to {tree.hooks.resolve()}, which other repositories may read: nothing was installed",
            hint=f"replace the link by a folder; or add to the hook there: {command}",
        )


def _configured_hooks(tree: WorkingTree) -> Path | None:
    """Return ``core.hooksPath`` of any config; a relative one starts at the root of the working tree."""
    value = _git(tree.root, "config", "--type=path", "--get", "core.hooksPath", missing="\0")
    return None if value == "\0" else tree.root / value


def _hooks_origin(tree: WorkingTree) -> str:
    return _git(tree.root, "config", "--show-origin", "--get", "core.hooksPath", missing="").partition("\t")[0]


def _read_hook(path: Path) -> str | None:
    """Return the text of a hook, None if there is none; a link or a folder is of another program."""
    if path.is_symlink() or path.is_dir():
        raise UsageError(f"{path} is a link or a folder, not a hook of stargaze", hint="move it away")
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else None


def _guarded_folder(text: str) -> Path | None:
    match = GUARDED.search(text)
    return Path(shlex.split(match[1])[0]) if match else None


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _git(folder: Path, *arguments: str, missing: str | None = None) -> str:
    """Return what git prints; if it fails, ``missing`` or a UsageError."""
    environment = {name: value for name, value in os.environ.items() if name not in LOCATION_VARIABLES}
    done = run_program("git", "-C", str(folder), *arguments, environment={**environment, "LC_ALL": "C"})
    if not done.returncode:
        return os.fsdecode(done.stdout).removesuffix("\n")
    if missing is not None:
        return missing
    reason = done.stderr.decode("utf-8", "replace").partition("\n")[0].removeprefix("fatal: ")
    if "not a git repository" in reason or not folder.is_dir():
        raise UsageError(f"{folder.resolve()} is not in a git repository", hint="git init; or name another folder")
    raise UsageError(f"{folder.resolve()}: git: {reason}", hint="name another folder")


def _start_command(store: Store, config: Path | None) -> str:
    argv = [sys.executable, "-P", "-m", "stargaze", "hook", "start", "--store", str(store.root.resolve())]
    return shlex.join([*argv, *(["--config", str(config.resolve())] if config else [])])
