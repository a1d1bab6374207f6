"""Is this push a release that may serve? All that is checked before the branch moves, cheapest and safest first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.errors import BadDataError
from stargaze.serve.release import commit_tree as contents
from stargaze.serve.release import git, record
from stargaze.serve.release.commit_tree import Contents, RefusedError
from stargaze.serve.release.record import printable
from stargaze.serve.release.repository import HookPolicy
from stargaze.serve.release.sandbox import load_in_sandbox
from stargaze.system.files import scratch_folder

MOST_COMMIT = 64_000  # [byte]; ours have about 700
_NOTHING = re.compile(r"0+")


@dataclass(frozen=True)
class Update:
    """One line of what git tells a hook: ``ref`` shall go from commit ``old`` to ``new``; None is "not there"."""

    old: str | None
    new: str | None
    ref: str


def updates(text: str) -> list[Update]:
    """Read what git writes to a hook's standard input."""
    found = []
    for line in text.splitlines():
        old, new, ref = line.split(" ", 2)
        found.append(Update(_commit(old), _commit(new), ref))
    return found


def check_push(
    pushed: Sequence[Update],
    repository: git.Repository,
    rules: HookPolicy,
    *,
    verify: Callable[[Path, HookPolicy], None] = load_in_sandbox,
) -> None:
    """Return if the push may go in, else raise :class:`RefusedError` with the one reason.

    Signature, shape, number and size of every new commit come before any file is read; the sums of the newest one's
    bundle before its model is loaded; the model is loaded once, by ``verify``, in a process of its own.
    """
    update = _only_ours(pushed)
    commits = _new_commits(repository, update, rules)
    for commit, parent in commits:
        _check_signed(repository, commit, rules)
        newest = _checked(repository, commit, parent, rules)
    with scratch_folder(rules.serving) as temporary:
        folder = temporary / newest.digest
        folder.mkdir()
        contents.write_out(repository, newest.contents, folder)
        verify(folder, rules)


@dataclass(frozen=True)
class _Checked:
    digest: str
    contents: Contents


def _commit(name: str) -> str | None:
    return None if _NOTHING.fullmatch(name) else name


def _only_ours(pushed: Sequence[Update]) -> Update:
    for update in pushed:
        if update.ref != git.BRANCH:
            raise RefusedError(f"only {git.BRANCH} takes releases, not {printable(update.ref, 80)}")
        if update.new is None:
            raise RefusedError(f"{git.BRANCH} is the record of releases and is never deleted")
    if len(pushed) != 1:
        raise RefusedError(f"a push holds one update, this one holds {len(pushed)}")
    return pushed[0]


def _new_commits(repository: git.Repository, update: Update, rules: HookPolicy) -> list[tuple[str, str | None]]:
    """Return the new commits with the one before each, oldest first: a chain that begins at the old tip."""
    new = str(update.new)
    found = git.described(repository, new)
    if found is None or found[1] != "commit":
        raise RefusedError(f"{new[:12]} is not a commit")
    commits = git.chain(repository, new, update.old, rules.max_releases + 1)
    if len(commits) > rules.max_releases:
        raise RefusedError(f"more than {rules.max_releases} releases in one push")
    if any(len(parents) > 1 for _, parents in commits):
        raise RefusedError("a merge: releases follow one another")
    before = [(commit, parents[0] if parents else None) for commit, parents in reversed(commits)]
    if not before or before[0][1] != update.old:
        raise RefusedError("not a fast-forward: the release in force is not before this one; stargaze releases")
    return before


def _check_signed(repository: git.Repository, commit: str, rules: HookPolicy) -> None:
    described = git.described(repository, commit)
    if described is None or described[2] > MOST_COMMIT:
        raise RefusedError(f"commit {commit[:12]} is larger than {MOST_COMMIT} bytes")
    if not git.is_signed(repository, commit, rules.allowed_signers):
        raise RefusedError(f"commit {commit[:12]} is not signed by an allowed signer")


def _checked(repository: git.Repository, commit: str, parent: str | None, rules: HookPolicy) -> _Checked:
    found = contents.list_commit(repository, commit, rules)
    release_json, manifest_json = git.read(repository, [found.release, found.files[manifest.NAME]])
    try:
        release = record.parsed(commit, release_json)
    except BadDataError as error:
        raise RefusedError(error.message) from error
    if release.before != parent:
        raise RefusedError(f"{record.FILE} names another release before this one than git does")
    digest = hashlib.sha256(manifest_json).hexdigest()
    if release.digest != digest:
        raise RefusedError(
            f"{record.FILE} names bundle {release.digest[:12]}, but the manifest is that of {digest[:12]}"
        )
    return _Checked(digest=digest, contents=found)
