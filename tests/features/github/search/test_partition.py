"""The walk covers every repository exactly once, whatever the stars, at the price of few more requests than pages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stargaze.features.github.search.partition import Slice, band_count, partition_search, top_slice
from stargaze.features.github.search.query import MAX_REPEATS, MAX_RESULTS, PER_PAGE, Hit, Page, Region

BEGIN, END = 1_200_000_000, 1_790_000_000


class World:
    """A search over made-up repositories: sorted by stars, ties in an order that nobody knows, capped."""

    def __init__(self, stars: np.ndarray, created: np.ndarray, seed: int = 0) -> None:
        order = np.lexsort((np.random.default_rng(seed).random(len(stars)), -stars))
        self.stars, self.created, self.ids = stars[order], created[order], np.arange(len(stars))[order]
        self.requests: list[tuple[Region, int, int]] = []

    def inside(self, region: Region) -> np.ndarray:
        high = np.inf if region.stars_high is None else region.stars_high
        stars = (self.stars >= region.stars_low) & (self.stars <= high)
        return np.flatnonzero(stars & (self.created >= region.created_low) & (self.created <= region.created_high))

    def page(self, region: Region, number: int, attempt: int) -> Page:
        self.requests.append((region, number, attempt))
        assert number <= MAX_RESULTS // PER_PAGE
        there = self.inside(region)
        shown = there[(number - 1) * PER_PAGE : number * PER_PAGE]
        hits = [Hit(int(self.ids[row]), int(self.stars[row]), int(self.created[row])) for row in shown]
        return Page(len(there), False, tuple(hits))


def powers(count: int, least: float, seed: int) -> World:
    random = np.random.default_rng(seed)
    stars = np.floor(least * random.random(count) ** (-1 / 1.1)).astype(int)
    return World(stars, (BEGIN + (END - BEGIN) * random.beta(2, 1.4, count)).astype(int), seed)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Region]:
    """Any distribution: few or many star counts, steep or flat, all at once or over years."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 12_000))
    random = np.random.default_rng(seed)
    least, steep = draw(st.sampled_from([0, 1, 7, 10, 50, 1000])), draw(st.sampled_from([0.3, 1.1, 5.0, 1000.0]))
    stars = np.minimum(least + np.floor(max(least, 1) * (random.random(count) ** (-1 / steep) - 1)), 10**9).astype(int)
    moments = draw(st.sampled_from([2_000, 86_400, END - BEGIN]))
    world = World(
        stars, BEGIN + (moments * random.beta(2, draw(st.sampled_from([0.2, 1.4, 9])), count)).astype(int), seed
    )
    _, alike = np.unique(np.column_stack([world.stars, world.created]), axis=0, return_counts=True)
    assume(alike.max(initial=0) <= MAX_RESULTS)
    high = draw(st.sampled_from([None, None, 5_000]))
    return world, Region(draw(st.integers(0, 60)), high, BEGIN, END)


@settings(max_examples=60)
@given(worlds())
def test_slices_cover_every_repository_exactly_once(case: tuple[World, Region]) -> None:
    world, whole = case
    done = list(partition_search(world, whole))

    covered = np.zeros(len(world.ids), dtype=int)
    for piece in done:
        rows = world.inside(piece.region)
        covered[rows] += 1
        assert len(rows) <= MAX_RESULTS
        assert set(world.ids[rows].tolist()) <= piece.ids
    inside = np.zeros(len(world.ids), dtype=int)
    inside[world.inside(whole)] = 1
    assert (covered == inside).all()
    assert all(piece.missing == 0 and not piece.incomplete for piece in done)


@settings(max_examples=30)
@given(worlds())
def test_no_page_is_asked_twice(case: tuple[World, Region]) -> None:
    world, whole = case
    list(partition_search(world, whole))
    assert len(world.requests) == len(set(world.requests))


@pytest.mark.thorough
@pytest.mark.parametrize(("count", "least", "share"), [(300_000, 130, 0.97), (20_000, 1000, 0.97), (100_000, 10, 0.85)])
def test_few_requests_bring_less_than_a_full_page(count: int, least: int, share: float) -> None:
    world = powers(count, least, 1)
    found = set().union(*(piece.ids for piece in partition_search(world, Region(least, None, BEGIN, END))))
    assert len(found) == count
    assert count / (PER_PAGE * len(world.requests)) > share


