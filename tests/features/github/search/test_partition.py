"""The partition covers every repository exactly once for any distribution of stars, with few requests beyond full pages."""

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
    """A search over generated repositories: sorted by stars, ties in random order, limited to 1,000 results."""

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
        matching = self.inside(region)
        shown = matching[(number - 1) * PER_PAGE : number * PER_PAGE]
        hits = [Hit(int(self.ids[row]), int(self.stars[row]), int(self.created[row])) for row in shown]
        return Page(len(matching), False, tuple(hits))


def power_law_world(count: int, min_stars: float, seed: int) -> World:
    random = np.random.default_rng(seed)
    stars = np.floor(min_stars * random.random(count) ** (-1 / 1.1)).astype(int)
    return World(stars, (BEGIN + (END - BEGIN) * random.beta(2, 1.4, count)).astype(int), seed)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, Region]:
    """Generate any distribution: few or many star counts, steep or flat, created at once or over years."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 12_000))
    random = np.random.default_rng(seed)
    min_stars, steep = draw(st.sampled_from([0, 1, 7, 10, 50, 1000])), draw(st.sampled_from([0.3, 1.1, 5.0, 1000.0]))
    stars = np.minimum(
        min_stars + np.floor(max(min_stars, 1) * (random.random(count) ** (-1 / steep) - 1)), 10**9
    ).astype(int)
    moments = draw(st.sampled_from([2_000, 86_400, END - BEGIN]))
    world = World(
        stars, BEGIN + (moments * random.beta(2, draw(st.sampled_from([0.2, 1.4, 9])), count)).astype(int), seed
    )
    _, n_equal = np.unique(np.column_stack([world.stars, world.created]), axis=0, return_counts=True)
    assume(n_equal.max(initial=0) <= MAX_RESULTS)
    high = draw(st.sampled_from([None, None, 5_000]))
    return world, Region(draw(st.integers(0, 60)), high, BEGIN, END)


@settings(max_examples=60)
@given(worlds())
def test_slices_cover_every_repository_exactly_once(case: tuple[World, Region]) -> None:
    world, whole = case
    done = list(partition_search(world, whole))

    covered = np.zeros(len(world.ids), dtype=int)
    for part in done:
        rows = world.inside(part.region)
        covered[rows] += 1
        assert len(rows) <= MAX_RESULTS
        assert set(world.ids[rows].tolist()) <= part.ids
    inside = np.zeros(len(world.ids), dtype=int)
    inside[world.inside(whole)] = 1
    assert (covered == inside).all()
    assert all(part.missing == 0 and not part.incomplete for part in done)


@settings(max_examples=30)
@given(worlds())
def test_no_page_is_requested_twice(case: tuple[World, Region]) -> None:
    world, whole = case
    list(partition_search(world, whole))
    assert len(world.requests) == len(set(world.requests))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("count", "min_stars", "share"), [(300_000, 130, 0.97), (20_000, 1000, 0.97), (100_000, 10, 0.85)]
)
def test_most_requests_return_full_pages(count: int, min_stars: int, share: float) -> None:
    world = power_law_world(count, min_stars, 1)
    ids = set().union(*(part.ids for part in partition_search(world, Region(min_stars, None, BEGIN, END))))
    assert len(ids) == count
    assert count / (PER_PAGE * len(world.requests)) > share


def test_more_than_the_limit_in_one_second_are_reported_as_missing() -> None:
    world = World(np.full(1500, 7), np.full(1500, BEGIN + 5))
    done = list(partition_search(world, Region(0, None, BEGIN, END)))
    assert sum(part.missing for part in done) == 500
    assert len(world.requests) < 100


def test_a_search_without_rows_is_reported_as_missing() -> None:
    world = World(np.arange(3_000), np.full(3_000, BEGIN))
    world.page = lambda _region, _number, _attempt: Page(3_000, False, ())  # type: ignore[method-assign]
    (part,) = partition_search(world, Region(0, None, BEGIN, END))
    assert part.missing == 3_000


class Faulty(World):
    """The first response of a page lacks some rows; it is marked as incomplete or not."""

    def __init__(self, *arguments: np.ndarray, marked: bool, always: bool = False) -> None:
        super().__init__(*arguments)
        self.marked, self.always = marked, always

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if attempt and not self.always:
            return page
        return Page(page.total, self.marked, page.hits[: len(page.hits) - 2])


@pytest.mark.parametrize("marked", [True, False])
def test_an_incomplete_page_is_requested_again(marked: bool) -> None:
    world = Faulty(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int), marked=marked)
    (part,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (len(part.ids), part.missing, part.incomplete) == (950, 0, False)


class TimingOut(World):
    """Every n-th search times out on its first attempt, and returns and counts only a part of the rows."""

    def __init__(self, *arguments: np.ndarray, every: int, shown: float) -> None:
        super().__init__(*arguments)
        self.every, self.shown, self.n_pages = every, shown, 0

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        self.n_pages += attempt == 0
        if attempt or self.n_pages % self.every:
            return page
        count = int(page.total * self.shown)
        return Page(count, True, page.hits[: max(count - PER_PAGE * (number - 1), 0)])


@pytest.mark.thorough
@pytest.mark.parametrize("every", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("shown", [0.0, 0.03, 0.6])
def test_no_repository_is_lost_to_a_partial_count(every: int, shown: float) -> None:
    world = power_law_world(20_000, 100, 5)
    world = TimingOut(world.stars, world.created, every=every, shown=shown)
    done = list(partition_search(world, Region(100, None, BEGIN, END)))
    assert len(set().union(*(part.ids for part in done))) == 20_000
    assert all(part.missing == 0 and not part.incomplete for part in done)
    assert len(top_slice(world, Region(100, None, BEGIN, END), 500).ids) >= 500


class RandomlyIncomplete(World):
    """Some searches time out, and return and count a random part of the rows."""

    def __init__(self, *arguments: np.ndarray, seed: int, share: float) -> None:
        super().__init__(*arguments)
        self.random, self.share = np.random.default_rng(seed), share

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if attempt == 2 or self.random.random() > self.share:
            return page
        matching = self.inside(region)
        matching = matching[self.random.random(len(matching)) < self.random.random()]
        shown = matching[(number - 1) * PER_PAGE : number * PER_PAGE]
        hits = [Hit(int(self.ids[row]), int(self.stars[row]), int(self.created[row])) for row in shown]
        return Page(len(matching), True, tuple(hits))


@pytest.mark.thorough
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("min_stars", [1, 10, 100])
def test_no_repository_is_lost_to_randomly_incomplete_responses(seed: int, share: float, min_stars: int) -> None:
    world = power_law_world(9_000, min_stars, seed)
    world = RandomlyIncomplete(world.stars, world.created, seed=seed, share=share)
    done = list(partition_search(world, Region(min_stars, None, BEGIN, END)))
    assert len(set().union(*(part.ids for part in done))) == 9_000


def test_missing_repositories_are_counted_without_the_neighbors() -> None:
    part = Slice(Region(11, 19, BEGIN, END), frozenset(range(1080)), expected=1073, shown=900)
    assert part.missing == 173


def test_a_search_that_always_times_out_is_reported_as_incomplete() -> None:
    world = World(np.arange(0), np.arange(0))
    world.page = lambda _region, _number, _attempt: Page(0, True, ())  # type: ignore[method-assign]
    (part,) = partition_search(world, Region(0, None, BEGIN, END))
    assert part.incomplete


class Stale(World):
    """The index used for sorting and counting is older than the returned rows: some have lost a star since."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        return Page(page.total, False, tuple(Hit(hit.id, min(hit.stars, 56), hit.created) for hit in page.hits))


