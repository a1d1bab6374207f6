"""The one file that calls git: argv lists, a clean environment, a time limit.

Contract of every function: what the caller's shell, config files or hooks say does not change the answer, no question
is ever asked on a terminal, and a failure ends here as an :class:`~stargaze.errors.ExternalError` of one line.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from stargaze.errors import ExternalError
from stargaze.system.process import answer, good, need

BRANCH = "refs/heads/main"
PUSH_LIMIT = 600.0  # [s]; longer than other calls, because the hook at its other end loads a model
QUARANTINE = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH")
EMAIL = "release@stargaze.invalid"


@dataclass(frozen=True)
class Repository:
    """A bare repository; ``quarantine`` says where git keeps the objects of a push that is not accepted yet."""

    path: Path
    quarantine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One line of a git tree: ``kind`` is git's (blob, tree, commit), ``size`` [byte] is 0 for what is no blob."""

    mode: str
    kind: str
    object: str
    size: int
    name: str


@dataclass(frozen=True)
class Pushed:
    """What came back from a push: everything the other end said, and whether the branch moved."""

    accepted: bool
    said: str


def make(path: Path, settings: Mapping[str, str]) -> Repository:
    """Return the bare repository at ``path`` with these settings, creating it if needed."""
    repository = Repository(path)
    # An empty template: no sample hooks, and none that the user's own template brings.
    _in(repository, "init", "--quiet", "--bare", "--template=", "--initial-branch=main")
    lines = _in(repository, "config", "--local", "--list", "-z").decode().split("\0")
    there = dict(line.split("\n", 1) for line in lines if "\n" in line)
    for name, value in settings.items():
        if there.get(name.lower()) != value:  # git writes the names small
            _in(repository, "config", "--replace-all", name, value)
    return repository


def tip(repository: Repository) -> str | None:
    """Return the commit that the branch of releases points to, None before the first."""
    answer = _in(repository, "for-each-ref", "--format=%(objectname)", BRANCH).decode().strip()
    return answer or None


def described(repository: Repository, name: str) -> tuple[str, str, int] | None:
    """Return (object, type, size [byte]) without reading the object; None if there is none."""
    words = _in(repository, "cat-file", "--batch-check", stdin=f"{name}\n".encode()).decode().split()
    return (words[0], words[1], int(words[2])) if len(words) == 3 else None


def chain(repository: Repository, new: str, old: str | None, most: int) -> list[tuple[str, list[str]]]:
    """Return at most ``most`` (commit, its parents) that ``new`` has and ``old`` has not, newest first."""
    without = [f"^{old}"] if old else []
    lines = (
        _in(repository, "rev-list", "--topo-order", "--parents", f"--max-count={most}", new, *without)
        .decode()
        .splitlines()
    )
    return [(line.split()[0], line.split()[1:]) for line in lines]


def list_tree(repository: Repository, tree: str) -> list[Entry]:
    """Return the entries of one tree, not of those below it, without reading any file."""
    records = _in(repository, "ls-tree", "-l", "-z", "--full-tree", tree).decode("utf-8", "replace").split("\0")
    return [_entry(record) for record in records if record]


def read(repository: Repository, blobs: Sequence[str]) -> list[bytes]:
    """Return the content of each object; the caller has looked at the sizes before."""
    data = _in(repository, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode())
    contents, at = [], 0
    for blob in blobs:
        end = data.index(b"\n", at)
        head = data[at:end].split()
        if len(head) != 3:
            raise ExternalError(f"{repository.path}: {blob} is missing", hint="git fsck there says what else is")
        contents.append(data[end + 1 : end + 1 + int(head[2])])
        at = end + 2 + int(head[2])
    return contents


def write_out(repository: Repository, blob: str, path: Path) -> None:
    """Write the content of a blob to a file, piece by piece."""
    with path.open("wb") as stream:
        _in(repository, "cat-file", "blob", blob, stdout=stream)


def is_signed(repository: Repository, commit: str, allowed_signers: Path) -> bool:
    """Notify whether the commit's ssh signature is valid and by one of the allowed signers."""
    need("ssh-keygen")
    # The signature itself says who verifies it: one of PGP or X.509 would be believed by this user's keyring.
    others = {"gpg.openpgp.program": "/bin/false", "gpg.x509.program": "/bin/false"}
    config = _config({"gpg.ssh.allowedSignersFile": str(allowed_signers), "gpg.minTrustLevel": "fully", **others})
    environment = _clean({**repository.quarantine, **config})
    done = answer("git", _at(repository), "verify-commit", commit, environment=environment)
    return done.returncode == 0


