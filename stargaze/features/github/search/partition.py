"""Walk past the search's cap of 1,000: slices of stars and creation that cover every repository exactly once.

A search sorted by stars gives its first 1,000 in ten full pages; the next slice begins at the stars of the last
row. What is lost are the rows of that last star count, seen twice. Where many share a count, the rest is first parted into
bands of creation time, so that few of a band share one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from stargaze.features.github.search.page import (
    MAX_REPEATS,
    MAX_RESULTS,
    PER_PAGE,
    Hit,
    Page,
    PageSource,
    complete_page,
)
from stargaze.features.github.search.query import Region

BAND_FILL = 0.93
"""Share of the cap that a predicted band shall hold: chance is some 30 rows, and one too large is parted again."""
MIN_BAND_ROWS = 2 * MAX_RESULTS
"""Rows of a band below which its last, partly filled page costs more than shared star counts do."""
MIN_BAND_STARS = 10
"""Below, so many share a star count that bands lose some sqrt(1 / (30 stars)) of all rows, 6 % at ten: each count is
parted by time alone, which loses as much."""
TAIL_ROWS = 11
"""Last rows whose middle says where a slice ends: one out of order, by a stale index, does not."""
MAX_REMEMBERED = 20_000
"""Creation times of rows seen that are kept to tell where a band should end."""


@dataclass(frozen=True)
class Slice:
    """A region that is done: what was found there, and what GitHub said there is."""

    region: Region
    ids: frozenset[int]
    expected: int
    incomplete: bool = False
    shown: int | None = None
    """How many of those expected are among the ids, where these hold others too; None means all ids are."""

    @property
    def missing(self) -> int:
        """Repositories that GitHub counts and did not show."""
        return max(self.expected - (len(self.ids) if self.shown is None else self.shown), 0)


@dataclass
class _CreationTimes:
    """What the walk has learned of creation times, to part a region evenly."""

    created: list[int] = field(default_factory=list)

    def learn(self, hits: Sequence[Hit]) -> None:
        if len(self.created) < MAX_REMEMBERED:
            self.created.extend(hit.created for hit in hits)

    def bands(self, region: Region, count: int) -> list[Region]:
        """Part a region into bands of creation time that should hold equally many."""
        low, high = region.created_low, region.created_high
        count = min(count, high - low + 1)
        times = sorted(moment for moment in self.created if low <= moment <= high)
        if len(times) < 20 * count:
            step = (high - low + 1) / count
            inner = [low + round(step * number) for number in range(1, count)]
        else:
            inner = [times[len(times) * number // count] for number in range(1, count)]
        starts = sorted({low, *(moment for moment in inner if low < moment <= high)})
        if len(starts) == 1 < count:  # all that was seen is of one moment
            starts.append(low + (high - low + 1) // 2)
        ends = [start - 1 for start in starts[1:]] + [high]
        return [region.with_created(start, end) for start, end in zip(starts, ends, strict=True)]


def partition_search(pages: PageSource, whole: Region) -> Iterator[Slice]:
    """Yield slices that cover the region exactly once, most starred first as far as bands allow.

    Parameters
    ----------
    pages : Pages
        Answers each page; what it has answered before it may answer from what it kept.
    whole : Region
        What to cover.

    Yields
    ------
    Slice
        Disjoint regions whose union is ``whole``. ``ids`` may hold neighbours too: rows whose stars changed
        since GitHub indexed them, and those of the last star count, which the next slice holds as well.
    """
    times = _CreationTimes()
    todo: list[tuple[Region, Page | None]] = [(whole, None)]
    while todo:
        region, known = todo.pop()
        first = known or complete_page(pages, region, 1)
        times.learn(first.hits)
        if first.total <= MAX_RESULTS or not first.hits:
            done = _read_slice(pages, region, first)
            if done.expected > MAX_RESULTS >= first.total:  # GitHub counted too few at first
                todo.append((region, replace(first, total=done.expected)))
            else:
                yield done
        elif region.stars_low == region.stars_high:
            parts = times.bands(region, math.ceil(first.total / (BAND_FILL * MAX_RESULTS)))
            if len(parts) == 1:  # more than the cap, alike to the second: the rest cannot be reached
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
    """Read only the most starred of a region, at most the cap: no slices are needed for them."""
    first = complete_page(pages, region, 1)
    hits, incomplete, total = _read_pages(pages, region, first, number)
    return Slice(region, frozenset(hit.id for hit in hits), min(total, number), incomplete)


def _read_slice(pages: PageSource, region: Region, first: Page) -> Slice:
    hits, incomplete, total = _read_pages(pages, region, first)
    return Slice(region, frozenset(hit.id for hit in hits), total, incomplete)


def _read_top(
    pages: PageSource, region: Region, first: Page, times: _CreationTimes
) -> tuple[Slice | None, list[tuple[Region, Page | None]]]:
    """Read the most starred of a region that is too large: return their slice, if they make one, and what is left to do."""
    top = max(hit.stars for hit in first.hits)
    if top == min(hit.stars for hit in first.hits):
        return _split_star_count(pages, region, first, top)
    hits, incomplete, _ = _read_pages(pages, region, first)
    times.learn(hits)
    lowest = max(int(statistics.median_high(hit.stars for hit in hits[-TAIL_ROWS:])), region.stars_low)
    if lowest >= top or (region.stars_high is not None and lowest >= region.stars_high):
        return _split_star_count(pages, region, replace(first, hits=tuple(hits)), lowest)
    rest = region.with_stars(region.stars_low, lowest)
    below = complete_page(pages, rest, 1)
    upper = region.with_stars(lowest + 1, region.stars_high)
    done = Slice(upper, frozenset(hit.id for hit in hits), min(first.total, MAX_RESULTS), incomplete)
    if first.total - below.total > sum(hit.stars > lowest for hit in hits):  # some slipped through while we read
        return _read_above(pages, upper, done.ids, [(rest, below)])
    bands = band_count(below.total, rest.stars_low, lowest)
    return done, [(rest, below)] if bands == 1 else [(part, None) for part in times.bands(rest, bands)]


def _split_star_count(
    pages: PageSource, region: Region, first: Page, stars: int
) -> tuple[Slice | None, list[tuple[Region, Page | None]]]:
    """Part off one star count that many share.

    Above it is nothing, since the answer begins there; unless the index is older than the rows that it shows, which the
    totals tell.
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
    """Read for itself what lies above the rest, since less of it was seen than GitHub counts."""
    first = complete_page(pages, upper, 1)
    if first.total > MAX_RESULTS:
        return None, [(upper, first), *rest]
    whole = _read_slice(pages, upper, first)
    return Slice(upper, ids | whole.ids, whole.expected, whole.incomplete, len(whole.ids)), rest


def band_count(total: int, low: int, high: int) -> int:
    """Return into how many bands of creation time the rest of a walk is best parted.

    A slice loses half of those that share its last star count, a band half a page at its end. Star counts fall
    as a power of -2, so of ``total`` repositories with ``low`` to ``high`` stars, one shares its count with
    some ``c (low^-3 - high^-3) / 3 (low^-1 - high^-1)`` others, where ``c`` is fitted to the total.

    Examples
    --------
    >>> n_bands(300_000, 130, 500_000), n_bands(3_000, 5_000, 400_000)
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
    """Read all pages that the cap allows; if rows moved between them meanwhile, read them once more.

    Returns the rows, whether GitHub says that some are missing, and its latest total.
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
