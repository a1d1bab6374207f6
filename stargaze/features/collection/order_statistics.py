"""Statistics of columns that repeat an order in which records were collected, such as that of the stars.

An honest column says something of the stars, with noise: rows next to each other in it have stars as different as all rows of the
same part of its range. In a column that counts the rows of a table ordered by stars, or has the minute in which each row was
collected, neighbors have nearly equal stars. That is why all of these statistics compare neighbors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WINDOW, MIN_WINDOW = 48, 16
"""Rows that are compared with their neighbors, and the least in small tables."""
WINDOWS = 8
"""The least number of windows of a table: in a larger part of its range, any column orders the stars."""
MIN_WINDOWS = 6
"""Fewer windows with different values say nothing about a column."""
MIN_JUDGED = 0.1
"""A column whose values differ in fewer of its windows is not judged by them [share]."""
MIN_PAIRS = 12
"""Neighbors of a window that have different values."""
MIN_EQUAL = 5
"""Rows with an equal value, of which the mean says something."""
MIN_EQUAL_ROWS = 0.25
"""The least share of the rows that is compared by equal values; in the rest, the values are the tail of any count."""
MIN_OUTSIDE = 20
"""Rows beside those of the largest group, of which the order says something."""
NEIGHBORS = 5
"""Rows on each side of a row that predict its stars."""
CLOSE = 0.1
"""Rows whose stars differ by less are compared by their order [nat]: an honest column cannot tell them apart."""
LAGS = 3
"""Rows that are compared with each row that precedes them."""
MIN_PAGES = 5
"""Fewer pages say nothing about their length."""
SAME_STEPS = 0.9
"""The share of equal steps in a column of row numbers."""
LENGTHS = 0.2
"""The relative standard deviation of the lengths of pages."""


@dataclass(frozen=True)
class Similarity:
    """How similar the targets of neighbors are: 0 for any column without order, 1 in complete order; and the number of pairs."""

    value: float
    pairs: int

    def exceeds(self, threshold: float) -> bool:
        """Return whether it is above a threshold and far from chance: five standard errors."""
        return self.pairs > 0 and self.value >= max(threshold, 5.0 / np.sqrt(self.pairs))


NOT_JUDGED = Similarity(0.0, 0)


def neighbor_similarity(values: np.ndarray, target: np.ndarray, groups: np.ndarray | None = None) -> Similarity:
    """Measure how similar the targets of rows are that are neighbors in a column.

    In each window of rows in the order of the column this is one minus half the mean squared difference of neighbors, relative to
    the variance. Rows with equal values are no neighbors.

    Parameters
    ----------
    values, target : array of float, shape (n,)
        The column, NaN where missing, and log1p(stars) [nat].
    groups : array of int, shape (n,), optional
        Rows are neighbors only within a group of rows.

    References
    ----------
    von Neumann, Distribution of the ratio of the mean square successive difference to the variance, 1941.

    Examples
    --------
    >>> stars = np.random.default_rng(0).normal(size=1000)
    >>> neighbor_similarity(np.argsort(np.argsort(stars)).astype("float64"), stars).value > 0.9
    True
    >>> abs(neighbor_similarity(stars + np.random.default_rng(1).normal(size=1000), stars).value) < 0.1
    True
    """
    group = np.zeros(len(values), dtype="int64") if groups is None else groups
    known = ~np.isnan(values)
    known &= np.bincount(group[known], minlength=group.max(initial=0) + 1)[group] >= MIN_WINDOW * WINDOWS
    if not known.any():
        return NOT_JUDGED
    values, target, group = values[known], target[known], group[known]
    order = np.lexsort((_shuffled(len(values)), values, group))
    values, target, group = values[order], target[order], group[order]
    window = _split_into_windows(group)
    n_windows = int(window[-1]) + 1
    is_pair = (window[1:] == window[:-1]) & (values[1:] != values[:-1])
    pairs = np.bincount(window[1:][is_pair], minlength=n_windows)
    differences = np.bincount(window[1:][is_pair], (np.diff(target)[is_pair]) ** 2 / 2.0, n_windows)
    size = np.bincount(window, minlength=n_windows)
    mean = np.bincount(window, target, n_windows) / size
    variance = np.bincount(window, (target - mean[window]) ** 2, n_windows) / (size - 1)
    used = (pairs >= np.minimum(MIN_PAIRS, size // 2)) & (variance > 1e-9)
    if used.sum() < max(MIN_WINDOWS, MIN_JUDGED * n_windows):
        return NOT_JUDGED
    pairs, differences, variance = pairs[used], differences[used], variance[used]
    pooled = 1.0 - differences.sum() / (variance * pairs).sum()
    mean_of_windows = 1.0 - np.average(differences / pairs / variance, weights=pairs)
    return Similarity(float(min(pooled, mean_of_windows)), int(pairs.sum()))


def _split_into_windows(group: np.ndarray) -> np.ndarray:
    """Return the window of each row of sorted groups, in order from 0."""
    starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    sizes = np.diff(starts, append=len(group))
    counts = np.maximum(sizes // WINDOW, WINDOWS)
    first = np.cumsum(counts) - counts
    within = np.arange(len(group)) - np.repeat(starts, sizes)
    window: np.ndarray = np.repeat(first, sizes) + within * np.repeat(counts, sizes) // np.repeat(sizes, sizes)
    return window


def value_similarity(values: np.ndarray, target: np.ndarray) -> float:
    """Return the share of the target's variance that equal values explain among eight values next to each other.

    This finds what :func:`neighbor_similarity` cannot: columns that many rows share, as the page or the minute of the collection.
    0 if there are too few such values, or if eight are an eighth of the rows.

    Examples
    --------
    >>> stars = np.tile(np.arange(1000.0), 20)  # twenty parts in order of stars
    >>> value_similarity(np.arange(20_000.0) // 50, stars) > 0.9, value_similarity(stars % 100, stars) < 0.1
    (True, True)
    """
    known = ~np.isnan(values)
    _, value, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    is_frequent = counts >= MIN_EQUAL
    n_values = int(is_frequent.sum())
    if n_values < WINDOWS:
        return 0.0
    n_blocks = n_values // WINDOWS
    rows = is_frequent[value]
    value, target = (np.cumsum(is_frequent) - 1)[value[rows]], target[known][rows]
    block_of_value = np.arange(n_values) * n_blocks // n_values
    block = block_of_value[value]
    size = np.bincount(block, minlength=n_blocks)
    deviation = np.bincount(block, _squared_deviation(target, value), n_blocks)
    within = deviation / np.maximum(size - np.bincount(block_of_value), 1)
    total = np.bincount(block, _squared_deviation(target, block), n_blocks) / (size - 1)
    used = (size <= known.sum() / WINDOWS + 1) & (total > 1e-9)
    if used.sum() < 2 or size[used].sum() < MIN_EQUAL_ROWS * known.sum():
        return 0.0
    return float(1.0 - (within * size)[used].sum() / (total * size)[used].sum())


def _squared_deviation(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the squared distance of each value from the mean of its group."""
    mean = np.bincount(group, values) / np.maximum(np.bincount(group), 1)
    deviation: np.ndarray = (values - mean[group]) ** 2
    return deviation


def rank_agreement(groups: np.ndarray, target: np.ndarray) -> float:
    """Measure whether groups are parts of the order of the target, as its quartiles are: Cohen's kappa, 1 for exact parts.

    Each row has the group that it would have if the groups followed one another in this order. Rows with equal targets have a
    random order. 0 if fewer than :data:`MIN_OUTSIDE` rows are in no large group.

    Parameters
    ----------
    groups : array of int from 0, shape (n,)

    References
    ----------
    Cohen, A coefficient of agreement for nominal scales, 1960.

    Examples
    --------
    >>> stars = np.random.default_rng(0).permutation(1000).astype("float64")
    >>> rank_agreement((stars > 700).astype("int64"), stars)
    1.0
    >>> abs(rank_agreement((stars % 7 > 4).astype("int64"), stars)) < 0.1
    True
    """
    sizes = np.bincount(groups)
    if len(groups) - sizes.max() < MIN_OUTSIDE or len(groups) < MIN_EQUAL * np.count_nonzero(sizes):
        return 0.0
    by_mean = np.argsort(np.bincount(groups, target) / np.maximum(sizes, 1), kind="stable")
    in_order = groups[np.lexsort((_shuffled(len(target)), target))]
    equal = float(np.mean(in_order == np.repeat(by_mean, sizes[by_mean])))
    by_chance = float(np.sum((sizes / len(groups)) ** 2))
    return (equal - by_chance) / (1.0 - by_chance)


def r2_of_neighbors(values: np.ndarray, target: np.ndarray) -> float:
    """Return R² of the target that the neighbors in one column predict without the row itself; shape (n,), NaN where missing.

    Examples
    --------
    >>> stars = np.arange(1000.0)
    >>> round(r2_of_neighbors(np.floor(stars / 100.0), stars), 2)
    0.99
    """
    known = ~np.isnan(values)
    values, target = values[known], target[known]
    if len(values) < 4 * NEIGHBORS or np.ptp(target) == 0.0:
        return 0.0
    ordered = target[np.lexsort((_shuffled(len(values)), values))]
    width = 2 * NEIGHBORS + 1
    padded = np.pad(ordered, NEIGHBORS, mode="reflect")
    sums = np.convolve(padded, np.ones(width), mode="valid") - ordered
    return float(1.0 - np.mean((ordered - sums / (width - 1)) ** 2) / ordered.var())


def row_concordance(values: np.ndarray, target: np.ndarray, position: np.ndarray) -> Similarity:
    """Measure how often a column orders rows like the target, of rows next to each other in the files; from 0 to 1.

    Only rows with nearly equal stars are compared; an honest column orders half of them like the stars. This finds numbers that
    begin again in each part of a table, as the position within the results of each language.

    Examples
    --------
    >>> stars, rows = np.sort(np.random.default_rng(0).normal(size=1000)), np.arange(1000)
    >>> row_concordance(rows % 300.0, stars, rows).value > 0.9
    True
    """
    order = np.argsort(position, kind="stable")
    run = np.cumsum(
        np.diff(target[order], prepend=target[order[0]]) != 0
    )  # rows with equal stars may have another order
    order = order[np.lexsort((_shuffled(len(order)), run))]
    values, target = values[order], target[order]
    signs = []
    for lag in range(1, LAGS + 1):
        steps, changes = values[lag:] - values[:-lag], target[lag:] - target[:-lag]
        is_pair = ~np.isnan(steps) & (steps != 0) & (changes != 0) & (np.abs(changes) <= CLOSE)
        signs.append(np.sign(steps[is_pair]) * np.sign(changes[is_pair]))
    all_signs = np.concatenate(signs)
    if len(all_signs) < LAGS * MIN_WINDOWS * MIN_PAIRS:
        return NOT_JUDGED
    return Similarity(float(abs(all_signs.mean())), len(all_signs) // LAGS)


def counts_rows(values: np.ndarray, position: np.ndarray) -> bool:
    """Return whether a column is a number of rows or pages: equal steps from row to row, or from page to page of equal length.

    Examples
    --------
    >>> rows = np.arange(100)
    >>> counts_rows(7.0 + 3.0 * rows, rows), counts_rows(1.0 + rows // 10, rows), counts_rows(np.sqrt(rows), rows)
    (True, True, False)
    """
    order = np.argsort(position, kind="stable")
    values, position = values[order], position[order].astype("float64")
    known = ~np.isnan(values)
    values, position = values[known], position[known]
    if len(values) < MIN_WINDOWS * MIN_PAIRS:
        return False
    steps, distances = np.diff(values), np.diff(position)
    per_row = np.median(steps / distances)
    if per_row != 0.0 and np.mean(steps == per_row * distances) >= SAME_STEPS:
        return True
    starts = np.flatnonzero(steps != 0.0) + 1
    if len(starts) < MIN_PAGES or len(np.unique(steps[starts - 1])) > 1:
        return False
    lengths = np.diff(position[starts])
    return bool(lengths.std() <= LENGTHS * lengths.mean())


def _shuffled(n_rows: int) -> np.ndarray:
    """Return the rows in a random order that is the same each time: rows with equal values have none."""
    return np.random.default_rng(n_rows).permutation(n_rows)
