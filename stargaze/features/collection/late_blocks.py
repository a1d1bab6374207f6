"""Blocks of rows whose newest date is too old: they were collected before the others, one block after another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

BLOCK, NEWEST = 60, 10
"""Rows of a block, of which the newest dates are compared."""
MIN_BLOCKS = 5
LATE = 0.5
"""In a block that was collected at one time, the newest date is half as old as the tenth newest in one of 500 cases only."""
LONGEST = 0.25
"""A collection does not last longer than this part of the median age of a block's repositories [share]."""
LATE_BLOCKS, ROUGHNESS = 0.2, 0.5
"""Fewer late blocks add nothing to R²; in tables whose rows were collected in any order, the roughness is 0.8 or more."""
P_VALUE, PERMUTATIONS = 0.001, 4_000


@dataclass(frozen=True)
class LateBlocks:
    """Blocks of rows in an order whose newest date is too old: their share, and whether the dates follow the order.

    ``roughness`` is 0 if the ages of neighboring blocks are equal and 1 if they have no order; ``p_value`` is the share of random
    orders that have so little of it.
    """

    share: float
    roughness: float
    p_value: float

    @property
    def follow_order(self) -> bool:
        """Return whether so many blocks were collected one after another that it matters to predictions."""
        return self.share >= LATE_BLOCKS and self.roughness <= ROUGHNESS and self.p_value <= P_VALUE


def find_late_blocks(ages: np.ndarray, order: np.ndarray, since_creation: np.ndarray) -> LateBlocks:
    """Compare the newest dates of blocks of rows.

    If all rows were collected when the ages say, some repository of any block was changed a moment before: the youngest age of
    many is small against the tenth youngest. If the blocks were collected one after another, and the ages are those of the end,
    nothing in a block is younger than its collection. Repositories that were abandoned soon after their creation have no recent
    change either: a block whose newest change is old in comparison with its repositories is not late.

    Parameters
    ----------
    ages, since_creation : array of float, shape (n,)
        Time from a change and from the creation of the repository to the fetch time [days], NaN if unknown.
    order : array of int, shape (n,)
        The rows in the order in which they may have been collected.

    Examples
    --------
    >>> ages, rows = np.random.default_rng(0).exponential(size=3000), np.arange(3000)
    >>> unknown = np.full(3000, np.nan)
    >>> find_late_blocks(ages, rows, unknown).share, find_late_blocks(ages + rows, rows, unknown).share > 0.9
    (0.0, True)
    """
    order = order[~np.isnan(ages[order])]
    ordered = ages[order]
    n_blocks = len(ordered) // BLOCK if len(ordered) >= BLOCK * MIN_BLOCKS * 2 else len(ordered) * 2 // BLOCK
    if n_blocks < MIN_BLOCKS:
        return LateBlocks(0.0, 1.0, 1.0)
    newest = np.array([np.sort(block)[:NEWEST] for block in np.array_split(ordered, n_blocks)])
    first, last = newest[:, 0], newest[:, -1]
    begin = np.quantile(first, 0.05)  # the end of the collection, except for a few rows that were collected again
    median = np.array([_median(block) for block in np.array_split(since_creation[order], n_blocks)])
    is_late = (last > begin) & (first - begin > LATE * (last - begin)) & ~(first > LONGEST * median)
    if is_late.sum() < MIN_BLOCKS:
        return LateBlocks(float(is_late.mean()), 1.0, 1.0)
    return LateBlocks(float(is_late.mean()), *_measure_roughness(first[is_late]))


def _median(values: np.ndarray) -> float:
    """Return the median of the known values, NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def _measure_roughness(ages: np.ndarray) -> tuple[float, float]:
    """Return von Neumann's ratio of the ranks of ages, and the share of their permutations that have a smaller one."""
    ranks = pd.Series(ages).rank().to_numpy()
    if np.ptp(ranks) == 0.0:
        return 1.0, 1.0
    random = np.random.default_rng(len(ranks))
    orders = np.vstack([ranks, random.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)])
    ratios = np.mean(np.diff(orders, axis=1) ** 2, axis=1) / 2.0 / ranks.var(ddof=1)
    return float(ratios[0]), float(np.mean(ratios <= ratios[0]))
