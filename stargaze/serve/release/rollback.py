"""Return to an earlier release, once, also if a kill interrupts it.

Before the first change the intent is written: from which commit to which bundle. It is deleted after the result was announced,
so a repeated rollback completes the interrupted one instead of going back a second release.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import MissingInputError, StargazeError
from stargaze.serve.release.pre_receive import load_in_sandbox
from stargaze.serve.release.publish import (
    ReleasePlan,
    ReleaseRepository,
    apply_release,
    bundle_of_release,
    draft_release,
    match_digest,
    open_release_repository,
)
from stargaze.serve.release.record import Release, active_releases, printable, read_history
from stargaze.serve.release.repository import RefusedError, list_commit
from stargaze.store import Store
from stargaze.system.files import convert_disk_errors, read_json, write_json
from stargaze.system.progress import Notify


def rollback_release(
    section: DeploySection,
    store: Store,
    *,
    now: datetime,
    to: str | None = None,
    author: str | None = None,
    notify: Notify = lambda _line: None,
    announce: Callable[[Release], None] = lambda _release: None,
) -> Release:
    """Return to the bundle of the previous release, or of any release; see :func:`begin_rollback`.

    ``announce`` tells the user the result: only then is the rollback complete.
    """
    with open_release_repository(section, store) as repository:
        plan = begin_rollback(repository, now=now, to=to, author=author, notify=notify)
        release = apply_release(repository, plan, now=now)
        announce(release)
        finish_rollback(store)
        return release


def begin_rollback(
    repository: ReleaseRepository, *, now: datetime, to: str | None, notify: Notify, author: str | None = None
) -> ReleasePlan:
    """Plan a rollback and record it, or plan to complete the recorded one, whose release exists but perhaps not everywhere.

    A record that does not belong to the newest release is out of date: nothing was changed, or something else since.
    """
    history, intent = read_history(repository.bare), _read_intent(repository.store)
    if history and intent and _is_release_of(history[0], intent) and history[0].digest.startswith(to or ""):
        source = next((release.digest for release in history if release.commit == intent["from"]), "")
        notify(f"completing the interrupted rollback from release {source[:12]} to {history[0].digest[:12]}")
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    plan = plan_rollback(repository, now=now, to=to, author=author, notify=notify)
    if plan.release.changed:
        write_json(repository.store.rollback, {"from": plan.release.previous, "to": plan.release.digest})
    return plan


def finish_rollback(store: Store) -> None:
    """Record that the rollback is complete and announced."""
    with convert_disk_errors(store.rollback):
        store.rollback.unlink(missing_ok=True)


def plan_rollback(
    repository: ReleaseRepository,
    *,
    now: datetime,
    to: str | None = None,
    author: str | None = None,
    reason: str = "",
    notify: Notify = lambda _line: None,
) -> ReleasePlan:
    """Plan a release with the bundle of the previous release that loads, or of the one whose digest starts with ``to``.

    ``reason`` is the failure after which ``deploy`` restores a release by itself.
    """
    history = read_history(repository.bare)
    if not history:
        raise MissingInputError("there is no release to roll back to", hint="stargaze deploy")
    target = _find_named(history, to) if to else _find_previous(repository, history, notify)
    if target.digest == history[0].digest:
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    draft = draft_release(history, "rollback", target.digest, target.scores, author, now)
    draft = dataclasses.replace(draft, force_reason=printable(reason))
    return ReleasePlan(draft, list_commit(repository.bare, target.commit, repository.policy).files)


def _find_named(history: list[Release], prefix: str) -> Release:
    digest = match_digest(prefix, (release.digest for release in history))
    if digest is None:
        raise MissingInputError(f"no release has bundle {printable(prefix, 64)!r}", hint="stargaze releases")
    return next(release for release in history if release.digest == digest)


def _find_previous(repository: ReleaseRepository, history: list[Release], notify: Notify) -> Release:
    """Return the newest earlier release whose bundle loads: of several releases in one push, only the newest was loaded."""
    current = history[0].digest
    skipped = ""
    for release in reversed(active_releases(history)):
        if release.digest == current:
            continue
        try:
            _check_loads(repository, release)
        except RefusedError as error:
            skipped = f" that loads; {release.digest[:12]}: {error.message}"
            notify(f"release {release.digest[:12]} is skipped: {error.message}")
        else:
            return release
    message = f"there is no earlier release than {current[:12]} to roll back to{skipped}"
    raise MissingInputError(message, hint="stargaze releases lists all; stargaze rollback DIGEST names any of them")


def _check_loads(repository: ReleaseRepository, release: Release) -> None:
    """Raise RefusedError if the release's bundle does not load; an installed bundle was loaded by the hook."""
    if not (repository.store.serving / "bundles" / release.digest).is_dir():
        with bundle_of_release(repository, release) as folder:
            load_in_sandbox(folder, repository.policy)


def _read_intent(store: Store) -> dict[str, Any]:
    """Return the recorded rollback; empty if there is none."""
    try:
        intent = read_json(store.rollback, "rollback")
    except StargazeError:
        return {}
    return intent if isinstance(intent, dict) else {}


def _is_release_of(release: Release, intent: dict[str, Any]) -> bool:
    is_target = (release.previous, release.digest) == (intent.get("from"), intent.get("to"))
    return is_target and release.kind == "rollback"
