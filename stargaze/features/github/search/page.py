"""One page of a search's answer, and how to come by one that is whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stargaze.features.github.search.query import Region

CAP = 1000
"""Results of one query that GitHub's search gives, REST and GraphQL alike."""
PER_PAGE = 100
REPEATS = 2
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


class Pages(Protocol):
    """Who answers a page of a region, most stars first."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        """Return page ``number`` from 1; ``attempt`` counts from 0 how often it is asked anew."""


def sure_page(pages: Pages, region: Region, number: int, most: int = CAP) -> Page:
    """Ask for a page until GitHub shows all of it, a few times at most.

    A search that takes GitHub too long counts and shows only what it came to, even nothing; so where all answers are
    incomplete, the largest total is the best.
    """
    answers: list[Page] = []
    for attempt in range(REPEATS + 1):
        page = pages.page(region, number, attempt)
        answers.append(page)
        there = min(page.total, most, CAP) - PER_PAGE * (number - 1)
        if not page.incomplete and len(page.hits) >= min(PER_PAGE, there):
            break
    whole = [page for page in answers if not page.incomplete]  # where rows are left out, others move up: never mix both
    hits = {hit.id: hit for page in whole or answers for hit in page.hits}
    total = whole[-1].total if whole else max(page.total for page in answers)
    return Page(total, not whole, tuple(hits.values()))
