"""Bring a bundle to production and take it back: each is a signed commit, pushed to where a hook decides.

Git's log of the repository of releases is the whole record. A rollback is a new commit with the bundle of the release
that stood before; what stands is walked from the log, see :func:`stargaze.serve.release.record.active_releases`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.bundle import manifest
from stargaze.config import DeploySection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.serve.release import commit_tree as contents
from stargaze.serve.release import git, record, signing
from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.install import install
from stargaze.serve.release.record import Release, printable
from stargaze.serve.release.repository import HookPolicy, prepare, read_rules
from stargaze.store import Store
from stargaze.system.files import scratch_folder
from stargaze.system.locks import locked

DESCRIPTION = "bundle.json"


Gate = Callable[[Path, Path], None]
"""Given the bundle that shall go to production and the one that is there, raises where it shall not."""


def deploy(
    section: DeploySection,
    store: Store,
    *,
    now: datetime,
    digest: str | None = None,
    who: str | None = None,
    gate: Gate | None = None,
    forced: str = "",
) -> Release:
    """Send the bundle to production: the newest one, or that of a digest or its beginning.

    A bundle that is already in force is not sent again, but installed again if it is not there (after a crash). One that
    the ``gate`` would not let through goes with ``forced``, the reason, which is kept in the record.
    """
    folder, forced = verified_bundle_folder(store, digest), printable(forced)
    with locked_release_repository(section, store) as repository:
        releases = record.history(repository)
        if releases and releases[0].digest == folder.name:
            return _heal(repository, now)
        if releases and gate and not forced:
            _weigh(store, repository, releases[0], folder, gate)
        draft = _draft(releases, kind="deploy", digest=folder.name, who=who, now=now, scores=_scores(folder))
        draft = dataclasses.replace(draft, forced=forced)
        return _send(section, store, repository, draft, {path.name: path for path in folder.iterdir()})


def reason(text: str | None) -> str:
    """Return why a bundle goes past the gate, as the record keeps it; empty where it shall not (None).

    Raises
    ------
    UsageError
        If it says nothing.
    """
    why = printable(text or "")
    if text is not None and not why:
        raise UsageError(
            "--force wants a reason, which is kept in the record", hint='stargaze deploy --force "why it shall be so"'
        )
    return why


def check_quality_gate(section: DeploySection, store: Store, folder: Path, gate: Gate) -> None:
    """Hold a bundle against the one in force before anything is done for it, if there is one and it is another."""
    with locked_release_repository(section, store) as repository:
        releases = record.history(repository)
        if releases and releases[0].digest != folder.name:
            _weigh(store, repository, releases[0], folder, gate)


def rollback(
    section: DeploySection, store: Store, *, now: datetime, to: str | None = None, who: str | None = None
) -> Release:
    """Return to the bundle of the release before the one in force, or to any that was released."""
    with locked_release_repository(section, store) as repository:
        releases = record.history(repository)
        if not releases:
            raise MissingInputError(
                "nothing was released yet, so there is nothing to return to", hint="stargaze deploy"
            )
        source = _named(releases, to) if to else _before(releases)
        if source.digest == releases[0].digest:
            return _heal(repository, now)
        draft = _draft(releases, kind="rollback", digest=source.digest, who=who, now=now, scores=source.scores)
        files = contents.list_commit(repository, source.commit, read_rules(repository.path)).files
        return _send(section, store, repository, draft, files)


def releases(store: Store) -> list[Release]:
    """Return every release, newest first; empty before the first."""
    return record.history(git.Repository(store.releases)) if store.releases.is_dir() else []


def installed(store: Store) -> str | None:
    """Return the digest of the bundle that serves, None if none does."""
    return store.current.readlink().name if store.current.is_symlink() and store.current.is_dir() else None


def verified_bundle_folder(store: Store, digest: str | None) -> Path:
    """Return the folder of the bundle with this digest, or its beginning, or of the newest, after all its sums were checked."""
    folder = _named_folder(store, digest)
    found = manifest.verify_files(folder)
    if found != folder.name:
        raise manifest.BadBundleError(
            f"{folder}: its manifest is that of {found[:12]}", hint="stargaze tune makes a bundle"
        )
    return folder


def _named_folder(store: Store, digest: str | None) -> Path:
    folders = sorted(path for path in store.bundles.glob("*") if record.DIGEST.fullmatch(path.name))
    hint = "stargaze tune makes a bundle" + "".join(f"; here: {path.name[:12]}" for path in folders[:5])
    if digest is None:
        digest = store.latest.read_text(encoding="utf-8").strip() if store.latest.is_file() else ""
        if not digest:
            raise MissingInputError(f"{store.bundles}: there is no bundle yet", hint="stargaze tune")
    matching = [path for path in folders if path.name.startswith(digest)]
    if not digest or not matching:
        raise MissingInputError(f"{store.bundles}: there is no bundle {printable(digest, 64)!r}", hint=hint)
    if len(matching) > 1:
        raise UsageError(
            f"{printable(digest, 64)!r} is the beginning of {len(matching)} bundles", hint="give more of the digest"
        )
    return matching[0]


@contextlib.contextmanager
def locked_release_repository(section: DeploySection, store: Store) -> Iterator[git.Repository]:
    """Give the repository of releases with hooks, rules and signers as they should be; one deploy at a time."""
    busy, hint = "another deploy or rollback is under way", "repeat it when that one has ended"
    with locked(store.root / "releases.lock", busy=busy, hint=hint):
        signing.allow(signing.signing_key(section, store), store)
        rules = HookPolicy(
            serving=store.serving,
            allowed_signers=signing.allowed_signers(store),
            max_bytes=int(section.max_size * 1e6),
        )
        yield prepare(store.releases.resolve(), rules)


def _weigh(store: Store, repository: git.Repository, standing: Release, folder: Path, gate: Gate) -> None:
    with _unpacked(store, repository, standing) as champion:
        gate(folder, champion)


@contextlib.contextmanager
def _unpacked(store: Store, repository: git.Repository, release: Release) -> Iterator[Path]:
    """Give the folder of a release's bundle: where it serves, else as the record holds it."""
    folder = store.serving / "bundles" / release.digest
    if folder.is_dir():
        yield folder
        return
    with scratch_folder(store.root.resolve()) as scratch:
        whole = scratch / release.digest
        whole.mkdir()
        contents.write_out(
            repository, contents.list_commit(repository, release.commit, read_rules(repository.path)), whole
        )
        yield whole


