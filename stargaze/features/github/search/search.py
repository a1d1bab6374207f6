"""Repositories found by search: each page asked once, kept on disk, and looked at for what slices and details need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stargaze.config import GithubSection
from stargaze.errors import ExternalError
from stargaze.features.github.api.cached_get import page_once
from stargaze.features.github.api.client import KEPT, Client, Reply
from stargaze.features.github.api.response_cache import SEARCH, CachedResponse, CrawlRun, ResponseCache
from stargaze.features.github.search import sampling
from stargaze.features.github.search.page import CAP, PER_PAGE, Hit, Page
from stargaze.features.github.search.partition import Slice, head, walk
from stargaze.features.github.search.query import Region, Search

MARKERS = {
    "pushed_at": "pushedAt",
    "updated_at": "updatedAt",
    "stargazers_count": "stargazerCount",
    "forks_count": "forkCount",
}
"""Fields that change when nearly anything about a repository does, by REST and by GraphQL."""
NEEDED = {"id": int, "node_id": str, "full_name": str, "created_at": str, "stargazers_count": int}
"""What every row of GitHub's search has; one without is none."""


@dataclass(frozen=True, slots=True)
class RepoRef:
    """What is remembered of a repository while it is gathered; its row stays on disk."""

    id: int
    node_id: str
    full_name: str
    owner_type: str
    stars: int
    stamp: str
    """Of the state that it was in; details that were learned in the same state still hold."""
    ask: str
    """The page that holds its newest row."""


@dataclass
class Progress:
    """How far the search is: how many it should find, and where GitHub showed fewer than it counts."""

    expected: int = 0
    slices: int = 0
    short: list[Slice] = field(default_factory=list)


def is_row(item: Any) -> bool:
    """Tell whether this is a repository as GitHub's REST API writes one."""
    return isinstance(item, dict) and all(isinstance(item.get(name), kind) for name, kind in NEEDED.items())


def repo(item: Mapping[str, Any], ask: str) -> RepoRef:
    """Read what is remembered of a REST row or a GraphQL node."""
    owner = item.get("owner") or {}
    stamp = json.dumps([item.get(rest, item.get(graph)) for rest, graph in MARKERS.items()])
    return RepoRef(
        id=int(item.get("databaseId") or item["id"]),
        node_id=str(item.get("node_id") or item["id"]),
        full_name=str(item.get("full_name") or item["nameWithOwner"]),
        owner_type=str(owner.get("type") or owner.get("__typename") or ""),
        stars=int(item.get("stargazers_count", item.get("stargazerCount", 0))),
        stamp=hashlib.blake2b(stamp.encode(), digest_size=8).hexdigest(),
        ask=ask,
    )


class CachedSearch:
    """Answers the walk's pages: from the disk what was answered before, else from GitHub, and then onto the disk."""

    def __init__(self, client: Client, spool: ResponseCache, gather: CrawlRun, search: Search) -> None:
        self._client = client
        self._spool = spool
        self._gather = gather
        self._search = search
        self.repos: dict[int, RepoRef] = {}

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return a page of a region's query, most stars first."""
        ask = f"{SEARCH}{number} {attempt} {self._search.name(region)}"
        parameters: dict[str, str | int] = {
            "q": self._search.render(region),
            "sort": "stars",
            "order": "desc",
            "per_page": PER_PAGE,
            "page": number,
        }
        kept = page_once(
            ask, "/search/repositories", parameters, _read, self._client, self._spool, self._gather, forgiving=False
        )
        data = kept.data
        items = [item for item in data["items"] if is_row(item)]
        found = [repo(item, ask) for item in items]
        self.repos.update((one.id, one) for one in found)
        hits = (Hit(one.id, one.stars, _second(item["created_at"])) for one, item in zip(found, items, strict=True))
        return Page(data["total_count"], bool(data.get("incomplete_results")), tuple(hits))


def find(
    finder: CachedSearch,
    search: Search,
    section: GithubSection,
    progress: Progress,
    meanwhile: Callable[[list[RepoRef]], None],
) -> list[RepoRef]:
    """Gather what the sample asks for; ``progress`` is kept up to date, also with what GitHub answered incompletely.

    ``meanwhile`` gets those of each slice that are sure to stay, or nearly: the search itself has to wait so often.
    """
    wanted = sampling.groups(finder, search, section)
    expected = sum(group.expected for group in wanted)
    progress.expected = min(expected, section.limit) if section.limit else expected
    chosen: dict[int, RepoRef] = {}
    left = section.limit or expected
    for group in wanted:
        found: set[int] = set()
        for piece in _pieces(finder, group, section, found):
            new = [number for number in piece.ids if number not in found and _inside(finder.repos[number], group)]
            found.update(new)
            progress.slices += 1
            if piece.missing or piece.incomplete:
                progress.short.append(piece)
            if group.quota is None or group.quota >= group.expected:
                sure = sorted((finder.repos[number] for number in new), key=_rank)[: max(left, 0)]
                left -= len(sure)
                meanwhile(sure)
        chosen.update((number, finder.repos[number]) for number in sampling.kept(found, group.quota, section.seed))
    if not section.limit or len(chosen) <= section.limit:
        return list(chosen.values())
    if section.sampling == "top":
        return sorted(chosen.values(), key=_rank)[: section.limit]
    return [chosen[number] for number in sampling.kept(chosen, section.limit, section.seed)]


def _rank(one: RepoRef) -> tuple[int, int]:
    """Order by stars, the most first."""
    return -one.stars, one.id


def _pieces(finder: CachedSearch, group: sampling.Group, section: GithubSection, found: set[int]) -> Iterator[Slice]:
    """Walk the group's regions, and its spare ones while too few are ``found``."""
    if section.sampling == "top" and 0 < section.limit <= CAP:
        yield head(finder, group.regions[0], section.limit)
        return
    for region in group.regions:
        yield from walk(finder, region)
    for region in group.spare:
        if len(found) >= (group.quota or 0):
            return
        yield from walk(finder, region)


def _inside(one: RepoRef, group: sampling.Group) -> bool:
    """Tell whether a row belongs to the group: a slice's pages show some of its neighbours."""
    return group.quota is None or any(
        region.stars_low <= one.stars and (region.stars_high is None or one.stars <= region.stars_high)
        for region in group.regions
    )


def _read(reply: Reply) -> CachedResponse:
    """Keep an answer of GitHub's search."""
    data = reply.data
    if isinstance(data, dict) and isinstance(data.get("items"), list) and isinstance(data.get("total_count"), int):
        return CachedResponse(reply.at, reply.etag, reply.raw)
    raise ExternalError("GitHub's search answered with something that is no search result", hint=KEPT)


def _second(text: str) -> int:
    """Read a moment of GitHub's; one that is none lies at the beginning of time."""
    try:
        return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())
    except ValueError:
        return 0
