"""Sampling of a search: top stars, stratified over stars and years, or random.

A random sample takes all repositories created in random time windows, so each has the same probability, and a window
costs one request per hundred repositories.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from stargaze.config import GithubSection
from stargaze.features.github.search.query import MAX_RESULTS, PER_PAGE, Page, PageSource, Region, Search, complete_page

STAR_EDGES = (0, 1, 3, 10, 32, 100, 316, 1000, 3162, 10_000, 31_623, 100_000)
"""Star counts where strata begin: two per power of ten."""
WINDOW_MARGIN = 1.15
"""Factor by which windows are larger than needed, since their counts are unknown."""
THRESHOLD_TOLERANCE = 1.02
"""A star threshold is accepted if at most this multiple of the limit lies above it."""
MAX_COUNT_REQUESTS = 20
"""Count requests to find a star threshold; five or six are usual."""
ROWS_PER_WINDOW = 500
MIN_WINDOWS, MAX_WINDOWS = 12, 200
"""Windows of a random sample; with fewer, seasonal differences would be visible."""
MAX_WHOLE_PAGES = 3
"""Pages of a stratum that is read completely; windows would cost as much."""


@dataclass(frozen=True)
class Group:
    """Regions to crawl, and how many of their repositories to keep; None keeps all."""

    regions: tuple[Region, ...]
    quota: int | None = None
    expected: int = 0
    """Estimated repositories in the regions."""
    spare: tuple[Region, ...] = ()
    """Further regions, in this order, if the others hold fewer than the quota."""


def sample_groups(pages: PageSource, search: Search, section: GithubSection) -> list[Group]:
    """Return the groups of regions for the configured sample; counts are requested as needed."""
    first = complete_page(pages, search.whole, 1)
    number = section.limit or first.total
    if number >= first.total or not first.hits or (section.sampling == "top" and number <= MAX_RESULTS):
        return [Group((search.whole,), None, min(number, first.total))]
    if section.sampling == "random":
        return [_random_windows(search.whole, number, first.total, np.random.default_rng([section.seed, 1]))]
    if section.sampling == "stratified":
        return _stratified_groups(pages, search.whole, number, section.seed)
    return _top_groups(pages, search.whole, number, first)


def draw_sample(ids: Iterable[int], quota: int | None, seed: int) -> list[int]:
    """Draw ``quota`` ids, independent of their order.

    Examples
    --------
    >>> draw_sample([3, 1, 2], 2, 0) == draw_sample([2, 3, 1], 2, 0), len(draw_sample([3, 1, 2], None, 0))
    (True, 3)
    """
    if quota is None:
        return list(ids)
    return sorted(ids, key=lambda number: hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest())[:quota]


def share_evenly(counts: Sequence[int], number: int) -> list[int]:
    """Allocate a number evenly; other strata compensate for one that holds less.

    Examples
    --------
    >>> share_evenly([5, 1000, 1000], 105), share_evenly([1, 1], 9)
    ([5, 50, 50], [1, 1])
    """
    allotted = [0] * len(counts)
    left = min(number, sum(counts))
    order = sorted(range(len(counts)), key=lambda index: counts[index])
    for done, index in enumerate(order):
        allotted[index] = min(counts[index], left // (len(counts) - done))
        left -= allotted[index]
    return allotted


def _top_groups(pages: PageSource, whole: Region, number: int, first: Page) -> list[Group]:
    """Find the star threshold of the top ``number``; tied repositories at the threshold are sampled."""
    low, n_low = whole.stars_low, first.total
    high, n_high = max(hit.stars for hit in first.hits) + 1, 0
    for _ in range(MAX_COUNT_REQUESTS):
        if n_low <= number * THRESHOLD_TOLERANCE or high - low <= 1:
            break
        guess = _interpolate(low, n_low, high, n_high, number)
        count = complete_page(pages, whole.with_stars(guess, whole.stars_high), 1).total
        if count >= number:
            low, n_low = guess, count
        else:
            high, n_high = guess, count
    if n_low <= number * THRESHOLD_TOLERANCE or high - low > 1:
        return [Group((whole.with_stars(low, whole.stars_high),), None, n_low)]
    above = [Group((whole.with_stars(high, whole.stars_high),), None, n_high)] if n_high else []
    tied = _random_windows(
        whole.with_stars(low, low), number - n_high, n_low - n_high, np.random.default_rng(3), least=1
    )
    return [*above, tied]


def _interpolate(low: int, n_low: int, high: int, n_high: int, number: int) -> int:
    """Interpolate linearly in logarithms, as star counts decline; never return an end."""
    x_low, x_high = math.log(low + 1), math.log(high + 1)
    y_low, y_high, y = math.log(n_low), math.log(max(n_high, 0.5)), math.log(number * (1 + THRESHOLD_TOLERANCE) / 2)
    share = (y_low - y) / (y_low - y_high)
    guess = round(math.exp(x_low + min(max(share, 0.05), 0.95) * (x_high - x_low)) - 1)
    return min(max(guess, low + 1), high - 1)


def _stratified_groups(pages: PageSource, whole: Region, number: int, seed: int) -> list[Group]:
    cells = [cell for stars in _star_bins(whole) for cell in _year_bins(stars)]
    firsts = [complete_page(pages, cell, 1) for cell in cells]
    quotas = share_evenly([first.total for first in firsts], number)
    random = [np.random.default_rng([seed, 2, index]) for index in range(len(cells))]
    strata = [_stratum_group(*arguments) for arguments in zip(cells, firsts, quotas, random, strict=True)]
    return [group for group in strata if group]


def _stratum_group(cell: Region, first: Page, quota: int, random: np.random.Generator) -> Group | None:
    if quota >= first.total and first.incomplete:
        return Group((cell,), None, first.total)
    if not quota:
        return None
    if quota >= first.total or first.total <= MAX_WHOLE_PAGES * PER_PAGE:
        return Group((cell,), quota, first.total)
    return _random_windows(cell, quota, first.total, random, least=1)


def _star_bins(whole: Region) -> list[Region]:
    starts = [edge for edge in STAR_EDGES if edge > whole.stars_low]
    starts = [whole.stars_low, *(edge for edge in starts if whole.stars_high is None or edge <= whole.stars_high)]
    ends = [*(start - 1 for start in starts[1:]), whole.stars_high]
    return [whole.with_stars(start, end) for start, end in zip(starts, ends, strict=True)]


def _year_bins(whole: Region) -> list[Region]:
    first, last = (datetime.fromtimestamp(second, tz=UTC).year for second in (whole.created_low, whole.created_high))
    starts = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in range(first + 1, last + 1)]
    begins = [whole.created_low, *starts]
    ends = [*(start - 1 for start in starts), whole.created_high]
    return [whole.with_created(begin, end) for begin, end in zip(begins, ends, strict=True)]


def _random_windows(
    region: Region, number: int, total: int, random: np.random.Generator, *, least: int = MIN_WINDOWS
) -> Group:
    """Choose random windows of creation time that hold a little more than ``number``.

    The time is split evenly; each part has one window that starts anywhere and wraps around, so every moment has the
    same probability. The ranges after each window, growing in length, are spare.
    """
    share = min(WINDOW_MARGIN * number / total, 1.0)
    span = region.created_high - region.created_low + 1
    count = int(min(max(math.ceil(number / ROWS_PER_WINDOW), least), MAX_WINDOWS, span))
    regions: list[Region] = []
    spare: list[tuple[int, Region]] = []
    for part in range(count):
        begin = region.created_low + span * part // count
        length = region.created_low + span * (part + 1) // count - begin
        start, done, width, turn = int(random.integers(length)), 0, max(round(share * length), 1), 0
        while done < length:
            pieces = [region.with_created(begin + a, begin + b - 1) for a, b in _wrap(start + done, width, length)]
            regions += pieces if turn == 0 else []
            spare += [(turn, piece) for piece in pieces] if turn else []
            done += width
            turn, width = turn + 1, min(max(done // 2, 1), length - done)
    chance = random.permutation(len(spare))  # random order among equally distant ones
    order = sorted(range(len(spare)), key=lambda index: (spare[index][0], chance[index]))
    return Group(tuple(regions), number, round(share * total), tuple(spare[index][1] for index in order))


def _wrap(start: int, width: int, length: int) -> list[tuple[int, int]]:
    """Split an arc at the end of the circle; return begin and end of each piece.

    Examples
    --------
    >>> _wrap(7, 5, 10), _wrap(12, 3, 10)
    ([(7, 10), (0, 2)], [(2, 5)])
    """
    start %= length
    pieces = [(start, min(start + width, length)), (0, start + width - length)]
    return [(begin, end) for begin, end in pieces if end > begin]
