"""Which part of a search is gathered: the most starred, an even sample over stars and years, or a fair one.

A fair sample takes all repositories that were created in random windows of time, so each has the same chance,
and a window costs as many requests as it holds hundreds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from stargaze.config import GithubSection
from stargaze.features.github.search.page import CAP, PER_PAGE, Page, Pages, sure_page
from stargaze.features.github.search.query import Region, Search

EDGES = (0, 1, 3, 10, 32, 100, 316, 1000, 3162, 10_000, 31_623, 100_000)
"""Star counts where a stratum begins: two to a power of ten."""
SPARE = 1.15
"""Windows are made this much larger than needed: how many a window holds is known when it is read."""
NEAR = 1.02
"""A threshold of stars is good enough if so many times the number wanted lie above it."""
LOOKS = 20
"""Counts that are asked for until a threshold is found; five or six are usual."""
PER_WINDOW = 500
WINDOWS, MOST_WINDOWS = 12, 200
"""Of a fair sample: fewer would show how one season differs from the next."""
WHOLE = 3
"""Pages of a stratum that is read as a whole, and drawn from: windows would cost as much."""


@dataclass(frozen=True)
class Group:
    """Regions to gather, and how many of what they hold are kept; None keeps all."""

    regions: tuple[Region, ...]
    quota: int | None = None
    expected: int = 0
    """Repositories there, as far as GitHub has said."""
    spare: tuple[Region, ...] = ()
    """Regions to go on with, in this order, where the others hold fewer than the quota."""


def groups(pages: Pages, search: Search, section: GithubSection) -> list[Group]:
    """Return what to walk for the sample that is asked for; counts are asked for where they are needed."""
    first = sure_page(pages, search.whole, 1)
    number = section.limit or first.total
    if number >= first.total or not first.hits or (section.sampling == "top" and number <= CAP):
        return [Group((search.whole,), None, min(number, first.total))]
    if section.sampling == "random":
        return [_windows(search.whole, number, first.total, np.random.default_rng([section.seed, 1]))]
    if section.sampling == "stratified":
        return _strata(pages, search.whole, number, section.seed)
    return _top(pages, search.whole, number, first)


def kept(ids: Iterable[int], quota: int | None, seed: int) -> list[int]:
    """Draw ``quota`` of the ids, the same ones whatever order they come in.

    Examples
    --------
    >>> kept([3, 1, 2], 2, 0) == kept([2, 3, 1], 2, 0), len(kept([3, 1, 2], None, 0))
    (True, 3)
    """
    if quota is None:
        return list(ids)
    return sorted(ids, key=lambda number: hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=8).digest())[:quota]


def shares(counts: Sequence[int], number: int) -> list[int]:
    """Share a number out evenly; a stratum that holds less gives what it has, the others make up for it.

    Examples
    --------
    >>> shares([5, 1000, 1000], 105), shares([1, 1], 9)
    ([5, 50, 50], [1, 1])
    """
    given = [0] * len(counts)
    left = min(number, sum(counts))
    order = sorted(range(len(counts)), key=lambda place: counts[place])
    for done, place in enumerate(order):
        given[place] = min(counts[place], left // (len(counts) - done))
        left -= given[place]
    return given


def _top(pages: Pages, whole: Region, number: int, first: Page) -> list[Group]:
    """Find the star count above which about as many lie as are wanted; of those that share it, as many as are missing."""
    low, n_low = whole.stars_low, first.total
    high, n_high = max(hit.stars for hit in first.hits) + 1, 0
    for _ in range(LOOKS):
        if n_low <= number * NEAR or high - low <= 1:
            break
        guess = _between(low, n_low, high, n_high, number)
        count = sure_page(pages, whole.with_stars(guess, whole.stars_high), 1).total
        if count >= number:
            low, n_low = guess, count
        else:
            high, n_high = guess, count
    if n_low <= number * NEAR or high - low > 1:
        return [Group((whole.with_stars(low, whole.stars_high),), None, n_low)]
    above = [Group((whole.with_stars(high, whole.stars_high),), None, n_high)] if n_high else []
    alike = _windows(whole.with_stars(low, low), number - n_high, n_low - n_high, np.random.default_rng(3), least=1)
    return [*above, alike]


def _between(low: int, n_low: int, high: int, n_high: int, number: int) -> int:
    """Guess by a straight line in logarithms, as star counts fall; never at an end."""
    x_low, x_high = math.log(low + 1), math.log(high + 1)
    y_low, y_high, y = math.log(n_low), math.log(max(n_high, 0.5)), math.log(number * (1 + NEAR) / 2)
    share = (y_low - y) / (y_low - y_high)
    guess = round(math.exp(x_low + min(max(share, 0.05), 0.95) * (x_high - x_low)) - 1)
    return min(max(guess, low + 1), high - 1)


def _strata(pages: Pages, whole: Region, number: int, seed: int) -> list[Group]:
    cells = [cell for stars in _star_bins(whole) for cell in _years(stars)]
    firsts = [sure_page(pages, cell, 1) for cell in cells]
    quotas = shares([first.total for first in firsts], number)
    random = [np.random.default_rng([seed, 2, place]) for place in range(len(cells))]
    found = [_stratum(*one) for one in zip(cells, firsts, quotas, random, strict=True)]
    return [group for group in found if group]


def _stratum(cell: Region, first: Page, quota: int, random: np.random.Generator) -> Group | None:
    if quota >= first.total and first.incomplete:
        return Group((cell,), None, first.total)
    if not quota:
        return None
    if quota >= first.total or first.total <= WHOLE * PER_PAGE:
        return Group((cell,), quota, first.total)
    return _windows(cell, quota, first.total, random, least=1)


def _star_bins(whole: Region) -> list[Region]:
    starts = [edge for edge in EDGES if edge > whole.stars_low]
    starts = [whole.stars_low, *(edge for edge in starts if whole.stars_high is None or edge <= whole.stars_high)]
    ends = [*(start - 1 for start in starts[1:]), whole.stars_high]
    return [whole.with_stars(start, end) for start, end in zip(starts, ends, strict=True)]


def _years(whole: Region) -> list[Region]:
    first, last = (datetime.fromtimestamp(second, tz=UTC).year for second in (whole.created_low, whole.created_high))
    starts = [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in range(first + 1, last + 1)]
    begins = [whole.created_low, *starts]
    ends = [*(start - 1 for start in starts), whole.created_high]
    return [whole.with_created(begin, end) for begin, end in zip(begins, ends, strict=True)]


def _windows(region: Region, number: int, total: int, random: np.random.Generator, *, least: int = WINDOWS) -> Group:
    """Choose random windows of creation time that hold a little more than ``number``.

    The time is parted evenly, and each part has one window that begins anywhere and goes round its end, so every
    moment has the same chance. What follows each window, longer each time, is spare.
    """
    share = min(SPARE * number / total, 1.0)
    span = region.created_high - region.created_low + 1
    count = int(min(max(math.ceil(number / PER_WINDOW), least), MOST_WINDOWS, span))
    regions: list[Region] = []
    spare: list[tuple[int, Region]] = []
    for part in range(count):
        begin = region.created_low + span * part // count
        length = region.created_low + span * (part + 1) // count - begin
        start, done, width, turn = int(random.integers(length)), 0, max(round(share * length), 1), 0
        while done < length:
            pieces = [region.with_created(begin + a, begin + b - 1) for a, b in _round(start + done, width, length)]
            regions += pieces if turn == 0 else []
            spare += [(turn, piece) for piece in pieces] if turn else []
            done += width
            turn, width = turn + 1, min(max(done // 2, 1), length - done)
    chance = random.permutation(len(spare))  # of those that are equally far, none shall have a better one
    order = sorted(range(len(spare)), key=lambda place: (spare[place][0], chance[place]))
    return Group(tuple(regions), number, round(share * total), tuple(spare[place][1] for place in order))


def _round(start: int, width: int, length: int) -> list[tuple[int, int]]:
    """Part a stretch of a circle at the circle's end: begin and end of each piece.

    Examples
    --------
    >>> _round(7, 5, 10), _round(12, 3, 10)
    ([(7, 10), (0, 2)], [(2, 5)])
    """
    start %= length
    pieces = [(start, min(start + width, length)), (0, start + width - length)]
    return [(begin, end) for begin, end in pieces if end > begin]