def with_alternates(repository: Repository, folder: Path) -> Repository:
    """Make a repository in ``folder`` that knows every object of ``repository``, to build a commit in."""
    scratch = make(folder, {"core.compression": "1"})
    alternates = folder / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True, exist_ok=True)
    alternates.write_text(f"{(repository.path / 'objects').resolve()}\n", encoding="utf-8")
    return scratch


def add_file(repository: Repository, content: Path | bytes) -> str:
    """Keep a file's bytes exactly as they are; return the blob."""
    if isinstance(content, Path):
        return _in(repository, "hash-object", "-w", "--no-filters", "--", str(content)).decode().strip()
    return _in(repository, "hash-object", "-w", "--stdin", stdin=content).decode().strip()


def add_tree(repository: Repository, blobs: Mapping[str, str]) -> str:
    """Make a tree of ordinary files, path → blob; return it."""
    index = {"GIT_INDEX_FILE": str(repository.path / "index")}
    lines = "".join(f"100644 blob {blob}\t{path}\0" for path, blob in sorted(blobs.items()))
    _in(repository, "update-index", "-z", "--add", "--index-info", stdin=lines.encode(), environment=index)
    return _in(repository, "write-tree", environment=index).decode().strip()


def add_commit(
    repository: Repository, tree: str, parent: str | None, message: str, *, author: str, now: datetime, key: Path
) -> str:
    """Make a commit signed with the ssh key at ``key``; return it. Only the key's path is ever passed on."""
    need("ssh-keygen")
    when = f"{int(now.timestamp())} +0000"
    identity = {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_AUTHOR_DATE": when}
    identity |= {"GIT_COMMITTER_NAME": "stargaze", "GIT_COMMITTER_EMAIL": EMAIL, "GIT_COMMITTER_DATE": when}
    identity |= _config({"gpg.format": "ssh", "user.signingKey": str(key)})
    parents = ["-p", parent] if parent else []
    argv = ["commit-tree", "-S", *parents, "-F", "-", tree]
    return _in(repository, *argv, stdin=message.encode(), environment=identity).decode().strip()


def push(repository: Repository, commit: str, to: str, *, ssh: Sequence[str] = ()) -> Pushed:
    """Send the commit to be the new tip at ``to``; a refusal is an answer, not an error. ``ssh`` are the words that open it."""
    argv = ["push", "--porcelain", "--no-verify", to, f"{commit}:{BRANCH}"]
    way = {"GIT_SSH_COMMAND": shlex.join(ssh), "GIT_SSH_VARIANT": "ssh"} if ssh else {}
    done = answer("git", _at(repository), *argv, environment=_clean(way), seconds=PUSH_LIMIT)
    return Pushed(accepted=done.returncode == 0, said=(done.stdout + done.stderr).decode("utf-8", "replace"))


def unbundle(repository: Repository, data: bytes) -> None:
    """Take in the objects of a bundle, as ``git bundle create`` writes it; no branch moves."""
    path = repository.path / "given.bundle"
    path.write_bytes(data)
    _in(repository, "bundle", "unbundle", str(path))
    path.unlink()


def is_before(repository: Repository, old: str, new: str) -> bool:
    """Notify whether a commit is among those that another one has before it, or that one itself."""
    done = answer("git", _at(repository), "merge-base", "--is-ancestor", old, new, environment=_clean({}))
    return done.returncode == 0


def archive_branch(repository: Repository, tip: str) -> str:
    """Have the branch begin anew, and keep what it held under another name; return that."""
    name = f"refs/aside/{tip[:12]}"
    _in(repository, "update-ref", name, tip)
    _in(repository, "update-ref", "-d", BRANCH, tip)
    return name


def user_name() -> str:
    """Return the name that the user gave to git, empty if there is none. The only call that reads the user's config."""
    done = answer("git", "config", "--get", "user.name")
    return done.stdout.decode("utf-8", "replace").strip()


def _in(
    repository: Repository,
    *arguments: str,
    stdin: bytes = b"",
    stdout: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> bytes:
    extra = {**repository.quarantine, **(environment or {})}
    done = answer("git", _at(repository), *arguments, stdin=stdin, stdout=stdout, environment=_clean(extra))
    return good(f"git {arguments[0]}", done)


def _at(repository: Repository) -> str:
    return f"--git-dir={repository.path}"


def _config(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that is git config for one call."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _clean(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}
    return {**kept, **fixed, "GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never", **extra}


def _entry(record: str) -> Entry:
    head, name = record.split("\t", 1)
    mode, kind, found, size = head.split()
    return Entry(mode=mode, kind=kind, object=found, size=0 if size == "-" else int(size), name=name)
