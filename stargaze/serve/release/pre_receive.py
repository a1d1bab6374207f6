"""The checks of the pre-receive hook, cheap and safe ones first; the model is loaded last, with limited memory and time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.bundle import manifest
from stargaze.errors import BadDataError
from stargaze.serve.release import git
from stargaze.serve.release.commit_tree import CommitTree, extract_release, list_commit
from stargaze.serve.release.record import RELEASE_FILE, parse_release, printable
from stargaze.serve.release.release_folder import release_name, short_name
from stargaze.serve.release.repository import HookPolicy, RefusedError
from stargaze.serve.release.sandbox import SandboxError, run_in_sandbox
from stargaze.serve.release.signers import is_accepted
from stargaze.system.files import scratch_folder

MAX_COMMIT = 64_000  # [byte]; real ones have about 700
_NO_COMMIT = re.compile(r"0+")


@dataclass(frozen=True)
class RefUpdate:
    """One line of a hook's input: ``ref`` changes from commit ``old`` to ``new``; None if it does not exist."""

    old: str | None
    new: str | None
    ref: str


def parse_updates(text: str) -> list[RefUpdate]:
    """Parse what git writes to a hook's standard input."""
    updates = []
    for line in filter(None, text.split("\n")):  # a ref may contain other line separators of Unicode
        old, _, rest = line.partition(" ")
        new, _, ref = rest.partition(" ")
        updates.append(RefUpdate(_existing(old), _existing(new), ref))
    return updates


def _existing(commit: str) -> str | None:
    return None if _NO_COMMIT.fullmatch(commit) else commit


def load_in_sandbox(folder: Path, policy: HookPolicy) -> None:
    """Run the policy's ``verify_command`` on a release or a star bundle; refuse it if that fails or exceeds a limit."""
    command = [*policy.verify_command, str(folder)]
    try:
        run_in_sandbox(command, seconds=policy.load_timeout, megabytes=policy.load_megabytes)
    except SandboxError as error:
        reason = error.message.replace(str(folder), short_name(folder.name))  # not a temporary path
        raise RefusedError(f"the bundle does not load: {reason}") from error


def check_push(
    updates: Sequence[RefUpdate],
    repository: git.Repository,
    policy: HookPolicy,
    *,
    verify: Callable[[Path, HookPolicy], None] = load_in_sandbox,
) -> None:
    """Return if the push is accepted, else raise :class:`RefusedError` with the reason.

    Signature, layout, number and size of files of every new commit are checked before any file is read, and the
    checksums of the newest bundles before ``verify`` loads their models, once, in a process of its own.
    """
    update = _check_branch(updates)
    for commit, parent in _list_new_commits(repository, update, policy):
        _check_signature(repository, commit, policy)
        name, tree = _check_commit(repository, commit, parent, policy)
    with scratch_folder(policy.serving) as temporary:
        folder = temporary / name
        folder.mkdir()
        extract_release(repository, tree, folder)
        verify(folder, policy)


def _check_branch(updates: Sequence[RefUpdate]) -> RefUpdate:
    for update in updates:
        if update.ref != git.BRANCH:
            raise RefusedError(f"releases are pushed to {git.BRANCH} only, not to {printable(update.ref, 80)}")
        if update.new is None:
            raise RefusedError(f"{git.BRANCH} is the record of releases and cannot be deleted")
    if len(updates) != 1:
        raise RefusedError(f"a push must update one ref, this one updates {len(updates)}")
    return updates[0]


def _list_new_commits(
    repository: git.Repository, update: RefUpdate, policy: HookPolicy
) -> list[tuple[str, str | None]]:
    """Return the pairs (new commit, its parent), oldest first: a chain that starts at the old tip."""
    new = str(update.new)
    info = git.object_info(repository, new)
    if info is None or info[1] != "commit":
        raise RefusedError(f"{new[:12]} is not a commit")
    commits = git.list_commits(repository, new, update.old, policy.max_releases + 1)
    if len(commits) > policy.max_releases:
        raise RefusedError(f"more than {policy.max_releases} releases in one push")
    if any(len(parents) > 1 for _, parents in commits):
        raise RefusedError("the push contains a merge; releases form a linear history")
    chain = [(commit, parents[0] if parents else None) for commit, parents in reversed(commits)]
    if not chain or chain[0][1] != update.old:
        raise RefusedError("not a fast-forward: the push does not contain the current release; stargaze releases")
    return chain


def _check_signature(repository: git.Repository, commit: str, policy: HookPolicy) -> None:
    info = git.object_info(repository, commit)
    if info is None or info[2] > MAX_COMMIT:
        raise RefusedError(f"commit {commit[:12]} is larger than {MAX_COMMIT} bytes")
    if is_accepted(commit, policy.allowed_signers):
        return
    if not git.is_signed(repository, commit, policy.allowed_signers):
        raise RefusedError(f"commit {commit[:12]} is not signed by an allowed signer")


def _check_commit(
    repository: git.Repository, commit: str, parent: str | None, policy: HookPolicy
) -> tuple[str, CommitTree]:
    """Compare release.json with the parent commit and the manifests; return the release's name and files."""
    tree = list_commit(repository, commit, policy)
    bundles = [tree.stars] if tree.growth is None else [tree.stars, tree.growth]
    release_json, *manifests = git.read_objects(
        repository, [tree.release, *(files[manifest.MANIFEST] for files in bundles)]
    )
    try:
        release = parse_release(commit, release_json)
    except BadDataError as error:
        raise RefusedError(error.message) from error
    if release.previous != parent:
        raise RefusedError(f"the previous release in {RELEASE_FILE} is not the parent commit")
    digest, *growth = [hashlib.sha256(text).hexdigest() for text in manifests]
    name = release_name(digest, growth[0] if growth else None)
    if release.digest != digest:
        names = f"names bundle {release.digest[:12]}, but the manifest belongs to {digest[:12]}"
        raise RefusedError(f"{RELEASE_FILE} {names}")
    if release.name != name:
        names, actual = [(item or "none")[:12] for item in (release.growth_digest, growth[0] if growth else None)]
        raise RefusedError(f"{RELEASE_FILE} names growth bundle {names}, but the release has {actual}")
    return name, tree
