"""The program of the release repository's git hooks, here and on every production node.

Only ``verify``, a process of its own, imports pandas and the model libraries.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stargaze.errors import StargazeError
from stargaze.serve.release import git
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.pre_receive import check_push, parse_updates
from stargaze.serve.release.repository import QUARANTINE_FOLDER, read_policy
from stargaze.system.signals import exit_on_signals

MAX_INPUT = 100_000  # [character] of git's list of updates; ours is one line of 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; an error is printed to stderr as one line."""
    parser = argparse.ArgumentParser(
        prog="python -m stargaze.serve.release.git_hooks", description="Receive and install releases."
    )
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument(
        "folder", nargs="?", default=".", help="the bare repository (git's working directory) or a bundle"
    )
    parsed = parser.parse_args(arguments)
    run, failure = _COMMANDS[parsed.command]
    try:
        with exit_on_signals():  # a signal that ends git ends the hook, with cleanup
            run(Path(parsed.folder))
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


def pre_receive(folder: Path) -> None:
    """Accept or refuse the push that git describes on standard input."""
    updates = parse_updates(sys.stdin.read(MAX_INPUT))
    # Git stores the objects of a push in a quarantine, named in these variables, until this hook has succeeded.
    quarantine = {name: os.environ[name] for name in git.QUARANTINE_VARIABLES if os.environ.get(name)}
    try:
        check_push(updates, git.Repository(folder.resolve(), quarantine), read_policy(folder))
    except SystemExit:  # a signal: git leaves the quarantine behind when one ends it
        _remove_quarantine(folder)
        raise


def install(folder: Path) -> None:
    """Install the newest release; also repairs an installation after a crash."""
    install_newest(git.Repository(folder.resolve()), read_policy(folder), now=datetime.now(UTC))


def verify(folder: Path) -> None:
    """Load the whole bundle and compare its prediction of the prototype row with the stored one."""
    from stargaze.bundle.star_bundle import Bundle

    bundle = Bundle.load(folder)
    bundle.check_prototype()
    len(bundle.known)  # reads the Parquet file: one that no worker can read is refused


_COMMANDS = {
    "pre-receive": (pre_receive, "refused: "),
    "post-receive": (install, "not installed: "),
    "install": (install, "not installed: "),
    "verify": (verify, ""),
}
"""Each command's function and the prefix of its errors."""


def _remove_quarantine(folder: Path) -> None:
    path = Path(os.environ.get("GIT_QUARANTINE_PATH", "")).resolve()
    if path.parent == folder.resolve() / "objects" and QUARANTINE_FOLDER.fullmatch(path.name):
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
