"""Star histories from GitHub, requested while a visitor waits: weekly gains, summed backward from today's count."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import pandas as pd

from stargaze.features import schema
from stargaze.features.github.api.replies import Reply
from stargaze.features.github.crawl.star_history import WEEKS_PER_PAGE, is_week
from stargaze.serve.lookup.github_repositories import GithubRepositories, RepositoryReply, earliest
from stargaze.serve.lookup.github_resource import GithubReply, Resource
from stargaze.serve.lookup.pauses import PATIENCE

HISTORY_SECONDS = 2.0
"""Time for the histories of all names of a batch [s]."""
HISTORY_MAX_AGE = 6 * 3600.0
"""Time for which a page is reused [s]: a week is complete only after seven days."""
HISTORY_RESERVE, MORE_PAGES_RESERVE = 24, 45
"""Requests per hour that are kept for more valuable ones if there is no token: a first page has all that a forecast needs."""
WHOLE_MAX_AGE, PARTIAL_MAX_AGE, MAX_RECENT = 600.0, 30.0, 1_000
"""Time for which a result is used again [s], and their number."""
MAX_PAGES = 40
"""Pages of 30 weeks: more than GitHub is old."""
MAX_STARS = schema.FIELD_BY_NAME["stars"].maximum
HISTORY = "history"
DAY, WEEK = 86_400, 604_800
FIRST_WEEK = 1_149_984_000
"""A Sunday before GitHub began, as GitHub's weeks do; earlier weeks are malformed [s since 1970]."""


@dataclass(frozen=True)
class LiveHistory:
    """Dates and star counts of one repository (``full_name``, ``date``, ``stars``), or the ``reason`` why there are none."""

    frame: pd.DataFrame | None = None
    received_at: float = 0.0
    is_whole: bool = False
    """Whether it reaches back to the first star."""
    reason: str = ""
    retry_at: float = 0.0
    """When GitHub can be expected to return more [s since 1970]; 0 if nothing temporary is missing."""


class GithubStarHistories:
    """Requests the histories of several repositories together."""

    def __init__(self, repositories: GithubRepositories) -> None:
        self._repositories = repositories
        self._requests = repositories.requests
        self._recent: OrderedDict[str, tuple[float, LiveHistory]] = OrderedDict()

    def fetch(self, names: Sequence[str]) -> dict[str, LiveHistory]:
        """Return the history of each name, by the name in lower case; never raises.

        A recent result is used again, also if pages are missing: each what-if about a repository asks for its history.
        """
        now = time.monotonic()
        recent = {key: self._recent[key][1] for key in map(str.lower, names) if self._recent.get(key, (0.0,))[0] > now}
        fetched = self._fetch([name for name in names if name.lower() not in recent])
        for key, history in fetched.items():
            is_whole = history.is_whole and not history.reason
            self._recent[key] = now + (WHOLE_MAX_AGE if is_whole else PARTIAL_MAX_AGE), history
        while len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return recent | fetched

    def _fetch(self, names: Sequence[str]) -> dict[str, LiveHistory]:
        if not names:
            return {}
        deadline = time.monotonic() + HISTORY_SECONDS
        records = self._repositories.fetch_records(names, deadline, HISTORY_RESERVE)
        counts = {key: _stars(reply) for key, reply in records.items()}
        stars = {key: count for key, count in counts.items() if count is not None}
        week = math.floor((self._requests.now() - FIRST_WEEK) / WEEK)
        first = {key: _page(week, key, 1, HISTORY_RESERVE, count) for key, count in stars.items()}
        replies = self._requests.fetch(list(first.values()), deadline)
        more = {
            key: [_page(week, key, number, MORE_PAGES_RESERVE, 0) for number in range(2, _last_page(records[key]) + 1)]
            for key in stars
            if _is_full(replies[first[key].key])
        }
        replies |= self._requests.fetch(_in_turn(list(more.values())), deadline)
        return {
            key: _to_history(key, [replies[page.key] for page in (first[key], *more.get(key, ()))])
            if key in stars
            else LiveHistory(
                reason=reply.unavailable or "GitHub has no public repository of this name", retry_at=reply.retry_at
            )
            for key, reply in records.items()
        }


