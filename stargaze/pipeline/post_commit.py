"""Run the stages from the repositories to production after a git commit, in the background.

The post-commit hook calls ``stargaze hook start``, which returns at once. A commit that arrives during a run is neither lost
nor run concurrently: the stages run again afterwards.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from stargaze.errors import MissingInputError, StargazeError
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, private_folder, read_json, write_json
from stargaze.system.isolated_python import PYTHON
from stargaze.system.locks import BusyError, file_lock
from stargaze.system.process import token_environment

KILLED = "the run was killed, or the machine went down"
MAX_LOG = 10_000_000
"""A larger log of the runs is renamed to ``.old`` before the next one [bytes]."""
CLOCK_TOLERANCE = 60.0
"""Possible difference between the clocks of a disk and of processes [s]."""
BUSY = "the stages of an earlier commit are running; they run again afterwards"


@dataclass(frozen=True)
class RunFiles:
    """Files in a store about the runs that commits request."""

    request: Path
    """Exists while a commit waits for its run; contains the id of the process that is about to start it, if any."""
    lock: Path
    outcome: Path
    log: Path


def run_files(store: Store) -> RunFiles:
    """Return the files of a store."""
    root = store.root
    return RunFiles(root / "commit.request", root / "commit.lock", root / "commit.json", root / "logs" / "commit.log")


def start_in_background(arguments: list[str], store: Store) -> Path:
    """Request a run and start ``stargaze hook run`` in a session of its own; return its log."""
    files = run_files(store)
    with convert_disk_errors(files.log):
        private_folder(files.log.parent)
        if files.log.exists() and files.log.stat().st_size > MAX_LOG:
            files.log.replace(files.log.with_suffix(".old"))
        files.request.write_text("", encoding="utf-8")
        with files.log.open("ab") as log:
            subprocess.Popen(
                [*PYTHON, "stargaze", "hook", "run", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
                | token_environment(),
                start_new_session=True,
            )
    return files.log


def request_run(store: Store) -> None:
    """Request a run, which this process is about to start."""
    path = run_files(store).request
    with convert_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{os.getpid()}\n", encoding="utf-8")


def run_requested(store: Store, stages: Callable[[], None], clock: Callable[[], datetime]) -> None:
    """Run the stages until no commit requests a run, unless another process does so; record how the last run ended.

    An exception of the last run is raised after it was recorded.
    """
    files = run_files(store)
    failure: Exception | None = None
    while files.request.exists():  # checked again after the lock is released: a commit may have arrived in between
        try:
            with file_lock(files.lock, busy=BUSY):
                while files.request.exists():
                    files.request.unlink()
                    failure = _run_once(files, stages, clock)
        except BusyError:
            return
    if failure:
        raise failure


def read_outcome(store: Store) -> dict[str, Any]:
    """Return the last run, if there was one: ``started``, ``finished`` [UTC], ``succeeded``, ``message``, ``running``.

    A run whose process no longer exists is not running: it was killed, or the machine went down.
    """
    files = run_files(store)
    is_waiting, held_before = _is_waiting(files.request), _is_alive(files.lock)
    outcome: dict[str, Any] = read_json(files.outcome, "hook install")
    if "started" not in outcome:
        raise MissingInputError(f"{files.outcome} was written by an older version", hint="stargaze hook start")
    is_held = held_before or _is_alive(files.lock)  # a run may have started or finished while the file was read
    running = is_waiting or (is_held and (files.request.exists() or not outcome["finished"]))
    killed = {} if running or outcome["finished"] else {"message": KILLED}
    return {**outcome, **killed, "running": running}


def _run_once(files: RunFiles, stages: Callable[[], None], clock: Callable[[], datetime]) -> Exception | None:
    outcome = {"started": clock().isoformat(timespec="seconds"), "finished": "", "succeeded": False, "message": ""}
    write_json(files.outcome, outcome)

    def record(message: str, *, succeeded: bool = False) -> None:
        finished = clock().isoformat(timespec="seconds")
        write_json(files.outcome, {**outcome, "finished": finished, "succeeded": succeeded, "message": message})

    try:
        stages()
    except StargazeError as error:
        record(f"{error.message} ({error.hint})")
        return error
    except Exception as error:  # noqa: BLE001 - raised after the waiting commit was run
        record(f"{type(error).__name__}: {error}")
        return error
    except BaseException as error:
        record(f"{type(error).__name__}: {error}")
        raise
    record("released", succeeded=True)
    return None


def _is_waiting(request: Path) -> bool:
    """Return whether a commit waits for a run and a process that starts it exists or is being started."""
    try:
        return not request.stat().st_size or _is_alive(request)
    except OSError:
        return False


def _is_alive(path: Path) -> bool:
    """Return whether the process whose id a file contains is alive and wrote that file."""
    try:
        process = psutil.Process(int(path.read_text(encoding="utf-8")))
        is_writer = process.create_time() <= path.stat().st_mtime + CLOCK_TOLERANCE
        return is_writer and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return False
