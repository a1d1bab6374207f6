"""The program of the release repository's git hooks, here and on every production node.

It imports no model library: the process in the sandbox does (:data:`~stargaze.serve.release.repository.VERIFY_PROGRAM`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stargaze.config import DeploySection
from stargaze.errors import StargazeError
from stargaze.serve.release import git
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.pre_receive import check_push, parse_updates
from stargaze.serve.release.repository import (
    HOOKS,
    POLICY_FILE,
    QUARANTINE_FOLDER,
    HookPolicy,
    RefusedError,
    prepare_repository,
    read_policy,
)
from stargaze.store import Store
from stargaze.system.files import limited_umask
from stargaze.system.signals import exit_on_signals

MAX_INPUT = 100_000  # [character] of git's list of updates; a real one is one line of 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; an error is printed to stderr as one line."""
    parser = argparse.ArgumentParser(
        prog="python -m stargaze.serve.release.git_hooks", description="Receive and install releases."
    )
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("folder", nargs="?", default=".", type=Path, help="bare repository, or store (init)")
    parser.add_argument(
        "--max-size", type=float, default=DeploySection().max_release_size, help="of a release [MB] (init)"
    )
    parser.add_argument(
        "--verify-with",
        type=Path,
        help="program that sudo may run, which verifies a bundle under another account (init)",
    )
    options = parser.parse_args(arguments)
    if options.command == "init" and options.folder == Path():
        parser.error("init needs the folder of the store")
    run, failure = _COMMANDS[options.command]
    try:
        with exit_on_signals(), limited_umask():  # a signal that ends git ends the hook, with cleanup
            run(options)
    except RefusedError as error:
        line = f"refused: {error.message}"
    except StargazeError as error:
        line = f"{failure}{error.message}" + (f" ({error.hint})" if error.hint else "")
    except OSError as error:
        line = f"{failure}{error}"
    else:
        return 0
    sys.stderr.write(line + "\n")
    return 1


def init(options: argparse.Namespace) -> None:
    """Create the release repository of a server, as `deploy` does beside the store; print as JSON whether anything changed.

    Ansible calls it as the account that receives pushes.
    """
    store = Store(options.folder)
    before = _read_files(store.releases)
    prepare_repository(store.releases.resolve(), HookPolicy.for_store(store, options.max_size, options.verify_with))
    changed = _read_files(store.releases) != before
    sys.stdout.write(json.dumps({"changed": changed, "releases": str(store.releases)}) + "\n")


def pre_receive(options: argparse.Namespace) -> None:
    """Accept or refuse the push that git describes on standard input."""
    folder = options.folder
    updates = parse_updates(sys.stdin.read(MAX_INPUT))
    # Git stores the objects of a push in a quarantine, named in these variables, until this hook has succeeded.
    quarantine = {name: os.environ[name] for name in git.QUARANTINE_VARIABLES if os.environ.get(name)}
    try:
        check_push(updates, git.Repository(folder.resolve(), quarantine), read_policy(folder))
    except SystemExit:  # a signal: git leaves the quarantine behind when one ends it
        _remove_quarantine(folder)
        raise


def install(options: argparse.Namespace) -> None:
    """Install the newest release; also repairs an installation after a crash."""
    install_newest(git.Repository(options.folder.resolve()), read_policy(options.folder), now=datetime.now(UTC))


_COMMANDS = {
    "init": (init, ""),
    "pre-receive": (pre_receive, "refused: "),
    "post-receive": (install, "not installed: "),
    "install": (install, "not installed: "),
}
"""Each command's function and the prefix of its errors."""


def _read_files(repository: Path) -> dict[Path, tuple[int, bytes]]:
    paths = [repository / name for name in ("config", POLICY_FILE, *(f"hooks/{name}" for name in HOOKS))]
    return {path: (path.stat().st_mode, path.read_bytes()) for path in paths if path.is_file()}


def _remove_quarantine(folder: Path) -> None:
    path = Path(os.environ.get("GIT_QUARANTINE_PATH", "")).resolve()
    if path.parent == folder.resolve() / "objects" and QUARANTINE_FOLDER.fullmatch(path.name):
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
