"""The program that git runs in the repository of releases, here and on every production node.

``pre-receive`` decides whether a push goes in, ``post-receive`` installs what went in, ``heal`` repeats the
installation, ``verify`` loads one bundle and predicts its prototype row. The first three start quickly: pandas and the
model libraries are imported by ``verify`` alone, which runs as a process of its own.
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
from stargaze.serve.release.install import install
from stargaze.serve.release.pre_receive import check_push, updates
from stargaze.serve.release.repository import QUARANTINE, read_rules
from stargaze.system.signals import unwinding

MOST_INPUT = 100_000  # [character] of git's list of updates; ours is one line of 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit code; what is wrong goes to stderr as one line."""
    asked = _parser().parse_args(arguments)
    try:
        with unwinding():  # git's end is ours, and what was begun is cleared up
            _COMMANDS[asked.command](Path(asked.folder))
    except RefusedError as error:
        return _say(f"refused: {error.message}")
    except StargazeError as error:
        return _say(f"{_FAILURES[asked.command]}{error.message}" + (f" ({error.hint})" if error.hint else ""))
    except OSError as error:
        return _say(f"{_FAILURES[asked.command]}{error}")
    return 0


def pre_receive(folder: Path) -> None:
    """Refuse the push that git describes on standard input, or let it in."""
    pushed = updates(sys.stdin.read(MOST_INPUT))
    # Git keeps the objects of a push apart until this has ended well, and says where in these variables.
    quarantine = {name: os.environ[name] for name in git.QUARANTINE if os.environ.get(name)}
    try:
        check_push(pushed, git.Repository(folder.resolve(), quarantine), read_rules(folder))
    except SystemExit:  # a signal, and git leaves these objects to themselves when one ends it
        _forget_quarantine(folder)
        raise


def heal(folder: Path) -> None:
    """Install the newest release; after a crash this is all there is to do."""
    install(git.Repository(folder.resolve()), read_rules(folder), now=datetime.now(UTC))


def verify(folder: Path) -> None:
    """Load all of the bundle and compare its prediction of the prototype row with the one that it was made with."""
    from stargaze.bundle.star_bundle import Bundle

    bundle = Bundle.load(folder)
    bundle.check_prototype()
    len(bundle.known)  # read here once, so that a Parquet file that no worker can read stays out


_COMMANDS = {"pre-receive": pre_receive, "post-receive": heal, "heal": heal, "verify": verify}
_FAILURES = {"pre-receive": "refused: ", "post-receive": "not installed: ", "heal": "not installed: ", "verify": ""}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stargaze.serve.release.git_hooks", description="Receive and install releases."
    )
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument(
        "folder", nargs="?", default=".", help="the bare repository (where git starts its hooks), or a bundle"
    )
    return parser


def _forget_quarantine(folder: Path) -> None:
    path = Path(os.environ.get("GIT_QUARANTINE_PATH", "")).resolve()
    if path.parent == folder.resolve() / "objects" and QUARANTINE.fullmatch(path.name):
        shutil.rmtree(path, ignore_errors=True)


def _say(line: str) -> int:
    sys.stderr.write(line + "\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