@pytest.mark.parametrize("ahead", [3, 300])
def test_rows_that_the_index_ranks_above_a_shared_star_count_are_found(ahead: int) -> None:
    stars = np.array([57] * ahead + [56] * 1200 + [40] * 500)
    world = Stale(stars, np.linspace(BEGIN, END, len(stars)).astype(int))
    done = list(partition_search(world, Region(30, None, BEGIN, END)))
    assert len(set().union(*(part.ids for part in done))) == len(stars)
    assert sum(part.missing for part in done) == 0


def test_rows_missing_in_every_response_are_reported() -> None:
    world = Faulty(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int), marked=True, always=True)
    (part,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (part.missing, part.incomplete) == (20, True)
    assert len(world.requests) == 10 * (1 + MAX_REPEATS)


class Drifting(World):
    """A row moves to the front between the first requests of two pages, so one row is returned twice and another never."""

    def page(self, region: Region, number: int, attempt: int) -> Page:
        page = super().page(region, number, attempt)
        if number > 1 and attempt == 0:
            before = super().page(region, number - 1, 0)
            self.requests.pop()
            return Page(page.total, False, (before.hits[-1], *page.hits[:-1]))
        return page


def test_a_slice_is_read_again_if_its_rows_moved_meanwhile() -> None:
    world = Drifting(np.arange(950) + 10, np.linspace(BEGIN, END, 950).astype(int))
    (part,) = partition_search(world, Region(0, None, BEGIN, END))
    assert (len(part.ids), part.missing) == (950, 0)


class Changing(World):
    """After ``when`` requests a repository is deleted, or gains stars, ahead of the rows that are still to be read."""

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
def test_rows_that_move_between_pages_are_found(count: int, when: int, stars: int | None) -> None:
    """A row is deleted from a page that was read, so the rest move up; or a later row moves to such a page."""
    moments = np.linspace(BEGIN, END, count).astype(int)
    world = Changing(np.arange(count) + 100, moments, when=when, stars=stars)
    ids = set().union(*(part.ids for part in partition_search(world, Region(100, None, BEGIN, END))))
    assert set(world.ids.tolist()) <= ids


def test_a_row_out_of_order_leaves_no_gap() -> None:
    """GitHub's index is older than the rows it returns: the last row of a slice may have lost nearly all its stars."""
    world = power_law_world(5_000, 100, 3)
    original_page = world.page

    def stale(region: Region, number: int, attempt: int) -> Page:
        page = original_page(region, number, attempt)
        if number < 10 or not page.hits:
            return page
        return Page(page.total, False, (*page.hits[:-1], Hit(page.hits[-1].id, 1, page.hits[-1].created)))

    world.page = stale  # type: ignore[method-assign]
    ids = set().union(*(part.ids for part in partition_search(world, Region(100, None, BEGIN, END))))
    assert len(ids) == 5_000


def test_the_top_of_a_search_requests_only_full_pages() -> None:
    world = power_law_world(5_000, 100, 3)
    part = top_slice(world, Region(100, None, BEGIN, END), 250)
    assert len(world.requests) == 3
    assert set(world.ids[:250].tolist()) <= part.ids


def test_every_band_holds_at_least_two_slices() -> None:
    assert all(band_count(total, 10, 400_000) <= max(total // 2000, 1) for total in (10, 2_000, 50_000, 10**7))
    assert math.isclose(band_count(300_000, 130, 500_000), 48, abs_tol=1)