def _heal(repository: git.Repository, now: datetime) -> Release:
    done = install(repository, read_rules(repository.path), now=now)
    if done is None:
        raise ExternalError(f"{repository.path}: its releases have vanished", hint="stargaze deploy")
    return dataclasses.replace(done.release, changed=done.changed)


def _named(releases: list[Release], to: str) -> Release:
    matching = {release.digest: release for release in reversed(releases) if release.digest.startswith(to)}
    if not matching:
        raise MissingInputError(f"no release has bundle {printable(to, 64)!r}", hint="stargaze releases lists them")
    if len(matching) > 1:
        raise UsageError(
            f"{printable(to, 64)!r} is the beginning of {len(matching)} bundles", hint="give more of the digest"
        )
    return next(iter(matching.values()))


def _before(releases: list[Release]) -> Release:
    below = [release for release in record.active_releases(releases) if release.digest != releases[0].digest]
    if not below:
        raise MissingInputError(
            f"nothing stands before {releases[0].digest[:12]}, so there is nothing to return to",
            hint="stargaze releases lists what was released; stargaze rollback DIGEST takes any of it",
        )
    return below[-1]


def _draft(
    releases: list[Release], *, kind: str, digest: str, who: str | None, now: datetime, scores: Mapping[str, Any]
) -> Release:
    """Return the release as it will stand in the record, with its commit still empty."""
    return Release(
        commit="",
        digest=digest,
        kind=kind,
        who=printable(who or _who()),
        when=now.astimezone(UTC).isoformat(timespec="seconds"),
        before=releases[0].commit if releases else None,
        scores=scores,
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that no one named
        user = str(os.getuid())
    return " / ".join(filter(None, [git.user_name(), f"{user}@{socket.gethostname()}"]))


def _scores(folder: Path) -> Mapping[str, Any]:
    """Return the scores that the bundle's own description states; its sums were checked before."""
    path = folder / DESCRIPTION
    try:
        meta = json.loads(path.read_bytes())
        manifest.check_kind(meta, "stars", folder)  # else the hook says so, after a commit and a push
        scores = meta.get("scores", {})
        return {
            name: {key: score for key, score in of.items() if record.is_score(score)} for name, of in scores.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise manifest.BadBundleError(
            f"{path}: cannot be read: {error}", hint="stargaze tune makes a bundle"
        ) from error


def _send(
    section: DeploySection, store: Store, repository: git.Repository, draft: Release, files: Mapping[str, Path | str]
) -> Release:
    """Commit the files (a path, or a blob that is there already), sign, push, and look at what serves then."""
    with scratch_folder(store.root.resolve()) as folder:
        scratch = git.with_alternates(repository, folder)
        blobs = {
            f"{contents.FOLDER}/{name}": git.add_file(scratch, file) if isinstance(file, Path) else file
            for name, file in files.items()
        }
        blobs[record.FILE] = git.add_file(scratch, record.written(draft))
        why = f"\nforced: {draft.forced}\n" if draft.forced else ""
        commit = git.add_commit(
            scratch,
            git.add_tree(scratch, blobs),
            draft.before,
            f"{draft.kind} {draft.digest[:12]}\n\nby {draft.who}\n{why}",
            author=draft.who,
            now=datetime.fromisoformat(draft.when),
            key=signing.signing_key(section, store),
        )
        pushed = git.push(scratch, commit, str(repository.path))
    if not pushed.accepted:
        raise refusal(pushed.said, section)
    if installed(store) != draft.digest:
        reason = _remote(pushed.said, "not installed: ") or f"{(installed(store) or 'nothing')[:12]} serves"
        raise ExternalError(
            f"release {draft.digest[:12]} is recorded but does not serve: {reason}",
            hint="put that right; `stargaze deploy` of the same bundle then repeats the installation",
        )
    return dataclasses.replace(draft, commit=commit)


def refusal(said: str, section: DeploySection) -> ExternalError:
    """Turn what git and the hook said into the one reason why the push did not go in."""
    unchanged = "what served before serves on"
    lock = re.search(r"'([^']+\.lock)': File exists", said)
    reason = _remote(said, "refused: ")
    if reason:
        return RefusedError(f"the release was refused: {reason}", hint=unchanged)
    if "pack exceeds maximum allowed size" in said:
        return RefusedError(
            f"the release was refused: it is larger than deploy.max_size = {section.max_size:g} MB", hint=unchanged
        )
    if lock:
        path = Path(lock[1])
        return ExternalError(
            f"git push failed: {path} is there, so another push is under way or one was killed",
            hint=f"repeat it; if it stays and no git runs: rm {path}",
        )
    if any(mark in said for mark in ("[rejected]", "failed to update ref", "cannot lock ref")):
        return ExternalError(
            "another release arrived at the same time, this one was not sent", hint="stargaze releases; then repeat"
        )
    lines = [line.removeprefix("remote:").strip() for line in said.splitlines()]
    # Of a machine that is not reached, ssh says why, and git only that it is so.
    telling = [line for mark in ("ssh:", "fatal:", "error:") for line in lines if line.startswith(mark)]
    reason = next(iter(telling), next(filter(None, reversed(lines)), ""))
    return ExternalError(f"git push failed: {printable(reason)}", hint=unchanged)


def _remote(said: str, beginning: str) -> str:
    """Return the rest of the first line of the other end that begins so."""
    lines = [line.removeprefix("remote:").strip() for line in said.splitlines() if line.startswith("remote:")]
    return next((printable(line.removeprefix(beginning), 500) for line in lines if line.startswith(beginning)), "")
