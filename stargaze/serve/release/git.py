"""The only module that calls git: with a time limit, without prompts, unaffected by the caller's environment and git config."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from stargaze.errors import ExternalError
from stargaze.serve.release.signers import REVOKED_FILE
from stargaze.system.process import checked_output, require_program, run_program

BRANCH = "refs/heads/main"
PUSH_TIMEOUT = 600.0  # [s]; longer than other calls because the remote hook loads a model
QUARANTINE_VARIABLES = ("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH")
UNLIMITED = -1
SHARED_MODE = "0644"
"""Mode of files in a repository: whatever the umask of who pushes, nobody else can write."""
EMAIL = "release@stargaze.invalid"
INIT_KEYS = {
    *("core.repositoryformatversion", "core.filemode", "core.bare", "core.ignorecase", "core.precomposeunicode"),
    *("core.symlinks", "core.sharedrepository", "extensions.objectformat", "extensions.refstorage"),
    "receive.denynonfastforwards",
}
"""Keys that ``git init`` writes; others can name programs that git runs."""


@dataclass(frozen=True)
class Repository:
    """A bare repository; ``quarantine`` holds git's variables for the objects of a push that is not accepted yet."""

    path: Path
    quarantine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a git tree: ``kind`` is blob, tree or commit; ``size`` [byte] is 0 unless it is a blob."""

    mode: str
    kind: str
    object: str
    size: int
    name: str


@dataclass(frozen=True)
class PushResult:
    """The result of a push: whether it was accepted, and the output of git and of the remote hooks."""

    accepted: bool
    output: str


def init_bare(path: Path, settings: Mapping[str, str]) -> Repository:
    """Return the bare repository at ``path`` with this git config; create it if needed, refuse a config of something else."""
    repository = Repository(path)
    # An empty template: neither git's sample hooks nor those of the user's own template. git init writes the mode into the config
    # each time, so a mode that was set later would move there.
    _git(repository, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", f"--shared={SHARED_MODE}")
    lines = _git(repository, "config", "--local", "--list", "-z").decode().split("\0")
    current = dict(line.split("\n", 1) for line in lines if "\n" in line)
    foreign = sorted(current.keys() - INIT_KEYS - {name.lower() for name in settings})
    if foreign:
        raise ExternalError(
            f"{path}/config has {foreign[0]}, which stargaze did not write",
            hint=f"git -C {path} config --unset-all {foreign[0]}",
        )
    for name, value in settings.items():
        if current.get(name.lower()) != value:  # git lists the names in lower case
            _git(repository, "config", "--replace-all", name, value)
    return repository


def branch_tip(repository: Repository) -> str | None:
    """Return the commit at the tip of the release branch; None before the first release."""
    return _git(repository, "for-each-ref", "--format=%(objectname)", BRANCH).decode().strip() or None


def object_info(repository: Repository, name: str) -> tuple[str, str, int] | None:
    """Return (object, type, size [byte]) without reading the object; None if it does not exist."""
    fields = _git(repository, "cat-file", "--batch-check", stdin=f"{name}\n".encode()).decode().split()
    return (fields[0], fields[1], int(fields[2])) if len(fields) == 3 else None


def list_commits(
    repository: Repository, new: str, old: str | None, limit: int = UNLIMITED
) -> list[tuple[str, list[str]]]:
    """Return at most ``limit`` pairs (commit, parents) reachable from ``new`` but not from ``old``, newest first."""
    exclude = [f"^{old}"] if old else []
    output = _git(repository, "rev-list", "--topo-order", "--parents", f"--max-count={limit}", new, *exclude)
    return [(line.split()[0], line.split()[1:]) for line in output.decode().splitlines()]


def list_tree(repository: Repository, tree: str) -> list[TreeEntry]:
    """Return the entries of one tree, without subtrees and without reading any file."""
    lines = _git(repository, "ls-tree", "-l", "-z", "--full-tree", tree).decode("utf-8", "replace").split("\0")
    entries = []
    for line in filter(None, lines):
        head, name = line.split("\t", 1)
        mode, kind, oid, size = head.split()
        entries.append(TreeEntry(mode, kind, oid, 0 if size == "-" else int(size), name))
    return entries


def read_objects(repository: Repository, blobs: Sequence[str]) -> list[bytes]:
    """Return the content of each object; the caller has checked the sizes before."""
    data = _git(repository, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode())
    contents, offset = [], 0
    for blob in blobs:
        end = data.index(b"\n", offset)
        head = data[offset:end].split()
        if len(head) != 3:
            raise ExternalError(f"{repository.path}: {blob} is missing", hint="git fsck lists what else is missing")
        contents.append(data[end + 1 : end + 1 + int(head[2])])
        offset = end + 2 + int(head[2])
    return contents


def write_blob(repository: Repository, blob: str, path: Path) -> None:
    """Write the content of a blob to a file, piece by piece."""
    with path.open("wb") as stream:
        _git(repository, "cat-file", "blob", blob, stdout=stream)


def is_signed(repository: Repository, commit: str, allowed_signers: Path) -> bool:
    """Return whether the commit has a valid ssh signature of an allowed signer that was not revoked."""
    require_program("ssh-keygen")
    # The signature selects its verifier: git would check a PGP or X.509 signature with this user's keyring.
    others = {"gpg.openpgp.program": "/bin/false", "gpg.x509.program": "/bin/false", "gpg.ssh.program": "ssh-keygen"}
    revoked = allowed_signers.with_name(REVOKED_FILE)
    if revoked.is_file():
        others["gpg.ssh.revocationFile"] = str(revoked)
    config = _config_variables(
        {"gpg.ssh.allowedSignersFile": str(allowed_signers), "gpg.minTrustLevel": "fully", **others}
    )
    return _run(repository, "verify-commit", commit, environment=config).returncode == 0


def with_alternates(repository: Repository, folder: Path) -> Repository:
    """Create a repository in ``folder`` that shares the objects of ``repository``, to build a commit in."""
    scratch = init_bare(folder, {"core.compression": "1"})
    alternates = folder / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True, exist_ok=True)
    objects = os.fsencode((repository.path / "objects").resolve())
    quoted = "".join(f"\\{byte:03o}" for byte in objects)  # a path may contain a newline, or bytes that are no UTF-8
    alternates.write_text(f'"{quoted}"\n', encoding="ascii")
    return scratch


def add_file(repository: Repository, content: Path | bytes) -> str:
    """Store a file's bytes unchanged; return the blob."""
    if isinstance(content, Path):
        return _git(repository, "hash-object", "-w", "--no-filters", "--", str(content)).decode().strip()
    return _git(repository, "hash-object", "-w", "--stdin", stdin=content).decode().strip()


