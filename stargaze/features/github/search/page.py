"""One page of a search's answer, and how to come by one that is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stargaze.features.github.search.query import Region

MAX_RESULTS = 1000
"""Results of one query that GitHub's search gives, REST and GraphQL alike."""
PER_PAGE = 100
MAX_REPEATS = 2
"""How often a page that says it is incomplete, or is short, is asked again before it is reported."""


@dataclass(frozen=True)
class Hit:
    """A row of a search answer, as far as slicing looks at it."""

    id: int
    stars: int
    created: int
    """Seconds since 1970."""


@dataclass(frozen=True)
class Page:
    """One answered page: GitHub's total of the whole query, and the rows."""

    total: int
    incomplete: bool
    hits: tuple[Hit, ...]


class PageSource(Protocol):
    """Who answers a page of a region, most stars first."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return page ``number`` from 1; ``attempt`` counts from 0 how often it is asked anew."""


def complete_page(source: PageSource, region: Region, number: int, maximum: int = MAX_RESULTS) -> Page:
    """Ask for a page until GitHub shows all of it, a few times at most.

    A search that takes GitHub too long counts and shows only what it came to, even nothing; so where all answers are
    incomplete, the largest total is the best.
    """
    pages: list[Page] = []
    for attempt in range(MAX_REPEATS + 1):
        page = source.page(region, number, attempt)
        pages.append(page)
        n_expected = min(page.total, maximum, MAX_RESULTS) - PER_PAGE * (number - 1)
        if not page.incomplete and len(page.hits) >= min(PER_PAGE, n_expected):
            break
    whole = [page for page in pages if not page.incomplete]  # where rows are left out, others move up: never mix both
    hits = {hit.id: hit for page in whole or pages for hit in page.hits}
    total = whole[-1].total if whole else max(page.total for page in pages)
    return Page(total, not whole, tuple(hits.values()))
