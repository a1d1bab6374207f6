"""A page of search results, and repeated requests until it is complete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stargaze.features.github.search.query import Region

MAX_RESULTS = 1000
"""Results per query that GitHub's search returns, by REST and GraphQL."""
PER_PAGE = 100
MAX_REPEATS = 2
"""Repeats of an incomplete or short page before it is reported."""


@dataclass(frozen=True)
class Hit:
    """A search result with the fields that partitioning uses."""

    id: int
    stars: int
    created: int
    """Seconds since 1970."""


@dataclass(frozen=True)
class Page:
    """A page of results and the total of the query."""

    total: int
    incomplete: bool
    hits: tuple[Hit, ...]


class PageSource(Protocol):
    """Returns pages of a region, most stars first."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return page ``number`` from 1; ``attempt`` counts repeats from 0."""


def complete_page(source: PageSource, region: Region, number: int, maximum: int = MAX_RESULTS) -> Page:
    """Request a page until it is complete, a few times at most.

    A search that times out returns partial counts and rows; if all responses are incomplete, the largest total is used.
    """
    pages: list[Page] = []
    for attempt in range(MAX_REPEATS + 1):
        page = source.page(region, number, attempt)
        pages.append(page)
        n_expected = min(page.total, maximum, MAX_RESULTS) - PER_PAGE * (number - 1)
        if not page.incomplete and len(page.hits) >= min(PER_PAGE, n_expected):
            break
    whole = [page for page in pages if not page.incomplete]  # missing rows shift others, so never mix both
    hits = {hit.id: hit for page in whole or pages for hit in page.hits}
    total = whole[-1].total if whole else max(page.total for page in pages)
    return Page(total, not whole, tuple(hits.values()))
