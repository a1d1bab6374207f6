"""Publish a star bundle and a growth bundle: a signed commit that the hooks of the release repository check and install.

Git's log is the whole record. A release is planned, applied and verified while one lock is held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, UsageError
from stargaze.serve.release import git
from stargaze.serve.release.choose_bundles import (
    NO_GROWTH,
    ChosenBundles,
    check_not_rolled_back,
    choose_bundles,
    plan_growth,
    read_scores,
)
from stargaze.serve.release.commit_tree import extract_release, list_commit
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.record import RELEASE_FILE, Release, encode_release, printable, read_history
from stargaze.serve.release.release_folder import release_name, short_name
from stargaze.serve.release.repository import (
    BUNDLE_FOLDER,
    HookPolicy,
    RefusedError,
    allow_signer,
    prepare_repository,
    read_policy,
    signing_key,
)
from stargaze.store import Store
from stargaze.system.files import scratch_folder
from stargaze.system.locks import file_lock
from stargaze.system.progress import Notify

QualityGate = Callable[[Path, Path], None]
"""A function of the new bundle and the one in production; raises if the new one must not be published."""
UNCHANGED = "the previous release stays in production"
REFUSED_HINTS = {
    "growth bundle": f'{UNCHANGED}; stargaze tune with tuning.target = "growth", or stargaze deploy --growth {NO_GROWTH}',
    "does not load": f"{UNCHANGED}; --force skips the quality gate only: stargaze tune, or stargaze deploy DIGEST",
    "a release contains": f"{UNCHANGED}; another version of stargaze is installed there: stargaze infra configure",
    " MB are allowed": f"{UNCHANGED}; the limit is deploy.max_release_size",
}
"""What to do, by a part of the hook's reason."""


@dataclass(frozen=True)
class ReleaseRepository:
    """A store's release repository while it is locked, its hooks and policy up to date."""

    section: DeploySection
    store: Store
    bare: git.Repository
    policy: HookPolicy
    signing_key: Path


@dataclass(frozen=True)
class ReleasePlan:
    """The next release, its commit still empty, and its files by their path in it: a path here, or a blob of the repository.

    If ``release.changed`` is False, it is in production already, and only its installation is repaired.
    """

    release: Release
    files: Mapping[str, Path | str]


def publish_release(
    section: DeploySection,
    store: Store,
    *,
    now: datetime,
    digest: str | None = None,
    growth: str | None = None,
    author: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
    notify: Notify = lambda _line: None,
) -> Release:
    """Publish the newest bundles, or those of these digests; see :func:`choose_bundles` and :func:`plan_deploy`."""
    chosen = choose_bundles(store, digest, growth)
    with open_release_repository(section, store) as repository:
        plan = plan_deploy(
            repository, chosen, now=now, author=author, gate=gate, force_reason=force_reason, notify=notify
        )
        release = apply_release(repository, plan, now=now)
        store.rollback.unlink(missing_ok=True)  # of this bundle: it is complete now
        return release


@contextlib.contextmanager
def open_release_repository(section: DeploySection, store: Store) -> Iterator[ReleaseRepository]:
    """Lock the release repository, which is created or updated first; one deploy or rollback at a time."""
    busy, hint = "another deploy or rollback is running", "repeat it when that one has ended"
    with file_lock(store.root / "releases.lock", busy=busy, hint=hint):
        key = signing_key(section, store)
        allow_signer(key, store)
        bare = prepare_repository(store.releases.resolve(), HookPolicy.for_store(store, section.max_release_size))
        yield ReleaseRepository(section, store, bare, read_policy(bare.path), key)


def plan_deploy(
    repository: ReleaseRepository,
    chosen: ChosenBundles,
    *,
    now: datetime,
    author: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
    notify: Notify = lambda _line: None,
) -> ReleasePlan:
    """Plan the release of verified bundles.

    ``force_reason`` skips the quality gate, delivers bundles that were rolled back, and is recorded.
    """
    history, force_reason = read_history(repository.bare), printable(force_reason)
    growth = plan_growth(repository.bare, history, chosen, force=bool(force_reason), notify=notify)
    digest = chosen.stars.name
    if history and history[0].name == release_name(digest, growth.digest):
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    if not force_reason:
        check_not_rolled_back(history, chosen.stars)
    if history and gate and not force_reason and history[0].digest != digest:
        with folder_of_release(repository, history[0]) as champion:
            gate(chosen.stars, champion)
    draft = draft_release(history, "deploy", digest, growth.digest, read_scores(chosen.stars), author, now)
    files = {f"{BUNDLE_FOLDER}/{path.name}": path for path in chosen.stars.iterdir() if path.is_file()}
    return ReleasePlan(dataclasses.replace(draft, force_reason=force_reason), {**files, **growth.files})


def apply_release(repository: ReleaseRepository, plan: ReleasePlan, *, now: datetime) -> Release:
    """Commit, sign and push the planned release; raise ExternalError unless it is installed then."""
    if not plan.release.changed:
        installed = install_newest(repository.bare, repository.policy, now=now)
        if installed is None:
            raise ExternalError(f"{repository.bare.path}: the releases have disappeared", hint="stargaze deploy")
        return installed
    with scratch_folder(repository.store.root.resolve()) as folder:
        scratch = git.with_alternates(repository.bare, folder)
        commit = _commit_release(scratch, plan, repository.signing_key)
        result = git.push(scratch, commit, str(repository.bare.path))
    if not result.accepted:
        raise explain_push_failure(result.output, repository.section)
    _verify_installation(repository.store, plan.release.name, result.output)
    return dataclasses.replace(plan.release, commit=commit)


