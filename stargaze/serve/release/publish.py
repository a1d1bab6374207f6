"""Publish a bundle: a signed commit that the hooks of the release repository check and install.

Git's log is the whole record. A release is planned, applied and verified while one lock is held.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.bundle import manifest
from stargaze.config import DeploySection
from stargaze.errors import DifferenceFoundError, ExternalError, MissingInputError, UsageError
from stargaze.serve.release import git
from stargaze.serve.release.install import install_newest
from stargaze.serve.release.record import (
    DIGEST,
    RELEASE_FILE,
    Release,
    encode_release,
    is_score,
    printable,
    read_history,
    rolled_back,
)
from stargaze.serve.release.repository import (
    BUNDLE_FOLDER,
    HookPolicy,
    RefusedError,
    allow_signer,
    extract_bundle,
    list_commit,
    prepare_repository,
    read_policy,
    signing_key,
)
from stargaze.store import Store
from stargaze.system.files import scratch_folder
from stargaze.system.locks import file_lock

TUNE_HINT = "stargaze tune creates a bundle"
QualityGate = Callable[[Path, Path], None]
"""A function of the new bundle and the one in production; raises if the new one must not be published."""
UNCHANGED = "the previous release stays in production"
REFUSED_HINTS = {
    "does not load": f"{UNCHANGED}; --force skips the quality gate only: stargaze tune, or stargaze deploy DIGEST",
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
    """The next release, its commit still empty, and its files by name: a path, or a blob of the repository.

    If ``release.changed`` is False, the bundle is in production already, and only its installation is repaired.
    """

    release: Release
    files: Mapping[str, Path | str]


def publish_release(
    section: DeploySection,
    store: Store,
    *,
    now: datetime,
    digest: str | None = None,
    author: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
) -> Release:
    """Publish the newest bundle, or the one whose digest starts with ``digest``; see :func:`plan_deploy`."""
    bundle = verified_bundle_folder(store, digest)
    with open_release_repository(section, store) as repository:
        plan = plan_deploy(repository, bundle, now=now, author=author, gate=gate, force_reason=force_reason)
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
    bundle: Path,
    *,
    now: datetime,
    author: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
) -> ReleasePlan:
    """Plan the release of a verified bundle.

    ``force_reason`` skips the quality gate, delivers a bundle that was rolled back, and is recorded.
    """
    history, force_reason = read_history(repository.bare), printable(force_reason)
    if history and history[0].digest == bundle.name:
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    if not force_reason:
        check_not_rolled_back(repository.bare, history, bundle)
    if history and gate and not force_reason:
        with bundle_of_release(repository, history[0]) as champion:
            gate(bundle, champion)
    draft = draft_release(history, "deploy", bundle.name, _read_scores(bundle), author, now)
    files = {path.name: path for path in bundle.iterdir()}
    return ReleasePlan(dataclasses.replace(draft, force_reason=force_reason), files)


def check_not_rolled_back(bare: git.Repository, history: Sequence[Release], bundle: Path) -> None:
    """Raise DifferenceFoundError for a bundle that was rolled back, or one that differs from it only in its creation time."""
    for digest, rollback in rolled_back(history).items():
        commit = next(release.commit for release in history if release.digest == digest)
        if digest == bundle.name or _is_same_model(bare, commit, bundle):
            same = "" if digest == bundle.name else f" is the same as {digest[:12]}, which"
            raise DifferenceFoundError(
                f"bundle {bundle.name[:12]}{same} was rolled back at {rollback.created_at} by {rollback.author}; "
                f"release {history[0].digest[:12]} stays in production",
                hint='to deliver it again: stargaze deploy --force "the reason"; stargaze serve serves the present release',
            )


def apply_release(repository: ReleaseRepository, plan: ReleasePlan, *, now: datetime) -> Release:
    """Commit, sign and push the planned release; raise ExternalError unless its bundle is installed then."""
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
    _verify_installation(repository.store, plan.release.digest, result.output)
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


def installed_digest(store: Store) -> str | None:
    """Return the digest of the installed bundle; None before the first release."""
    return store.current.readlink().name if store.current.is_symlink() and store.current.is_dir() else None


def verified_bundle_folder(store: Store, digest: str | None) -> Path:
    """Return the folder of the newest bundle, or of the one whose digest starts with ``digest``; its checksums are verified."""
    folder = _find_bundle(store, digest)
    actual = manifest.verify_files(folder)
    if actual != folder.name:
        raise manifest.BadBundleError(f"{folder}: the manifest belongs to bundle {actual[:12]}", hint=TUNE_HINT)
    return folder


def _find_bundle(store: Store, digest: str | None) -> Path:
    if digest is None:
        digest = store.latest.read_text(encoding="utf-8").strip() if store.latest.is_file() else ""
        if not digest:
            raise MissingInputError(f"{store.bundles}: there is no bundle yet", hint="stargaze tune")
    digests = sorted(path.name for path in store.bundles.glob("*") if DIGEST.fullmatch(path.name))
    match = match_digest(digest, digests)
    if match is None:
        hint = TUNE_HINT + "".join(f"; available: {name[:12]}" for name in digests[:5])
        raise MissingInputError(f"{store.bundles}: there is no bundle {printable(digest, 64)!r}", hint=hint)
    return store.bundles / match


def match_digest(prefix: str, digests: Iterable[str]) -> str | None:
    """Return the only digest that starts with a prefix, None if there is none; UsageError if there are several."""
    matching = {digest for digest in digests if prefix and digest.startswith(prefix)}
    if len(matching) > 1:
        raise UsageError(f"{printable(prefix, 64)!r} matches {len(matching)} bundles", hint="give more of the digest")
    return next(iter(matching), None)


@contextlib.contextmanager
def bundle_of_release(repository: ReleaseRepository, release: Release) -> Iterator[Path]:
    """Give the folder of a release's bundle: the installed one, else a temporary one extracted from git."""
    installed = repository.store.serving / "bundles" / release.digest
    if installed.is_dir():
        yield installed
        return
    with scratch_folder(repository.store.root.resolve()) as scratch:
        folder = scratch / release.digest
        folder.mkdir()
        extract_bundle(repository.bare, list_commit(repository.bare, release.commit, repository.policy), folder)
        yield folder


