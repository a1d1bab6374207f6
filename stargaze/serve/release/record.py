"""What is written down about a release: ``release.json`` in each commit, and the history that the commits make."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stargaze.errors import BadDataError
from stargaze.serve.release import git

FILE = "release.json"
KINDS = ("deploy", "rollback")
DIGEST = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
ALL = 1_000_000


@dataclass(frozen=True)
class Release:
    """One line of the record: which bundle went to production, who sent it, when, and what stood before.

    ``before`` is the commit of the release before, None for the first. ``changed`` is False where the bundle was
    already in force and nothing was sent. ``forced`` is the reason why it went past the gate, empty where it did not.
    """

    commit: str
    digest: str
    kind: str
    who: str
    when: str
    before: str | None
    scores: Mapping[str, Mapping[str, float | None]]
    changed: bool = True
    forced: str = ""


def written(release: Release) -> bytes:
    """Return ``release.json``: everything but the commit, which is known only afterwards."""
    names = ("digest", "kind", "who", "when", "before", "scores")
    value = {"format": 1} | {name: getattr(release, name) for name in names}
    value |= {"forced": release.forced} if release.forced else {}
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def parsed(commit: str, data: bytes) -> Release:
    """Read ``release.json`` of a commit; whatever could not have come from :func:`written` is refused."""
    value = _object(data)
    forced = value.pop("forced", "")
    expected = {"format", "digest", "kind", "who", "when", "before", "scores"}
    if set(value) != expected:
        names = ", ".join(sorted(str(name)[:40] for name in set(value) ^ expected)[:5])
        raise BadDataError(f"{FILE} is not well-formed: missing or unknown keys: {printable(names)}")
    claims = {
        "format": value["format"] == 1,
        "digest": _matches(DIGEST, value["digest"]),
        "kind": value["kind"] in KINDS,
        "who": isinstance(value["who"], str) and value["who"] == printable(value["who"]) != "",
        "when": _is_utc(value["when"]),
        "before": value["before"] is None or _matches(COMMIT, value["before"]),
        "scores": _are_scores(value["scores"]),
        "forced": isinstance(forced, str) and forced == printable(forced),
    }
    wrong = [name for name, holds in claims.items() if not holds]
    if wrong:
        raise BadDataError(f"{FILE} is not well-formed: {', '.join(wrong)}")
    return Release(commit=commit, forced=forced, **{name: value[name] for name in expected - {"format"}})


def history(repository: git.Repository, most: int = ALL) -> list[Release]:
    """Return the releases, newest first, from git's log alone."""
    tip = git.tip(repository)
    if tip is None:
        return []
    commits = [commit for commit, _ in git.chain(repository, tip, None, most)]
    contents = git.read(repository, [f"{commit}:{FILE}" for commit in commits])
    return [parsed(commit, data) for commit, data in zip(commits, contents, strict=True)]


def active_releases(releases: Sequence[Release]) -> list[Release]:
    """Return the releases that still stand, the one in force last, from a history that has the newest first.

    A deploy is put on top. A rollback takes away what stands above the bundle that it returns to, so rolling back
    twice goes back two, and a bundle that was rolled away is not returned to by the next rollback. A rollback to a
    bundle that no longer stands puts it on top, as a deploy does.
    """
    stack: list[Release] = []
    for release in reversed(releases):
        if release.kind == "rollback" and any(below.digest == release.digest for below in stack):
            while stack[-1].digest != release.digest:
                stack.pop()
        else:
            stack.append(release)
    return stack


def is_score(value: object) -> bool:
    """Notify whether the value can stand in the record as a score: a finite number, or None where it is not defined.

    >>> is_score(0.5), is_score(None), is_score(True), is_score(float("nan")), is_score(10**400)
    (True, True, False, False, False)
    """
    if value is None:
        return True
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def printable(text: str, most: int = 200) -> str:
    """Return the text on one line, without what a terminal would obey, at most ``most`` characters of it."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most].strip()


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadDataError(f"{FILE} is not JSON") from error
    if not isinstance(value, dict):
        raise BadDataError(f"{FILE} is not well-formed: not an object")
    return value


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
