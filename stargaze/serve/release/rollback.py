"""Return to an earlier release, once, also if a kill interrupts it.

Before the first change the intent is written: from which commit to which release. It is deleted after the result was announced,
so a repeated rollback completes the interrupted one instead of going back a second release.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import MissingInputError, StargazeError
from stargaze.serve.release.choose_bundles import match_digest
from stargaze.serve.release.commit_tree import list_commit
from stargaze.serve.release.pre_receive import load_in_sandbox
from stargaze.serve.release.publish import (
    ReleasePlan,
    ReleaseRepository,
    apply_release,
    draft_release,
    folder_of_release,
    open_release_repository,
)
from stargaze.serve.release.record import Release, active_releases, printable, read_history
from stargaze.serve.release.release_folder import short_name
from stargaze.serve.release.repository import RefusedError
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
    """Return to both bundles of the previous release, or of any release; see :func:`begin_rollback`.

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
    is_recorded = bool(history and intent) and _is_release_of(history[0], intent)
    if is_recorded and (not to or _find_named(history, to).name == history[0].name):
        source = next((release.name for release in history if release.commit == intent["from"]), "")
        notify(
            f"completing the interrupted rollback from release {short_name(source)} to {short_name(history[0].name)}"
        )
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    plan = plan_rollback(repository, now=now, to=to, author=author, notify=notify)
    if plan.release.changed:
        write_json(repository.store.rollback, {"from": plan.release.previous, "to": plan.release.name})
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
    """Plan a release with the bundles of the previous release that loads, or of the one that ``to`` names.

    ``to`` is a digest or its first characters, of a star bundle, of a star and a growth bundle (``DIGEST-GROWTH``) or of a growth
    bundle alone, or a commit; of several releases the newest is taken.

    ``reason`` is the failure after which ``deploy`` restores a release by itself.
    """
    history = read_history(repository.bare)
    if not history:
        raise MissingInputError("there is no release to roll back to", hint="stargaze deploy")
    target = _find_named(history, to) if to else _find_previous(repository, history, notify)
    if target.name == history[0].name:
        return ReleasePlan(dataclasses.replace(history[0], changed=False), {})
    draft = draft_release(history, "rollback", target.digest, target.growth_digest, target.scores, author, now)
    draft = dataclasses.replace(draft, force_reason=printable(reason))
    return ReleasePlan(draft, list_commit(repository.bare, target.commit, repository.policy).files)


def _find_named(history: list[Release], to: str) -> Release:
    """Return the newest release that ``to`` names; UsageError if it fits several bundles."""
    stars, _, growth = to.partition("-")
    if digest := match_digest(stars, (release.digest for release in history)):
        found = [release for release in history if release.digest == digest]
        if growth:
            digest = match_digest(growth, (release.growth_digest or "" for release in found))
            found = [release for release in found if digest and release.growth_digest == digest]
    elif digest := match_digest(to, (release.growth_digest or "" for release in history)):
        found = [release for release in history if release.growth_digest == digest]
    else:
        found = [release for release in history if release.commit == to]
    if not found:
        raise MissingInputError(f"no release has bundle {printable(to, 150)!r}", hint="stargaze releases")
    return found[0]


def _find_previous(repository: ReleaseRepository, history: list[Release], notify: Notify) -> Release:
    """Return the newest earlier release whose bundles load: of several releases in one push, only the newest was loaded."""
    current = history[0].name
    skipped = ""
    for release in reversed(active_releases(history)):
        if release.name == current:
            continue
        try:
            _check_loads(repository, release)
        except RefusedError as error:
            skipped = f" that loads; {short_name(release.name)}: {error.message}"
            notify(f"release {short_name(release.name)} is skipped: {error.message}")
        else:
            return release
    message = f"there is no earlier release than {short_name(current)} to roll back to{skipped}"
    raise MissingInputError(message, hint="stargaze releases lists all; stargaze rollback DIGEST names any of them")


def _check_loads(repository: ReleaseRepository, release: Release) -> None:
    """Raise RefusedError if the release's bundles do not load; those of an installed one were loaded by the hook."""
    if not (repository.store.serving / "bundles" / release.name).is_dir():
        with folder_of_release(repository, release) as folder:
            load_in_sandbox(folder, repository.policy)


def _read_intent(store: Store) -> dict[str, Any]:
    """Return the recorded rollback; empty if there is none."""
    try:
        intent = read_json(store.rollback, "rollback")
    except StargazeError:
        return {}
    return intent if isinstance(intent, dict) else {}


def _is_release_of(release: Release, intent: dict[str, Any]) -> bool:
    is_target = (release.previous, release.name) == (intent.get("from"), intent.get("to"))
    return is_target and release.kind == "rollback"