def draft_release(
    history: list[Release], kind: str, digest: str, scores: Mapping[str, Any], author: str | None, now: datetime
) -> Release:
    """Return the next release, before it is committed."""
    created_at = now.astimezone(UTC).isoformat(timespec="seconds")
    previous = history[0].commit if history else None
    return Release("", digest, kind, printable(author or _default_author()), created_at, previous, scores)


def _default_author() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id without a name
        user = str(os.getuid())
    return " / ".join(filter(None, [git.user_name(), f"{user}@{socket.gethostname()}"]))


def _is_same_model(bare: git.Repository, commit: str, bundle: Path) -> bool:
    names = [f"{commit}:{BUNDLE_FOLDER}/{name}" for name in (manifest.MANIFEST, manifest.DESCRIPTION)]
    own = [(bundle / name).read_bytes() for name in (manifest.MANIFEST, manifest.DESCRIPTION)]
    try:
        return bool(_without_time(*git.read_objects(bare, names)) == _without_time(*own))
    except (ExternalError, *manifest.MALFORMED):  # a release that was never installed, below the newest of its push
        return False


def _without_time(files: bytes, description: bytes) -> Any:
    """Return what two bundles have in common that differ only in the time of their creation."""
    entries, meta = json.loads(files)["files"], json.loads(description)
    return {**entries, manifest.DESCRIPTION: {**meta, "created_at": ""}}


def _read_scores(bundle: Path) -> Mapping[str, Any]:
    """Return the scores in the description of a verified bundle."""
    path = bundle / "bundle.json"
    try:
        meta = manifest.parse_json(path.read_bytes())
        manifest.check_kind(meta, "stars", bundle)  # otherwise the hook reports it, after a commit and a push
        return {
            policy: {name: score for name, score in scores.items() if is_score(score)}
            for policy, scores in meta.get("scores", {}).items()
        }
    except (OSError, *manifest.MALFORMED) as error:
        raise manifest.BadBundleError(f"{path}: cannot be read: {error}", hint=TUNE_HINT) from error


def _commit_release(scratch: git.Repository, plan: ReleasePlan, key: Path) -> str:
    release = plan.release
    blobs = {
        f"{BUNDLE_FOLDER}/{name}": git.add_file(scratch, file) if isinstance(file, Path) else file
        for name, file in plan.files.items()
    }
    blobs[RELEASE_FILE] = git.add_file(scratch, encode_release(release))
    forced = f"\nforced: {release.force_reason}\n" if release.force_reason else ""
    return git.add_commit(
        scratch,
        git.add_tree(scratch, blobs),
        release.previous,
        f"{release.kind} {release.digest[:12]}\n\nby {release.author}\n{forced}",
        author=release.author,
        now=datetime.fromisoformat(release.created_at),
        key=key,
    )


def _verify_installation(store: Store, digest: str, output: str) -> None:
    installed = installed_digest(store)
    if installed != digest:
        reason = find_remote_line(output, "not installed: ") or f"installed is {(installed or 'nothing')[:12]}"
        message = f"release {digest[:12]} is recorded but not installed: {reason}"
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
