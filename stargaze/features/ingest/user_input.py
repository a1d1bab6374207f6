"""From what a person asks to repositories: names and URLs looked up, or figures typed, under the same checks as a fetch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from stargaze.errors import BadDataError, MissingInputError, did_you_mean
from stargaze.features import schema
from stargaze.features.ingest.validate import check_name, shorten, validate_repositories

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?github\.com/(?P<name>[^/?#\s]+/[^/?#\s]+?)(?:\.git)?(?:[/?#]\S*)?", re.IGNORECASE
)
_ASKED = (
    *("full_name", "created_at", "pushed_at", "updated_at", "fetched_at", "owner_type", "language", "license"),
    *("description_length", "has_homepage", "has_wiki", "has_pages", "topic_count", "readme_length", "size_kb"),
    *("contributors", "commits", "open_issues", "closed_issues", "pull_requests", "releases", "latest_release_at"),
    *("forks", "subscribers", "downloads"),
)
FORM_FIELDS: tuple[schema.Field, ...] = tuple(schema.FIELD_BY_NAME[name] for name in _ASKED)
"""What a person who types the figures is asked for; whatever is left empty is "not known"."""


class UnknownRepositoryError(MissingInputError):
    """A repository that is asked for is not among those known."""


def parse_name(text: str) -> str:
    """Return ``owner/name`` from a name or a GitHub URL.

    Raises
    ------
    BadDataError
        For anything else: another host, a path, 10,000 characters.

    Examples
    --------
    >>> parse_name(" https://github.com/pallets/flask/issues?q=1 ")
    'pallets/flask'
    """
    asked = text.strip()
    if len(asked) > 500:
        raise BadDataError(
            f"{shorten(asked)} is too long for a repository", hint="write it owner/name, as pallets/flask"
        )
    url = _URL.fullmatch(asked)
    if url is None and "://" in asked:
        raise BadDataError(f"{shorten(asked)} is not on github.com", hint="write it owner/name, as pallets/flask")
    return check_name(url["name"] if url else asked)


def look_up_repositories(names: Sequence[str], known: pd.DataFrame) -> pd.DataFrame:
    """Return the known repositories of these names, in their order.

    Raises
    ------
    UnknownRepositoryError
        If one is not known; the hint has names that are near.
    """
    place = rows_by_name(known)
    unknown = [name for name in names if name.lower() not in place]
    if unknown:
        raise unknown_repositories(unknown, known)
    return known.iloc[[place[name.lower()] for name in names]].reset_index(drop=True)


def rows_by_name(known: pd.DataFrame) -> dict[str, int]:
    """Return in which row each repository is, by its name in lower case.

    Examples
    --------
    >>> rows_by_name(pd.DataFrame({"full_name": ["a/B", "c/d"]}))
    {'a/b': 0, 'c/d': 1}
    """
    return {name: row for row, name in enumerate(known["full_name"].str.lower().tolist())}


def unknown_repositories(names: Sequence[str], known: pd.DataFrame) -> UnknownRepositoryError:
    """Notify that these repositories are not known, and which names are near."""
    lower = known["full_name"].str.lower()
    near = [match for name in names for match in _near(name.lower(), lower, known)]
    hint = f"Did you mean {', '.join(dict.fromkeys(near))}?" if near else "type its figures instead"
    return UnknownRepositoryError(f"{', '.join(names)}: not among the {len(known):,} known repositories", hint=hint)


def repositories_from_figures(figures: Sequence[Mapping[str, Any]], now: datetime) -> pd.DataFrame:
    """Return repositories from typed figures; what is not said is not known, the day of the figures is today.

    Raises
    ------
    BadDataError
        If a field is unknown, or a value cannot be true.
    """
    for item in figures:
        for name in item:
            if name not in schema.FIELD_BY_NAME:
                hint = did_you_mean(str(name), schema.FIELD_BY_NAME, "fields: " + ", ".join(_ASKED), likeness=0.6)
                raise BadDataError(f"{shorten(name)} is not a field of a repository", hint=hint)
    filled = [
        {"fetched_at": now.isoformat(), **{name: value for name, value in item.items() if value not in ("", None)}}
        for item in figures
    ]
    frame = pd.DataFrame(filled, dtype="object")
    good, bad = validate_repositories(frame, now)
    if bad:
        raise BadDataError(
            "; ".join(f"{_title(filled[row], row)}: {reason}" for row, reason in bad), hint="put it right and ask again"
        )
    _check_order(good)
    return good.reset_index(drop=True)


def _check_order(frame: pd.DataFrame) -> None:
    early = (frame["fetched_at"] < frame["created_at"]) | (
        frame["pushed_at"] > frame["fetched_at"] + pd.Timedelta(days=1)
    )
    if early.any():
        name = frame.loc[early, "full_name"].iloc[0]
        raise BadDataError(
            f"{name}: created and pushed must not lie after the day of the figures", hint="put the dates in order"
        )
    backwards = frame["pushed_at"] < frame["created_at"] - pd.Timedelta(days=1)
    if backwards.any():
        name = frame.loc[backwards, "full_name"].iloc[0]
        raise BadDataError(f"{name}: pushed before it was created", hint="put the dates in order")


def _title(figures: Mapping[str, Any], row: int) -> str:
    name = figures.get("full_name")
    return shorten(name) if isinstance(name, str) else f"repository {row + 1}"


def _near(name: str, lower: pd.Series, known: pd.DataFrame) -> list[str]:
    """Return up to two known names: the same repository of another owner first, then similar spellings."""
    tail = "/" + name.partition("/")[2]
    same = known["full_name"][lower.str.endswith(tail)].head(2).tolist()
    if same:
        return [str(match) for match in same]
    alike = lower[lower.str.startswith(name[:2])]
    places = difflib.get_close_matches(name, alike.tolist(), n=2, cutoff=0.6)
    return [str(known["full_name"][lower == match].iloc[0]) for match in places]
