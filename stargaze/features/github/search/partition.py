"""Partition a search beyond its limit of 1,000 results: slices of stars and creation time, each repository once.

A search sorted by stars returns its first 1,000 in ten full pages; the next slice starts at the stars of the last row,
whose rows are seen twice. Where many share a star count, the rest is first split into bands of creation time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from stargaze.features.github.search.query import (
    MAX_REPEATS,
    MAX_RESULTS,
    PER_PAGE,
    Hit,
    Page,
    PageSource,
    Region,
    complete_page,
)

BAND_FILL = 0.93
"""Planned fill of a band relative to the limit: chance is some 30 rows, and a band too large is split again."""
MIN_BAND_ROWS = 2 * MAX_RESULTS
"""Rows of a band below which its partly filled last page costs more than shared star counts."""
MIN_BAND_STARS = 10
"""Below, bands lose some sqrt(1 / (30 stars)) of all rows, 6% at ten: each star count is split by time alone, at the
same loss."""
TAIL_ROWS = 11
"""Last rows whose median ends a slice, so that one row out of order does not."""
MAX_REMEMBERED = 20_000
"""Creation times that are kept to place the ends of bands."""


@dataclass(frozen=True)
class Slice:
    """A finished region: the ids found and the number that GitHub reported."""

    region: Region
    ids: frozenset[int]
    expected: int
    incomplete: bool = False
    shown: int | None = None
    """Ids inside the region if ``ids`` holds others too; None means all."""

    @property
    def missing(self) -> int:
        """Repositories that GitHub counted but did not return."""
        return max(self.expected - (len(self.ids) if self.shown is None else self.shown), 0)


@dataclass
class _CreationTimes:
    """Creation times seen so far, to split a region evenly."""

    created: list[int] = field(default_factory=list)

    def add(self, hits: Sequence[Hit]) -> None:
        if len(self.created) < MAX_REMEMBERED:
            self.created.extend(hit.created for hit in hits)

    def bands(self, region: Region, count: int) -> list[Region]:
        """Split a region into bands of creation time with about equal counts."""
        low, high = region.created_low, region.created_high
        count = min(count, high - low + 1)
        times = sorted(moment for moment in self.created if low <= moment <= high)
        if len(times) < 20 * count:
            step = (high - low + 1) / count
            inner = [low + round(step * number) for number in range(1, count)]
        else:
            inner = [times[len(times) * number // count] for number in range(1, count)]
        starts = sorted({low, *(moment for moment in inner if low < moment <= high)})
        if len(starts) == 1 < count:  # all times seen are equal
            starts.append(low + (high - low + 1) // 2)
        ends = [start - 1 for start in starts[1:]] + [high]
        return [region.with_created(start, end) for start, end in zip(starts, ends, strict=True)]


def partition_search(pages: PageSource, whole: Region) -> Iterator[Slice]:
    """Yield disjoint slices whose union is the region ``whole``, most stars first as far as bands allow.

    ``ids`` of a slice may hold neighbors too: rows whose stars changed since GitHub indexed them, and those of the last star
    count, which the next slice holds as well.
    """
    times = _CreationTimes()
    todo: list[tuple[Region, Page | None]] = [(whole, None)]
    while todo:
        region, known = todo.pop()
        first = known or complete_page(pages, region, 1)
        times.add(first.hits)
        if first.total <= MAX_RESULTS or not first.hits:
            done = _read_slice(pages, region, first)
            if done.expected > MAX_RESULTS >= first.total:  # the first total was too low
                todo.append((region, replace(first, total=done.expected)))
            else:
                yield done
        elif region.stars_low == region.stars_high:
            parts = times.bands(region, math.ceil(first.total / (BAND_FILL * MAX_RESULTS)))
            if len(parts) == 1:  # more than the limit in one second: the rest is out of reach
                yield _read_slice(pages, region, first)
            else:
                todo += [(part, None) for part in reversed(parts)]
        elif region.stars_low < MIN_BAND_STARS:
            todo.append((region.with_stars(region.stars_low, region.stars_low), None))
            todo.append((region.with_stars(region.stars_low + 1, region.stars_high), None))
        else:
            top, rest = _read_top(pages, region, first, times)
            if top:
                yield top
            todo += reversed(rest)


def top_slice(pages: PageSource, region: Region, number: int) -> Slice:
    """Read only the most starred repositories of a region, at most the limit of one query."""
    first = complete_page(pages, region, 1)
    hits, incomplete, total = _read_pages(pages, region, first, number)
    return Slice(region, frozenset(hit.id for hit in hits), min(total, number), incomplete)


def _read_slice(pages: PageSource, region: Region, first: Page) -> Slice:
    hits, incomplete, total = _read_pages(pages, region, first)
    return Slice(region, frozenset(hit.id for hit in hits), total, incomplete)


def _read_top(
    pages: PageSource, region: Region, first: Page, times: _CreationTimes
) -> tuple[Slice | None, list[tuple[Region, Page | None]]]:
    """Read the top of a region that is too large; return its slice, if any, and the remaining regions."""
    top = max(hit.stars for hit in first.hits)
    if top == min(hit.stars for hit in first.hits):
        return _split_star_count(pages, region, first, top)
    hits, incomplete, _ = _read_pages(pages, region, first)
    times.add(hits)
    lowest = max(int(statistics.median_high(hit.stars for hit in hits[-TAIL_ROWS:])), region.stars_low)
    if lowest >= top or (region.stars_high is not None and lowest >= region.stars_high):
        return _split_star_count(pages, region, replace(first, hits=tuple(hits)), lowest)
    rest = region.with_stars(region.stars_low, lowest)
    below = complete_page(pages, rest, 1)
    upper = region.with_stars(lowest + 1, region.stars_high)
    done = Slice(upper, frozenset(hit.id for hit in hits), min(first.total, MAX_RESULTS), incomplete)
    if first.total - below.total > sum(hit.stars > lowest for hit in hits):  # rows moved while reading
        return _read_above(pages, upper, done.ids, [(rest, below)])
    bands = band_count(below.total, rest.stars_low, lowest)
    return done, [(rest, below)] if bands == 1 else [(part, None) for part in times.bands(rest, bands)]


def _split_star_count(
    pages: PageSource, region: Region, first: Page, stars: int
) -> tuple[Slice | None, list[tuple[Region, Page | None]]]:
    """Split off one star count that many share.

    Nothing lies above it, since the results start there, unless the search index is outdated, which the totals show.
    """
    if region.stars_high is not None:
        stars = min(stars, region.stars_high)
    parts = [region.with_stars(stars, stars)]
    if region.stars_low < stars:
        parts.append(region.with_stars(region.stars_low, stars - 1))
    rest: list[tuple[Region, Page | None]] = [(part, complete_page(pages, part, 1)) for part in parts]
    upper = region.with_stars(stars + 1, region.stars_high)
    done = Slice(upper, frozenset(hit.id for hit in first.hits), 0)
    if first.total > sum(page.total for _, page in rest if page) and stars != region.stars_high:
        return _read_above(pages, upper, done.ids, rest)
    return done, rest


def _read_above(
    pages: PageSource, upper: Region, ids: frozenset[int], rest: list[tuple[Region, Page | None]]
) -> tuple[Slice | None, list[tuple[Region, Page | None]]]:
    """Read the region above the rest on its own, since fewer rows were seen than GitHub counts."""
    first = complete_page(pages, upper, 1)
    if first.total > MAX_RESULTS:
        return None, [(upper, first), *rest]
    whole = _read_slice(pages, upper, first)
    return Slice(upper, ids | whole.ids, whole.expected, whole.incomplete, len(whole.ids)), rest


def band_count(total: int, low: int, high: int) -> int:
    """Return the best number of bands of creation time for the rest of a region.

    A slice loses half of those that share its last star count, a band half a page at its end. Star counts fall
    as a power of -2, so of ``total`` repositories with ``low`` to ``high`` stars, one shares its count with
    some ``c (low^-3 - high^-3) / 3 (low^-1 - high^-1)`` others, where ``c`` is fitted to the total.

    Examples
    --------
    >>> band_count(300_000, 130, 500_000), band_count(3_000, 5_000, 400_000)
    (48, 1)
    """
    low = max(low, 1)
    if high <= low:
        shared = float(total)
    else:
        spread = 1 / low - 1 / high
        shared = total / spread * (low**-3 - high**-3) / 3 / spread
    best = round(math.sqrt(shared * total / (MAX_RESULTS * PER_PAGE)))
    return max(min(best, total // MIN_BAND_ROWS), 1)


def _read_pages(
    pages: PageSource, region: Region, first: Page, maximum: int = MAX_RESULTS
) -> tuple[list[Hit], bool, int]:
    """Read all pages of a query; if rows moved between pages, read them once more.

    Returns the rows, whether they are incomplete, and the latest total.
    """
    hits = {hit.id: hit for hit in first.hits}
    total, incomplete, has_moved, number = first.total, first.incomplete, False, 1
    while number < math.ceil(min(total, maximum) / PER_PAGE):
        number += 1
        page = complete_page(pages, region, number, maximum)
        has_moved = (
            has_moved or any(hit.id in hits for hit in page.hits) or (total <= MAX_RESULTS and page.total != total)
        )
        hits.update((hit.id, hit) for hit in page.hits)
        incomplete = incomplete or page.incomplete
        total = max(total, page.total) if page.incomplete else page.total
    if has_moved:
        for again in range(1, number + 1):
            page = pages.page(region, again, MAX_REPEATS + 1)
            if not page.incomplete:
                hits.update((hit.id, hit) for hit in page.hits)
                total = page.total
    return list(hits.values()), incomplete, total