def weekly_counts(weeks: Sequence[Sequence[Any]], stars: int, at: float) -> list[tuple[int, int]]:
    """Return the end of each finished week [s since 1970] and the count then, oldest first, with the beginning of the first.

    ``weeks`` are (begin, gain, gains of its days), ``stars`` is the count at the time ``at``. Stars that were given and withdrawn
    are in no gain, so a count is at least 0.

    >>> weekly_counts([(1_600_560_000, 9, [4, 5, 0, 0, 0, 0, 0]), (1_599_955_200, 3, [3])], 20, 1_600_560_000 + 2 * 86_400)
    [(1599955200, 8), (1600560000, 11)]
    """
    gains = {int(begin): max(int(gain), 0) for begin, gain, _ in weeks if FIRST_WEEK <= begin <= at - WEEK}
    unfinished = [
        max(int(gain), 0)
        for begin, _, days in weeks
        if at - WEEK < begin <= at
        for day, gain in enumerate(days[:7])
        if begin + day * DAY <= at
    ]
    if not gains:
        return []
    last = max(gains) + math.floor((at - WEEK - max(gains)) / WEEK) * WEEK  # weeks without a star may be left out
    begins = sorted({*range(last, min(gains) - 1, -WEEK), *gains}, reverse=True)
    count = max(stars - sum(unfinished), 0)
    counts = []
    for begin in begins:
        counts.append((begin + WEEK, count))
        count = max(count - gains.get(begin, 0), 0)
    return [(begins[-1], count), *reversed(counts)]


def _page(week: int, name: str, number: int, reserve: int, stars: int) -> Resource:
    """Return a page of a repository as it is in this week: with the next one, all weeks move on by one."""
    path = f"/repos/{name}/stargazers/history"
    read = partial(read_history_page, stars=stars)
    return Resource(
        HISTORY, f"{week} {number} {name}", path, read, {"page": number}, HISTORY_MAX_AGE, reserve, PATIENCE
    )


def read_history_page(reply: Reply, stars: int) -> tuple[Any, str]:
    """Return the weeks of a page, with GitHub's time of the reply and the count of stars then."""
    if not isinstance(reply.data, list):
        return None, "no history"
    weeks = [[week["week"], week["total"], week["days"]] for week in filter(is_week, reply.data)]
    return {
        "at": reply.at.timestamp(),
        "stars": stars,
        "weeks": weeks,
        "is_full": len(reply.data) >= WEEKS_PER_PAGE,
    }, ""


def _stars(reply: RepositoryReply) -> int | None:
    stars = (reply.record or {}).get("stars")
    return int(stars) if isinstance(stars, int | float) and 0 <= stars < MAX_STARS else None


def _is_full(reply: GithubReply) -> bool:
    return bool(reply.value and reply.value["is_full"])


def _last_page(reply: RepositoryReply) -> int:
    """Return the number of pages that a repository of this age can have."""
    try:
        created = datetime.fromisoformat(str((reply.record or {}).get("created_at"))).timestamp()
    except ValueError:
        return MAX_PAGES
    return min(math.ceil((time.time() - created) / WEEK / WEEKS_PER_PAGE) + 1, MAX_PAGES)


def _in_turn(lists: Sequence[Sequence[Resource]]) -> list[Resource]:
    """Return the second page of each repository, then the third of each, and so on."""
    return [items[index] for index in range(max(map(len, lists), default=0)) for items in lists if index < len(items)]


def _to_history(name: str, replies: Sequence[GithubReply]) -> LiveHistory:
    """Return the history on the first pages that GitHub has returned without a gap."""
    first, pages, retry_at = replies[0], [], replies[0].retry_at
    for reply in replies:
        if not reply.value:
            retry_at = earliest(retry_at, reply.retry_at)
            break
        pages.append(reply.value)
    if not pages:
        return LiveHistory(reason=first.unavailable or f"GitHub returns none: {first.gone}", retry_at=retry_at)
    weeks = {week[0]: week for page in reversed(pages) for week in page["weeks"]}
    counts = weekly_counts(list(weeks.values()), pages[0]["stars"], pages[0]["at"])
    if not counts:
        return LiveHistory(reason="it has no complete week of stars yet")
    frame = pd.DataFrame(
        {
            "full_name": name,
            "date": pd.to_datetime([second for second, _ in counts], unit="s", utc=True),
            "stars": [float(count) for _, count in counts],
        }
    )
    is_whole = not pages[-1]["is_full"]
    return LiveHistory(frame, first.received_at, is_whole, first.unavailable, retry_at)