def add_tree(repository: Repository, blobs: Mapping[str, str]) -> str:
    """Create a tree of ordinary files, path → blob; return it."""
    index = {"GIT_INDEX_FILE": str(repository.path / "index")}
    lines = "".join(f"100644 blob {blob}\t{path}\0" for path, blob in sorted(blobs.items()))
    _git(repository, "update-index", "-z", "--add", "--index-info", stdin=lines.encode(), environment=index)
    return _git(repository, "write-tree", environment=index).decode().strip()


def add_commit(
    repository: Repository, tree: str, parent: str | None, message: str, *, author: str, now: datetime, key: Path
) -> str:
    """Create a commit signed with the ssh key at ``key``; return it. Only the path of the key is passed to git."""
    require_program("ssh-keygen")
    date = f"{int(now.timestamp())} +0000"
    identity = {"GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": EMAIL, "GIT_AUTHOR_DATE": date}
    identity |= {"GIT_COMMITTER_NAME": "stargaze", "GIT_COMMITTER_EMAIL": EMAIL, "GIT_COMMITTER_DATE": date}
    identity |= _config_variables({"gpg.format": "ssh", "user.signingKey": str(key)})
    parents = ["-p", parent] if parent else []
    argv = ["commit-tree", "-S", *parents, "-F", "-", tree]
    return _git(repository, *argv, stdin=message.encode(), environment=identity).decode().strip()


def push(repository: Repository, commit: str, to: str, *, ssh: Sequence[str] = ()) -> PushResult:
    """Push the commit as the new tip of ``to``; a rejection is a result, not an error. ``ssh`` is the ssh command."""
    argv = ["push", "--porcelain", "--no-verify", to, f"{commit}:{BRANCH}"]
    transport = {"GIT_SSH_COMMAND": shlex.join(ssh), "GIT_SSH_VARIANT": "ssh"} if ssh else {}
    done = _run(repository, *argv, environment=transport, seconds=PUSH_TIMEOUT, dies_with_caller=True)
    return PushResult(accepted=done.returncode == 0, output=(done.stdout + done.stderr).decode("utf-8", "replace"))


def unbundle(repository: Repository, data: bytes) -> None:
    """Add the objects of a git bundle (``git bundle create``); no branch changes."""
    path = repository.path / "incoming.bundle"
    path.write_bytes(data)
    _git(repository, "bundle", "unbundle", str(path))
    path.unlink()


def is_ancestor(repository: Repository, old: str, new: str) -> bool:
    """Return whether ``old`` is an ancestor of ``new`` or the same commit."""
    return _run(repository, "merge-base", "--is-ancestor", old, new).returncode == 0


def archive_branch(repository: Repository, tip: str) -> str:
    """Delete the release branch and keep its tip as ``refs/archive/<commit>``; return that ref."""
    name = f"refs/archive/{tip[:12]}"
    _git(repository, "update-ref", name, tip)
    _git(repository, "update-ref", "-d", BRANCH, tip)
    return name


def user_name() -> str:
    """Return git's ``user.name``, empty if unset. The only call that reads the user's git config."""
    done = run_program("git", "config", "--get", "user.name")
    return done.stdout.decode("utf-8", "replace").strip()


def _git(repository: Repository, *arguments: str, **options: Any) -> bytes:
    """Return git's output; raise ExternalError if it fails."""
    return checked_output(f"git {arguments[0]}", _run(repository, *arguments, **options))


def _run(
    repository: Repository, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any
) -> CompletedProcess[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    fixed = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C"}
    fixed |= {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS_REQUIRE": "never"}
    if not Path(inherited.get("TMPDIR", os.sep)).is_dir():
        del inherited["TMPDIR"]  # signing would fail; Python itself then uses /tmp too
    variables = {**inherited, **fixed, **repository.quarantine, **(environment or {})}
    return run_program("git", f"--git-dir={repository.path}", *arguments, environment=variables, **options)


def _config_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return git config of one call as environment variables."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for i, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{i}": name, f"GIT_CONFIG_VALUE_{i}": value}
    return variables