def check_force_reason(text: str | None) -> str:
    """Return the reason for skipping the quality gate as it is recorded; empty if it is not skipped (None)."""
    reason = printable(text or "")
    if text is not None and not reason:
        message = "--force needs a reason; it is recorded with the release"
        raise UsageError(message, hint='stargaze deploy --force "the reason"')
    return reason


def list_releases(store: Store) -> list[Release]:
    """Return every release, newest first; empty before the first."""
    return read_history(git.Repository(store.releases)) if store.releases.is_dir() else []


def installed_release(store: Store) -> str | None:
    """Return the name of the installed release, which has the digests of its bundles; None before the first."""
    return store.current.readlink().name if store.current.is_symlink() and store.current.is_dir() else None


@contextlib.contextmanager
def folder_of_release(repository: ReleaseRepository, release: Release) -> Iterator[Path]:
    """Give the folder of a release: the installed one, else a temporary one extracted from git."""
    installed = repository.store.serving / "bundles" / release.name
    if installed.is_dir():
        yield installed
        return
    with scratch_folder(repository.store.root.resolve()) as scratch:
        folder = scratch / release.name
        folder.mkdir()
        extract_release(repository.bare, list_commit(repository.bare, release.commit, repository.policy), folder)
        yield folder


def draft_release(
    history: Sequence[Release],
    kind: str,
    digest: str,
    growth_digest: str | None,
    scores: Mapping[str, Any],
    author: str | None,
    now: datetime,
) -> Release:
    """Return the next release, before it is committed."""
    created_at = now.astimezone(UTC).isoformat(timespec="seconds")
    previous = history[0].commit if history else None
    author = printable(author or _default_author())
    return Release("", digest, kind, author, created_at, previous, scores, growth_digest=growth_digest)


def _default_author() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id without a name
        user = str(os.getuid())
    return " / ".join(filter(None, [git.user_name(), f"{user}@{socket.gethostname()}"]))


def _commit_release(scratch: git.Repository, plan: ReleasePlan, key: Path) -> str:
    release = plan.release
    blobs = {path: git.add_file(scratch, file) if isinstance(file, Path) else file for path, file in plan.files.items()}
    blobs[RELEASE_FILE] = git.add_file(scratch, encode_release(release))
    growth = f"growth bundle {release.growth_digest}\n" if release.growth_digest else ""
    forced = f"\nforced: {release.force_reason}\n" if release.force_reason else ""
    return git.add_commit(
        scratch,
        git.add_tree(scratch, blobs),
        release.previous,
        f"{release.kind} {short_name(release.name)}\n\nby {release.author}\n{growth}{forced}",
        author=release.author,
        now=datetime.fromisoformat(release.created_at),
        key=key,
    )


def _verify_installation(store: Store, name: str, output: str) -> None:
    installed = installed_release(store)
    if installed != name:
        reason = find_remote_line(output, "not installed: ") or f"installed is {short_name(installed or 'nothing')}"
        message = f"release {short_name(name)} is recorded but not installed: {reason}"
        raise ExternalError(message, hint="fix the cause; `stargaze deploy` of the same bundle then installs it")


def explain_push_failure(output: str, section: DeploySection) -> ExternalError:
    """Return the error for the output of git and the hooks of a push that was not accepted."""
    if reason := find_remote_line(output, "refused: "):
        hint = next((hint for part, hint in REFUSED_HINTS.items() if part in reason), UNCHANGED)
        return RefusedError(f"the release was refused: {reason}", hint=hint)
    if "pack exceeds maximum allowed size" in output:
        limit = f"deploy.max_release_size = {section.max_release_size:g} MB"
        return RefusedError(f"the release was refused: it is larger than {limit}", hint=UNCHANGED)
    if lock := re.search(r"'([^']+\.lock)': File exists", output):
        path = Path(lock[1])
        return ExternalError(
            f"git push failed: {path} exists, so another push is running or one was killed",
            hint=f"repeat it; if the file remains and no git is running: rm {path}",
        )
    if any(text in output for text in ("[rejected]", "failed to update ref", "cannot lock ref")):
        message = "another release arrived at the same time; this one was not published"
        return ExternalError(message, hint="stargaze releases; then repeat")
    lines = [line.removeprefix("remote:").strip() for line in output.splitlines()]
    # If a machine cannot be reached, ssh prints the reason and git only the consequence.
    causes = [line for prefix in ("ssh:", "fatal:", "error:") for line in lines if line.startswith(prefix)]
    reason = next(iter(causes), next(filter(None, reversed(lines)), ""))
    return ExternalError(f"git push failed: {printable(reason)}", hint=UNCHANGED)


def find_remote_line(output: str, prefix: str) -> str:
    """Return the rest of the first line from the remote side that starts with ``prefix``, empty if there is none."""
    lines = [line.removeprefix("remote:").strip() for line in output.splitlines() if line.startswith("remote:")]
    return next((printable(line.removeprefix(prefix), 500) for line in lines if line.startswith(prefix)), "")
