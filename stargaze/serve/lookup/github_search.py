"""GitHub's search of repositories by name, for the page's search field: one request within two seconds, or none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stargaze.features.github.api.replies import Reply
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions
from stargaze.serve.lookup.github_cache import SharedRateLimit
from stargaze.serve.lookup.github_requests import GithubRequests
from stargaze.serve.lookup.github_resource import NoWaitClock, Resource
from stargaze.store import Store

SEARCH_SECONDS = 2.0
"""Time for one search [s]."""
SEARCH_LIMIT = 10, 60.0
"""GitHub's limit of searches without a token, and its window [s]; all processes of a machine share it."""
MAX_RESULTS = 8
SHORTEST, LONGEST = 2, 100
"""Length of a query that is sent [characters]; GitHub accepts 256 with all qualifiers."""
SEARCH = "search"
_OWNER = re.compile(r"[A-Za-z0-9-]{1,39}")


@dataclass(frozen=True)
class FoundRepository:
    """A repository that GitHub's search returned."""

    full_name: str
    stars: int
    description: str


@dataclass(frozen=True)
class SearchResult:
    """What was found, best match first, and a remark if GitHub did not answer."""

    repositories: tuple[FoundRepository, ...] = ()
    note: str = ""


class GithubSearch:
    """Searches without a token; results are kept in memory only, because a query is what a visitor typed."""

    def __init__(self, requests: GithubRequests | None, exclusions: Exclusions = NO_EXCLUSIONS) -> None:
        self._requests = requests
        self._exclusions = exclusions

    def find(self, query: str) -> SearchResult:
        """Return repositories whose name contains the query; never raises, and may be called by several threads."""
        text = search_terms(query)
        if not text or self._requests is None:
            return SearchResult()
        params: dict[str, str | int] = {"q": text, "per_page": MAX_RESULTS}
        resource = Resource(SEARCH, text, "/search/repositories", _read_items, params, default_limit=SEARCH_LIMIT)
        reply = self._requests.fetch([resource], time.monotonic() + SEARCH_SECONDS)[resource.key]
        found = [FoundRepository(**item) for item in reply.value or ()]
        shown = tuple(item for item in found if not self._exclusions.match(item.full_name))
        return SearchResult(shown, reply.unavailable)

    def close(self) -> None:
        """Close the connections."""
        if self._requests:
            self._requests.close()


def open_github_search(
    url: str,
    store: Store,
    *,
    is_enabled: bool = True,
    exclusions: Exclusions = NO_EXCLUSIONS,
    clock: Callable[[], float] = time.time,
) -> GithubSearch:
    """Return the search of the GitHub server at this API address; if it is not enabled, it finds nothing."""
    if not is_enabled:
        return GithubSearch(None)
    limit = SharedRateLimit(store.github_lookups, f"{url} without a token", counts_unchanged=True)
    return GithubSearch(GithubRequests(url, clock=NoWaitClock(clock), limit=limit), exclusions)


def search_terms(query: str) -> str:
    """Return GitHub's query for what a visitor typed; qualifiers and operators of the search lose their meaning.

    >>> search_terms("Electron"), search_terms(" electron/ele "), search_terms("stars:>5 x"), search_terms("e")
    ('electron in:name', 'ele in:name user:electron', 'stars 5 x in:name', '')
    """
    owner, slash, name = query[:LONGEST].strip().lower().partition("/")
    if not slash or not _OWNER.fullmatch(owner):
        owner, name = "", f"{owner} {name}"
    words = re.findall(r"[\w.-]+", name)
    terms = " ".join(word for word in (item.strip("-.") for item in words) if word not in ("", "and", "or", "not"))
    if len(terms + owner) < SHORTEST:
        return ""
    return " ".join(filter(None, [f"{terms} in:name" if terms else "", f"user:{owner}" if owner else ""]))


def _read_items(reply: Reply) -> tuple[Any, str]:
    """Return the public repositories of a page of results; what is malformed is left out."""
    items = reply.data.get("items") if isinstance(reply.data, dict) else None
    if not isinstance(items, list):
        return None, "no search results"
    return [
        {
            "full_name": item["full_name"],
            "stars": item["stargazers_count"],
            "description": item["description"] if isinstance(item.get("description"), str) else "",
        }
        for item in items[:MAX_RESULTS]
        if isinstance(item, dict)
        and isinstance(item.get("full_name"), str)
        and isinstance(item.get("stargazers_count"), int)
        and not item.get("private")
    ], ""
