"""Search for repositories: each page is requested once and cached."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from stargaze.config import GithubSection
from stargaze.errors import ExternalError
from stargaze.features.github.api.crawl_run import SEARCH_PREFIX
from stargaze.features.github.api.replies import RESUME_HINT, Reply
from stargaze.features.github.api.response_cache import CachedResponse, CrawlSession
from stargaze.features.github.search import sampling
from stargaze.features.github.search.partition import Slice, partition_search, top_slice
from stargaze.features.github.search.query import MAX_RESULTS, PER_PAGE, Hit, Page, Region, Search

STATE_FIELDS = {
    "pushed_at": "pushedAt",
    "updated_at": "updatedAt",
    "stargazers_count": "stargazerCount",
    "forks_count": "forkCount",
}
"""Fields that change with nearly any change of a repository, by REST and GraphQL name."""
REQUIRED_FIELDS = {"id": int, "node_id": str, "full_name": str, "created_at": str, "stargazers_count": int}
"""Required fields of a search result and their types."""
REQUIRED_NODE_FIELDS = {"id": str, "databaseId": int, "nameWithOwner": str, "createdAt": str, "stargazerCount": int}
"""The same of a GraphQL node."""
MAX_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class RepoRef:
    """The data of a repository kept in memory during a crawl; its row stays on disk."""

    id: int
    node_id: str
    full_name: str
    owner_type: str
    stars: int
    stamp: str
    """Hash of its state; details stored with the same stamp are current."""
    page_key: str
    """Cache key of the page with its newest row."""


@dataclass
class SearchProgress:
    """Progress of a search; ``short`` are slices where GitHub returned fewer than it counted."""

    expected: int = 0
    slices: int = 0
    short: list[Slice] = field(default_factory=list)


def is_repository(item: Any) -> bool:
    """Return whether this is a repository record of the REST API."""
    return _has_fields(item, REQUIRED_FIELDS)


def is_node(item: Any) -> bool:
    """Return whether this is a repository node of the GraphQL API."""
    return _has_fields(item, REQUIRED_NODE_FIELDS)


def _has_fields(item: Any, types: Mapping[str, type]) -> bool:
    is_object = isinstance(item, dict) and isinstance(item.get("owner"), dict | None)
    return is_object and all(_is_value(item.get(name), kind) for name, kind in types.items())


def _is_value(value: Any, kind: type) -> bool:
    return (
        0 <= value <= MAX_INTEGER if kind is int and isinstance(value, int) else isinstance(value, kind) and value != ""
    )


def parse_repository(item: Mapping[str, Any], key: str) -> RepoRef:
    """Parse a REST record or a GraphQL node."""
    owner = item.get("owner") or {}
    stamp = json.dumps([item.get(rest, item.get(graph)) for rest, graph in STATE_FIELDS.items()])
    return RepoRef(
        id=int(item.get("databaseId") or item["id"]),
        node_id=str(item.get("node_id") or item["id"]),
        full_name=str(item.get("full_name") or item["nameWithOwner"]),
        owner_type=str(owner.get("type") or owner.get("__typename") or ""),
        stars=int(item.get("stargazers_count", item.get("stargazerCount", 0))),
        stamp=hashlib.blake2b(stamp.encode(), digest_size=8).hexdigest(),
        page_key=key,
    )


class CachedSearch:
    """Source of search pages: from the cache, else from GitHub."""

    def __init__(self, session: CrawlSession, search: Search) -> None:
        self._session = session
        self._search = search
        self.repos: dict[int, RepoRef] = {}

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return a page of a region's query, most stars first."""
        key = f"{SEARCH_PREFIX}{number} {attempt} {self._search.name(region)}"
        parameters: dict[str, str | int] = {
            "q": self._search.render(region),
            "sort": "stars",
            "order": "desc",
            "per_page": PER_PAGE,
            "page": number,
        }
        data = self._session.get(key, "/search/repositories", parameters, _to_cached, allow_refusal=False).data
        items = [item for item in data["items"] if is_repository(item)]
        repositories = [parse_repository(item, key) for item in items]
        self.repos.update((repository.id, repository) for repository in repositories)
        hits = (
            Hit(repository.id, repository.stars, _parse_time(item["created_at"]))
            for repository, item in zip(repositories, items, strict=True)
        )
        return Page(data["total_count"], bool(data.get("incomplete_results")), tuple(hits))


def search_repositories(
    search_cache: CachedSearch,
    search: Search,
    section: GithubSection,
    progress: SearchProgress,
    on_slice: Callable[[list[RepoRef]], None],
) -> list[RepoRef]:
    """Search for the configured sample and update ``progress``.

    ``on_slice`` gets the (almost) certain results of each slice, to be used while the search waits.
    """
    groups = sampling.sample_groups(search_cache, search, section)
    expected = sum(group.expected for group in groups)
    progress.expected = min(expected, section.limit) if section.limit else expected
    selected: dict[int, RepoRef] = {}
    left = section.limit or expected
    for group in groups:
        found_ids: set[int] = set()
        for part in _read_slices(search_cache, group, section, found_ids):
            new = [
                number
                for number in part.ids
                if number not in found_ids and _is_inside(search_cache.repos[number], group)
            ]
            found_ids.update(new)
            progress.slices += 1
            if part.missing or part.incomplete:
                progress.short.append(part)
            if group.quota is None or group.quota >= group.expected:
                certain = sorted((search_cache.repos[number] for number in new), key=_star_rank)[: max(left, 0)]
                left -= len(certain)
                on_slice(certain)
        selected.update(
            (number, search_cache.repos[number])
            for number in sampling.draw_sample(found_ids, group.quota, section.seed)
        )
    if not section.limit or len(selected) <= section.limit:
        return list(selected.values())
    if section.sampling == "top":
        return sorted(selected.values(), key=_star_rank)[: section.limit]
    return [selected[number] for number in sampling.draw_sample(selected, section.limit, section.seed)]


def _star_rank(repository: RepoRef) -> tuple[int, int]:
    """Sort key: most stars first."""
    return -repository.stars, repository.id


def _read_slices(
    search_cache: CachedSearch, group: sampling.Group, section: GithubSection, found_ids: set[int]
) -> Iterator[Slice]:
    """Read the regions of the group, then spare ones while too few are found."""
    if section.sampling == "top" and 0 < section.limit <= MAX_RESULTS:
        yield top_slice(search_cache, group.regions[0], section.limit)
        return
    for region in group.regions:
        yield from partition_search(search_cache, region)
    for region in group.spare:
        if len(found_ids) >= (group.quota or 0):
            return
        yield from partition_search(search_cache, region)


def _is_inside(repository: RepoRef, group: sampling.Group) -> bool:
    """Return whether a row belongs to the group; pages of a slice include neighbors."""
    return group.quota is None or any(
        region.stars_low <= repository.stars and (region.stars_high is None or repository.stars <= region.stars_high)
        for region in group.regions
    )


def _to_cached(reply: Reply) -> CachedResponse:
    """Validate a search response for the cache."""
    data = reply.data
    if isinstance(data, dict) and isinstance(data.get("items"), list) and isinstance(data.get("total_count"), int):
        return CachedResponse(reply.at, reply.etag, reply.raw)
    raise ExternalError("GitHub's search returned an invalid response", hint=RESUME_HINT)


def _parse_time(text: str) -> int:
    """Parse a GitHub time [s since 1970]; 0 if it is invalid."""
    try:
        return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())
    except ValueError:
        return 0