def test_more_than_the_cap_in_one_second_are_reported_and_not_looked_for_without_end() -> None:
    world = World(np.full(1500, 7), np.full(1500, BEGIN + 5))
    done = list(partition_search(world, Region(0, None, BEGIN, END)))
    assert sum(piece.missing for piece in done) == 500
    assert len(world.requests) < 100


def test_a_search_that_counts_many_and_shows_none_is_reported() -> None:
    world = World(np.arange(3_000), np.full(3_000, BEGIN))
    world.page = lambda _region, _number, _attempt: Page(3_000, False, ())  # type: ignore[method-assign]
    (piece,) = partition_search(world, Region(0, None, BEGIN, END))
    assert piece.missing == 3_000


class Faulty(World):
    """Answers the first time without some rows, saying so or not."""

    def __init__(self, *arguments: np.ndarray, says_so: bool, forever: bool = False) -> None:
        super().__init__(*arguments)
        self.says_so, self.forever = says_so, forever

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if attempt and not self.forever:
            return page
        return Page(page.total, self.says_so, page.hits[: len(page.hits) - 2])


@pytest.mark.parametrize("says_so", [True, False])
def test_a_page_with_rows_missing_is_asked_again_and_nothing_is_lost(says_so: bool) -> None:
    world = Faulty(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int), says_so=says_so)
    (piece,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (len(piece.ids), piece.missing, piece.incomplete) == (950, 0, False)


class Hurried(World):
    """Gives up on the first asking of a page now and then, with what it came to: some rows, or none, and as many counted."""

    def __init__(self, *arguments: np.ndarray, every: int, shown: float) -> None:
        super().__init__(*arguments)
        self.every, self.shown, self.looks = every, shown, 0

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        self.looks += attempt == 0
        if attempt or self.looks % self.every:
            return page
        few = int(page.total * self.shown)
        return Page(few, True, page.hits[: max(few - PER_PAGE * (number - 1), 0)])


@pytest.mark.parametrize("every", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("shown", [0.0, 0.03, 0.6])
def test_a_count_that_github_did_not_finish_hides_nobody(every: int, shown: float) -> None:
    many = powers(20_000, 100, 5)
    world = Hurried(many.stars, many.created, every=every, shown=shown)
    done = list(partition_search(world, Region(100, None, BEGIN, END)))
    assert len(set().union(*(piece.ids for piece in done))) == 20_000
    assert all(piece.missing == 0 and not piece.incomplete for piece in done)
    assert len(top_slice(world, Region(100, None, BEGIN, END), 500).ids) >= 500


class Thinned(World):
    """Gives up now and then, and shows and counts those that it came to: any of them, not the most starred."""

    def __init__(self, *arguments: np.ndarray, seed: int, share: float) -> None:
        super().__init__(*arguments)
        self.random, self.share = np.random.default_rng(seed), share

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if attempt == 2 or self.random.random() > self.share:
            return page
        there = self.inside(region)
        there = there[self.random.random(len(there)) < self.random.random()]
        shown = there[(number - 1) * PER_PAGE : number * PER_PAGE]
        hits = [Hit(int(self.ids[row]), int(self.stars[row]), int(self.created[row])) for row in shown]
        return Page(len(there), True, tuple(hits))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("least", [1, 10, 100])
def test_answers_that_are_thinned_by_haste_hide_nobody(seed: int, share: float, least: int) -> None:
    many = powers(9_000, least, seed)
    world = Thinned(many.stars, many.created, seed=seed, share=share)
    done = list(partition_search(world, Region(least, None, BEGIN, END)))
    assert len(set().union(*(piece.ids for piece in done))) == 9_000


def test_what_is_missing_of_a_slice_is_told_though_it_shows_neighbours() -> None:
    piece = Slice(Region(11, 19, BEGIN, END), frozenset(range(1080)), expected=1073, shown=900)
    assert piece.missing == 173


def test_a_search_that_never_finishes_is_reported() -> None:
    world = World(np.arange(0), np.arange(0))
    world.page = lambda _region, _number, _attempt: Page(0, True, ())  # type: ignore[method-assign]
    (piece,) = partition_search(world, Region(0, None, BEGIN, END))
    assert piece.incomplete


class Stale(World):
    """Sorts and counts by an index that is older than the rows it shows: some have lost a star since."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        return Page(page.total, False, tuple(Hit(hit.id, min(hit.stars, 56), hit.created) for hit in page.hits))


@pytest.mark.parametrize("ahead", [3, 300])
def test_rows_that_the_index_ranks_above_all_that_share_a_count_are_found(ahead: int) -> None:
    stars = np.array([57] * ahead + [56] * 1200 + [40] * 500)
    world = Stale(stars, np.linspace(BEGIN, END, len(stars)).astype(int))
    done = list(partition_search(world, Region(30, None, BEGIN, END)))
    assert len(set().union(*(piece.ids for piece in done))) == len(stars)
    assert sum(piece.missing for piece in done) == 0


def test_rows_that_stay_missing_are_reported() -> None:
    world = Faulty(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int), says_so=True, forever=True)
    (piece,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (piece.missing, piece.incomplete) == (20, True)
    assert len(world.requests) == 10 * (1 + MAX_REPEATS)


class Drifting(World):
    """Between two pages of the first reading a row moves to the front, so one is shown twice and another never."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if number > 1 and attempt == 0:
            before = super().page(region, number - 1, 0)
            self.requests.pop()
            return Page(page.total, False, (before.hits[-1], *page.hits[:-1]))
        return page


def test_a_slice_whose_rows_moved_while_it_was_read_is_read_again() -> None:
    world = Drifting(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int))
    (piece,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (len(piece.ids), piece.missing) == (950, 0)


class Changing(World):
    """After so many requests one repository is deleted, or gains stars, in front of what is still to be read."""

    def __init__(self, *arguments: np.ndarray, when: int, stars: int | None) -> None:
        super().__init__(*arguments)
        self.when, self.gain = when, stars

    def page(self, region: Region, number: int, attempt: int) -> Page:
        if len(self.requests) == self.when:
            if self.gain is None:
                keep = np.arange(len(self.ids)) != 3
                self.stars, self.created, self.ids = self.stars[keep], self.created[keep], self.ids[keep]
            else:
                self.stars[-1] = self.gain
                order = np.argsort(-self.stars, kind="stable")
                self.stars, self.created, self.ids = self.stars[order], self.created[order], self.ids[order]
        return super().page(region, number, attempt)


@pytest.mark.parametrize("stars", [None, 10_000])
@pytest.mark.parametrize("count", [900, 3_000])
@pytest.mark.parametrize("when", [2, 5, 9])
def test_who_slips_through_while_pages_are_read_is_found(count: int, when: int, stars: int | None) -> None:
    """One is deleted from a page that was read, so the rest move up; or one moves from the rest to such a page."""
    moments = np.linspace(BEGIN, END, count).astype(int)
    world = Changing(np.arange(count) + 100, moments, when=when, stars=stars)
    found = set().union(*(piece.ids for piece in partition_search(world, Region(100, None, BEGIN, END))))
    assert set(world.ids.tolist()) <= found


def test_a_row_out_of_order_makes_no_gap() -> None:
    """GitHub's index is older than the rows it shows: the last row of a slice may have lost nearly all its stars."""
    world = powers(5_000, 100, 3)
    honest = world.page

    def stale(region: Region, number: int, attempt: int) -> Page:
        page = honest(region, number, attempt)
        if number < 10 or not page.hits:
            return page
        return Page(page.total, False, (*page.hits[:-1], Hit(page.hits[-1].id, 1, page.hits[-1].created)))

    world.page = stale  # type: ignore[method-assign]
    found = set().union(*(piece.ids for piece in partition_search(world, Region(100, None, BEGIN, END))))
    assert len(found) == 5_000


def test_the_head_of_a_search_needs_no_more_pages_than_it_fills() -> None:
    world = powers(5_000, 100, 3)
    piece = top_slice(world, Region(100, None, BEGIN, END), 250)
    assert len(world.requests) == 3
    assert set(world.ids[:250].tolist()) <= piece.ids


def test_bands_are_never_so_many_that_each_holds_less_than_two_slices() -> None:
    assert all(band_count(total, 10, 400_000) <= max(total // 2000, 1) for total in (10, 2_000, 50_000, 10**7))
    assert math.isclose(band_count(300_000, 130, 500_000), 48, abs_tol=1)
