"""What a commit sets off: the stages from the repositories to production, in the background, one after the other.

A hook of git's calls ``begin``, which answers at once. A commit that comes while the stages of another run is not lost and
not run beside it: when those end, they go once more, with what is committed by then.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from stargaze.errors import MissingInputError, StargazeError, UsageError
from stargaze.store import Store
from stargaze.system.files import atomic_write, convert_disk_errors, read_json, write_json
from stargaze.system.locks import BusyError, locked
from stargaze.system.process import answer, good

MARK = "# Written by `stargaze hook install`"
NAME = "post-commit"
CUT_SHORT = "it ended in its middle: it was killed, or the machine went down"
CLOCKS = 60.0
"""By how much the clocks of a disk and of processes may differ [s]."""
BUSY = "the stages of an earlier commit are under way; they go once more after that"


@dataclass(frozen=True)
class Files:
    """Where in a store it is written down what commits set off."""

    asked: Path
    """Is there while a commit waits for its stages; says which process is about to run them, once that is there."""
    lock: Path
    outcome: Path
    log: Path


def files_of(store: Store) -> Files:
    """Return the files of a store."""
    root = store.root
    return Files(root / "commit.asked", root / "commit.lock", root / "commit.json", root / "logs" / "commit.log")


def install(folder: Path, store: Store, config: Path | None) -> Path:
    """Write the hook of the git repository around ``folder``; return its path.

    Git calls it where the repository begins; it goes back to this folder, from where the paths in a config are seen.

    Raises
    ------
    UsageError
        If there is no repository, or a hook that is not ours.
    """
    path = _hook(folder)
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(
            f"{path} is there and was not written by stargaze", hint=f"add to it: {_command(store, config)}"
        )
    with atomic_write(path, 0o755) as temporary:
        temporary.write_text(
            f"#!/bin/sh\n{MARK}: a commit is trained, compared and released. `stargaze hook remove` ends that.\n"
            f"cd {shlex.quote(str(Path.cwd()))} && exec {_command(store, config)}\n",
            encoding="utf-8",
        )
    return path


def remove(folder: Path) -> Path:
    """Take the hook away; return where it was.

    Raises
    ------
    MissingInputError
        If there is none of ours.
    """
    path = _hook(folder)
    if not path.is_file() or MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise MissingInputError(f"{path} is not a hook of stargaze's", hint="stargaze hook install")
    path.unlink()
    return path


def begin(arguments: list[str], store: Store) -> Path:
    """Note that a commit asks, and start ``stargaze hook run`` apart from whoever commits; return its log."""
    files = files_of(store)
    with convert_disk_errors(files.log):
        files.log.parent.mkdir(parents=True, exist_ok=True)
        files.asked.write_text("", encoding="utf-8")
        with files.log.open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-P", "-m", "stargaze", "hook", "run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
                start_new_session=True,
            )
    return files.log


def ask(store: Store) -> None:
    """Note that a commit asks, and that this process is about to run its stages."""
    path = files_of(store).asked
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{os.getpid()}\n", encoding="utf-8")


def run(store: Store, stages: Callable[[], None], clock: Callable[[], datetime]) -> None:
    """Run the stages as long as a commit asks, unless they are run already; keep how it ended.

    Raises
    ------
    StargazeError
        What the last of the stages raised, after it was written down; so with whatever else they raise.
    """
    files = files_of(store)
    failure: Exception | None = None
    while files.asked.exists():  # looked at again once the lock is free: a commit may have come in between
        try:
            with locked(files.lock, busy=BUSY):
                while files.asked.exists():
                    files.asked.unlink()
                    failure = _once(files, stages, clock)
        except BusyError:
            return
    if failure:
        raise failure


def outcome(store: Store) -> dict[str, Any]:
    """Return how the stages of the last commit ended: ``began``, ``ended`` [UTC], ``well``, ``said``; or are ``under way``.

    What no process is at any more is not under way: that one was killed, or the machine went down.

    Raises
    ------
    MissingInputError
        If none was run yet.
    """
    files = files_of(store)
    waits, before = _waits(files.asked), _lives(files.lock)
    found: dict[str, Any] = read_json(files.outcome, "hook install")
    at_work = before or _lives(files.lock)  # before and after: what was read may have begun or ended meanwhile
    under_way = waits or (at_work and (files.asked.exists() or not found["ended"]))
    cut = {} if under_way or found["ended"] else {"said": CUT_SHORT}
    return {**found, **cut, "under way": under_way}


def _once(files: Files, stages: Callable[[], None], clock: Callable[[], datetime]) -> Exception | None:
    row = {"began": clock().isoformat(timespec="seconds"), "ended": "", "well": False, "said": ""}
    write_json(files.outcome, row)

    def end(said: str, *, well: bool = False) -> None:
        write_json(files.outcome, {**row, "ended": clock().isoformat(timespec="seconds"), "well": well, "said": said})

    try:
        stages()
    except StargazeError as error:
        end(f"{error.message} ({error.hint})")
        return error
    except Exception as error:  # noqa: BLE001 - is raised after a commit that waits has had its turn
        end(_named(error))
        return error
    except BaseException as error:
        end(_named(error))
        raise
    end("released", well=True)
    return None


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _waits(asked: Path) -> bool:
    """Notify whether a commit waits for its stages and somebody is about to run them: whoever is being started, or is there."""
    try:
        return not asked.stat().st_size or _lives(asked)
    except OSError:
        return False


def _lives(path: Path) -> bool:
    """Notify whether the process whose number a file holds lives, and is the one that wrote it."""
    try:
        process = psutil.Process(int(path.read_text(encoding="utf-8")))
        wrote = process.create_time() <= path.stat().st_mtime + CLOCKS
        return wrote and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return False


def _hook(folder: Path) -> Path:
    done = answer("git", "-C", str(folder), "rev-parse", "--path-format=absolute", "--git-path", f"hooks/{NAME}")
    if done.returncode:
        raise UsageError(f"{folder.resolve()} is in no git repository", hint="git init; or name another folder")
    return Path(good("git rev-parse", done).decode().strip())


def _command(store: Store, config: Path | None) -> str:
    words = [sys.executable, "-P", "-m", "stargaze", "hook", "begin", "--store", str(store.root.resolve())]
    return shlex.join([*words, *(["--config", str(config.resolve())] if config else [])])
