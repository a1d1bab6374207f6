"""Estimate of a crawl: slices, requests, points, hours; a few counts are fetched and cached for the crawl."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stargaze.config import GithubSection
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.crawl_run import CrawlRun
from stargaze.features.github.api.graphql import kinds_of
from stargaze.features.github.api.rate_limit import format_seconds
from stargaze.features.github.api.response_cache import CrawlSession
from stargaze.features.github.crawl import details
from stargaze.features.github.crawl.details import FIRST_SIZE, repository_key
from stargaze.features.github.crawl.star_history import history_key
from stargaze.features.github.search import sampling
from stargaze.features.github.search.query import (
    MAX_RESULTS,
    PER_PAGE,
    Page,
    PageSource,
    Region,
    complete_page,
    read_search,
)
from stargaze.features.github.search.search import CachedSearch, RepoRef, parse_repository

OVERLAP = 1.03
"""Pages per hundred repositories, with duplicate neighbors and partly filled last pages."""
SECONDS_PER_REPOSITORY = 0.1
"""Seconds of GraphQL computation per repository; 28,000 to 40,000 an hour were measured."""
REST_DETAIL_REQUESTS = {False: 2.5, True: 1.5}
"""REST requests per repository by whether GraphQL is used: contributors, README, new owner."""
HISTORY_REQUESTS = 7
"""Pages of 30 weeks for a repository of four years."""
MAX_SHOWN = 20
LIMITS = {False: {"search": 10, "core": 60, "graphql": 0}, True: {"search": 30, "core": 5000, "graphql": 5000}}
"""Default limits without and with a token: search per minute, others per hour."""


@dataclass(frozen=True)
class CrawlEstimate:
    """The remaining requests; ``slices`` are (description, estimated repositories)."""

    total: int
    repositories: int
    slices: tuple[tuple[str, int], ...]
    answered: int
    """Search requests or names that are cached already."""
    search_requests: int
    core_requests: int
    graphql_requests: int
    points: int
    hours: float
    token: bool

    def as_text(self) -> str:
        """Return the lines of the terminal output."""
        lines = [f"{self.repositories:,} repositories of {self.total:,}, in {len(self.slices):,} slices:"]
        lines += [f"  {what}: about {count:,}" for what, count in self.slices[:MAX_SHOWN]]
        if len(self.slices) > MAX_SHOWN:
            lines.append(f"  and {len(self.slices) - MAX_SHOWN:,} more")
        if self.answered:
            lines.append(f"{self.answered:,} requests are cached, including these counts; remaining:")
        lines.append(
            f"{self.search_requests:,} search requests, {self.core_requests:,} other REST requests, "
            f"{self.graphql_requests:,} GraphQL requests ({self.points:,} points)"
        )
        means = "with the token" if self.token else "without a token (export GITHUB_TOKEN=... is three times as fast)"
        return "\n".join([*lines, f"about {format_seconds(self.hours * 3600)} {means}"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def estimate_crawl(section: GithubSection, session: CrawlSession, *, token: bool) -> CrawlEstimate:
    """Estimate the remaining requests of a run; counts that must be fetched are cached for it."""
    cache, run = session.cache, session.run
    limits = _fetch_limits(session.client, token=token)
    use_graphql = token and section.graphql
    n_search = n_graph = points = n_core = 0
    repositories: list[RepoRef] | None = None
    if section.names:
        names = list(dict.fromkeys(name.lower() for name in section.names))
        pages = [(name, session.get_page(repository_key(name))) for name in names]
        repositories = [
            parse_repository(page.data, repository_key(name))
            for name, page in pages
            if page and "gone" not in page.data
        ]
        answered = sum(page is not None for _, page in pages)
        total = n_repos = len(names)
        slices = [("by name", total)]
        n_graph, n_core = (math.ceil((total - answered) / FIRST_SIZE), 0) if use_graphql else (0, total - answered)
        points = n_graph
    else:
        search = read_search(section, run.began)
        page_source = _RecordingSource(CachedSearch(session, search))
        groups = sampling.sample_groups(page_source, search, section)
        counted = len(page_source.at)
        total = complete_page(page_source, search.whole, 1).total
        n_repos = min(section.limit or total, sum(group.expected for group in groups))
        slices = _describe_slices(page_source, groups)
        answered = cache.count_search_pages(run)
        n_search = 0 if run.done else max(counted + sum(_remaining_pages(group) for group in groups) - answered, 0)
    n_details = 0
    for kind in kinds_of(section) if use_graphql else ():
        n_missing = _count_missing_details(details.read_current_stamps(kind, session), n_repos, repositories, run)
        requests = math.ceil(n_missing / kind.first_size)
        n_details = max(n_details, n_missing)
        n_graph += requests
        points += requests * max(1, round(kind.first_size * kind.connections / 100))
    if section.details:
        stamps = cache.get_stamps("contributors", run.began - details.DETAILS_MAX_AGE)
        n_core += math.ceil(
            _count_missing_details(stamps, n_repos, repositories, run) * REST_DETAIL_REQUESTS[use_graphql]
        )
    n_core += HISTORY_REQUESTS * _count_missing_histories(section, n_repos, session)
    hours = n_search / (limits["search"] * 60) + n_core / limits["core"]
    if n_graph:
        hours += max(points / limits["graphql"], n_details * SECONDS_PER_REPOSITORY / 3600)
    return CrawlEstimate(total, n_repos, tuple(slices), answered, n_search, n_core, n_graph, points, hours, token)


class _RecordingSource:
    """Records which pages were requested, from the cache or from GitHub."""

    def __init__(self, pages: PageSource) -> None:
        self._pages = pages
        self.at: set[tuple[Region, int, int]] = set()

    def page(self, region: Region, number: int, attempt: int) -> Page:
        self.at.add((region, number, attempt))
        return self._pages.page(region, number, attempt)


def _count_missing_details(
    stamps: Mapping[int, str], n_repos: int, repositories: Sequence[RepoRef] | None, run: CrawlRun
) -> int:
    """Count repositories without current details; for a search the ids are known only after it has finished."""
    if repositories is not None:
        return n_repos - sum(stamps.get(repository.id) == repository.stamp for repository in repositories)
    return max(n_repos - len(stamps), 0) if run.done else n_repos


def _count_missing_histories(section: GithubSection, n_repos: int, session: CrawlSession) -> int:
    run = session.run
    if "*" in section.star_history:
        return max(n_repos - session.cache.count_shared_pages(run, history_key("")), 0) if run.done else n_repos
    return sum(session.get_page(history_key(name)) is None for name in section.star_history)


def _remaining_pages(group: sampling.Group) -> int:
    """Estimate the uncounted pages of a group, with duplicate neighbors and half-filled last pages of windows."""
    full = group.expected / PER_PAGE
    if len(group.regions) == 1 and not group.spare:
        return max(math.ceil(full * (OVERLAP if group.expected > MAX_RESULTS else 1)) - 1, 0)
    return max(len(group.regions), round(full + len(group.regions) / 2))


def _fetch_limits(client: Client, *, token: bool) -> dict[str, int]:
    """Fetch the rate limits, which is free; a server without limits keeps the defaults."""
    limits = dict(LIMITS[token])
    reply = client.get("/rate_limit", allow_refusal=True)
    resources = reply.data.get("resources") if isinstance(reply.data, dict) and not reply.gone else None
    for name in limits:
        resource = resources.get(name) if isinstance(resources, dict) else None
        if isinstance(resource, dict) and isinstance(resource.get("limit"), int) and resource["limit"] > 0:
            limits[name] = resource["limit"]
    return limits


def _describe_slices(page_source: PageSource, groups: Sequence[sampling.Group]) -> list[tuple[str, int]]:
    slices = []
    for group in groups:
        if len(groups) == 1 and len(group.regions) == 1:
            slices += _predict_slices(page_source, group.regions[0], group.expected)
        else:
            whole = group.regions[0]
            spans = [(region.created_low, region.created_high) for region in group.regions]
            wide = whole.with_created(min(low for low, _ in spans), max(high for _, high in spans))
            windows = f", in {len(group.regions)} {'window' if len(group.regions) == 1 else 'windows'}"
            slices.append((f"{wide.as_text()}{windows * bool(group.spare)}", group.expected))
    return slices


def _predict_slices(page_source: PageSource, region: Region, expected: int) -> list[tuple[str, int]]:
    """Predict the slices: the number of repositories above s stars declines as a power of s."""
    if expected <= MAX_RESULTS:
        return [(region.as_text(), expected)]
    first = complete_page(page_source, region, 1)
    if not first.hits:
        return [(region.as_text(), expected)]
    low, top = max(region.stars_low, 1), first.hits[-1].stars
    power = max(math.log(first.total / len(first.hits)) / math.log(max(top / low, 1.01)), 0.1)
    count = math.ceil(expected / MAX_RESULTS)
    edges = [round(low * (first.total / (MAX_RESULTS * number)) ** (1 / power)) for number in range(1, count)]
    starts = [*(max(edge, low) for edge in edges), region.stars_low]
    ends = [region.stars_high, *(start - 1 for start in starts[:-1])]
    slices: list[tuple[str, int]] = []
    for start, end in zip(starts, ends, strict=True):
        part = region.with_stars(start, max(end, start) if end is not None else None)
        slices.append((part.as_text(), min(MAX_RESULTS, expected - MAX_RESULTS * len(slices))))
    return slices
