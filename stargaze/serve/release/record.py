"""The record of releases: ``release.json`` in each commit, and the history of these commits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stargaze.errors import BadDataError
from stargaze.serve.release import git
from stargaze.serve.release.release_folder import release_name
from stargaze.system.text import replace_unprintable

RELEASE_FILE = "release.json"
FORMAT = 2
DIGEST = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_FIELDS = ("digest", "kind", "author", "created_at", "previous", "scores")
_OPTIONAL_FIELDS = ("force_reason", "growth_digest")


@dataclass(frozen=True)
class Release:
    """Which bundles went to production, by whom, when, and after which release.

    ``kind`` is deploy or rollback, ``previous`` a commit; ``changed`` is False if it was already in production. Without a
    growth bundle, ``growth_digest`` is None: the page has no forecasts.
    ``force_reason`` is the reason for skipping the quality gate; of a rollback, the failure after which ``deploy`` restored
    this release by itself.
    """

    commit: str
    digest: str
    kind: str
    author: str
    created_at: str
    previous: str | None
    scores: Mapping[str, Mapping[str, float | None]]
    changed: bool = True
    force_reason: str = ""
    growth_digest: str | None = None

    @property
    def name(self) -> str:
        """The name of its folder; releases of the same two bundles have the same."""
        return release_name(self.digest, self.growth_digest)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of its bundles."""
        return (self.digest, self.growth_digest) if self.growth_digest else (self.digest,)


def encode_release(release: Release) -> bytes:
    """Return ``release.json``: every field but the commit, which is not known yet."""
    value = {"format": FORMAT} | {name: getattr(release, name) for name in _FIELDS}
    value |= {name: getattr(release, name) for name in _OPTIONAL_FIELDS if getattr(release, name)}
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def parse_release(commit: str, data: bytes) -> Release:
    """Parse ``release.json`` of a commit; raise BadDataError if :func:`encode_release` cannot have written it."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"{RELEASE_FILE} is not JSON") from error
    if not isinstance(value, dict):
        raise BadDataError(f"{RELEASE_FILE} is malformed: not an object")
    if value.pop("format", None) != FORMAT:
        message = f"{RELEASE_FILE} of release {commit[:12]} was written by another version of stargaze"
        raise BadDataError(message, hint="remove releases.git and serving/; stargaze deploy creates both again")
    force_reason, growth_digest = value.pop("force_reason", ""), value.pop("growth_digest", None)
    if set(value) != set(_FIELDS):
        names = ", ".join(sorted(str(name)[:40] for name in set(value) ^ set(_FIELDS))[:5])
        raise BadDataError(f"{RELEASE_FILE} is malformed: missing or unknown keys: {printable(names)}")
    is_valid = {
        "digest": _matches(DIGEST, value["digest"]),
        "kind": value["kind"] in ("deploy", "rollback"),
        "author": isinstance(value["author"], str) and value["author"] == printable(value["author"]) != "",
        "created_at": _is_utc(value["created_at"]),
        "previous": value["previous"] is None or _matches(COMMIT, value["previous"]),
        "scores": _are_scores(value["scores"]),
        "growth_digest": growth_digest is None or _matches(DIGEST, growth_digest),
        "force_reason": isinstance(force_reason, str) and force_reason == printable(force_reason),
    }
    invalid = [name for name, valid in is_valid.items() if not valid]
    if invalid:
        raise BadDataError(f"{RELEASE_FILE} is malformed: {', '.join(invalid)}")
    return Release(commit=commit, force_reason=force_reason, growth_digest=growth_digest, **value)


def read_history(repository: git.Repository, limit: int = git.UNLIMITED) -> list[Release]:
    """Return the releases of a repository from git's log, newest first."""
    tip = git.branch_tip(repository)
    if tip is None:
        return []
    commits = [commit for commit, _ in git.list_commits(repository, tip, None, limit)]
    contents = git.read_objects(repository, [f"{commit}:{RELEASE_FILE}" for commit in commits])
    return [parse_release(commit, data) for commit, data in zip(commits, contents, strict=True)]


def active_releases(history: Sequence[Release]) -> list[Release]:
    """Return the releases that are not rolled back, the current one last; ``history`` is sorted newest first.

    A rollback removes all releases after its bundles, so two rollbacks go back two releases, and none returns to bundles that
    were rolled back. A rollback to bundles that were removed adds them like a deploy.
    """
    stack: list[Release] = []
    for release in reversed(history):
        if release.kind == "rollback" and any(active.name == release.name for active in stack):
            while stack[-1].name != release.name:
                stack.pop()
        else:
            stack.append(release)
    return stack


def rolled_back(history: Sequence[Release]) -> dict[str, Release]:
    """Return the bundles that were rolled back since the last deploy, with the rollback; ``history`` is sorted newest first.

    They are both bundles of each release that was left, without those of the present release. A release that ``deploy`` could
    not verify, and that it replaced by itself, was not rolled back by anybody.
    """
    found: dict[str, Release] = {}
    position = 0
    while position < len(history) and history[position].kind == "rollback":
        rollback = history[position]
        if rollback.force_reason:
            position += 2  # with the release that failed
            continue
        kept = {release.name for release in active_releases(history[position:])}
        skipped = [release for release in active_releases(history[position + 1 :]) if release.name not in kept]
        left = [*skipped, *history[position + 1 : position + 2]]
        found = {digest: rollback for release in left for digest in release.digests} | found
        position += 1
    return {digest: rollback for digest, rollback in found.items() if digest not in history[0].digests}


def rolled_back_growth(history: Sequence[Release]) -> dict[str, Release]:
    """Return the growth bundles that were rolled back and not released again, with the rollback; newest first.

    A deploy of another star bundle does not end it, as it does for star bundles: it keeps the growth bundle of the release.
    """
    found: dict[str, Release] = {}
    released: set[str | None] = set()
    for position, release in enumerate(history):
        released.add(release.growth_digest)
        if release.kind == "rollback":
            found = {
                digest: by for digest, by in rolled_back(history[position:]).items() if digest not in released
            } | found
    return {
        digest: rollback for digest, rollback in found.items() if any(digest == item.growth_digest for item in history)
    }


def is_score(value: object) -> bool:
    """Return whether the value is a valid score: a finite number, or None if the score is undefined.

    >>> is_score(0.5), is_score(None), is_score(True), is_score(float("nan")), is_score(10**400)
    (True, True, False, False, False)
    """
    if value is None:
        return True
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def printable(text: str, limit: int = 200) -> str:
    """Return the first ``limit`` characters of the text as one line without control characters."""
    return replace_unprintable(text, replacement=" ")[:limit].strip()


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_utc(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _are_scores(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(scores, dict) and all(is_score(score) for score in scores.values()) for scores in value.values()
    )
