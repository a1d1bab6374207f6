"""CatBoost models as plain tables: loaded and evaluated without CatBoost, whose parsers trust their input.

All nodes on one level of an oblivious tree share a split, so the split results are the bits of the leaf index and a
model is five tables. CatBoost's binary format, changed at random, crashed the process in one of a hundred cases; tables
are validated by their shapes.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from stargaze.bundle.manifest import MALFORMED, MAX_OUTPUT, BadBundleError

KIND = "catboost"
BATCH_CELLS = 2_000_000
"""Expected values that are computed at once, one for each tree, leaf and set of known levels (16 MB)."""
BATCH_ROWS = 256
"""Rows per batch of contributions: 22 MB with 1,200 trees of 8 levels."""
TABLES = {"features": "int64", "borders": "float32", "codes": "bool", "leaves": "float64", "weights": "float64"}
MAX_DEPTH = 10
"""Levels; CatBoost recommends at most 10, and a tree has 2 ** levels leaves."""


@dataclass(frozen=True)
class CatboostModel:
    """A fitted model; ``bias`` is the base value of predictions [nat].

    ``features``, ``borders`` and ``codes`` have shape (n_trees, n_levels): the column of each level's split; the threshold
    above which a number sets the bit of the leaf index, infinity for a level that a tree lacks; and whether the column is a
    category, which sets the bit if it equals the border. The first level is the lowest bit. ``leaves`` and ``weights`` have
    shape (n_trees, 2 ** n_levels): the value of each leaf [nat], and the number of training rows in it.
    """

    n_features: int
    features: np.ndarray
    borders: np.ndarray
    codes: np.ndarray
    leaves: np.ndarray
    weights: np.ndarray
    bias: float

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the inverse of :meth:`to_bytes`; raise BadBundleError if the bytes are malformed or the shapes do not fit."""
        try:
            values = json.loads(content)
            tables = {name: np.array(values[name], dtype=dtype) for name, dtype in TABLES.items()}
            model = cls(n_features=int(values["n_features"]), bias=float(values["bias"]), **tables)
        except MALFORMED as error:
            raise BadBundleError(f"not a CatBoost model: {error}") from error
        if not model._is_valid():
            raise BadBundleError("not a CatBoost model: its tables do not fit")
        return model

    def to_bytes(self) -> bytes:
        """Return the tables as JSON, which preserves every digit."""
        tables = {name: getattr(self, name).tolist() for name in TABLES}
        return json.dumps({"n_features": self.n_features, "bias": self.bias, **tables}).encode()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        values = np.take_along_axis(self.leaves, self._leaf_indices(inputs).T, axis=1)
        return np.asarray(self.bias + values.sum(axis=0))

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return exact Shapley values [nat], the last column the base value; shape (n, n_features + 1)."""
        (columns, values), leaves = self._leaf_contributions, self._leaf_indices(inputs)
        trees, width = np.arange(len(columns)), self.n_features + 1
        total = np.zeros((len(leaves), width))
        for start in range(0, len(leaves), BATCH_ROWS):
            part = leaves[start : start + BATCH_ROWS]
            cells = np.arange(len(part))[:, None, None] * width + columns
            added = np.bincount(cells.ravel(), values[trees, part].ravel(), minlength=len(part) * width)
            total[start : start + BATCH_ROWS] = added.reshape(len(part), width)
        total[:, -1] += self.bias
        return total

    def _leaf_indices(self, inputs: np.ndarray) -> np.ndarray:
        """Return the leaf index of each row in each tree; shape (n, n_trees)."""
        if np.ndim(inputs) != 2 or inputs.shape[1] != self.n_features:
            raise BadBundleError(f"the model cannot predict: it takes {self.n_features} features")
        values = np.asarray(inputs, dtype="float32")
        indices = np.zeros((len(values), len(self.features)), dtype="int16")
        for level, (features, borders, codes) in enumerate(
            zip(self.features.T, self.borders.T, self.codes.T, strict=True)
        ):
            column = values[:, features]  # one level at a time: all levels would take ten times the memory
            indices |= np.where(codes, column == borders, column > borders).astype("int16") << level
        return indices

    @cached_property
    def _leaf_contributions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of each tree and their contributions in each leaf.

        The shapes are (n_trees, n_levels + 1) and (n_trees, n_leaves, n_levels + 1); the last column is the base value, and so
        are unused places, which contribute 0.

        References
        ----------
        Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018.
        """
        split_columns = np.where(np.isfinite(self.borders), self.features, -1)
        n_trees, n_levels = split_columns.shape
        columns = np.full((n_trees, n_levels + 1), self.n_features, dtype="int64")
        contributions = np.zeros((n_trees, self.leaves.shape[1], n_levels + 1))
        size = max(1, BATCH_CELLS // 4**n_levels)
        for start in range(0, n_trees, size):
            batch = slice(start, start + size)
            expected = np.stack([self._expected(batch, known) for known in range(self.leaves.shape[1])], axis=1)
            for tree, (levels, values) in enumerate(zip(split_columns[batch].tolist(), expected, strict=True), start):
                own = list(dict.fromkeys(column for column in levels if column >= 0))
                pattern = tuple(own.index(column) if column >= 0 else -1 for column in levels)
                columns[tree, : len(own)] = own
                contributions[tree, :, : len(own) + 1] = (_shapley_weights(pattern) @ values).T
        return columns, contributions

    def _expected(self, trees: slice, known: int) -> np.ndarray:
        """Return the expected value at each leaf if only the levels in the bits of ``known`` are; shape (n_trees, n_leaves).

        An unknown level is averaged with the training rows of its branches as weights.
        """
        levels = self.features.shape[1]
        shape = (-1, *(2,) * levels)  # the first axis is the highest bit: the last level, which is CatBoost's root
        values, weights = self.leaves[trees].reshape(shape), self.weights[trees].reshape(shape)
        whole = values.shape
        for level, axis in enumerate(range(levels, 0, -1)):
            if not known >> level & 1:
                below = weights.sum(axis=tuple(range(axis + 1, levels + 1)), keepdims=True)
                both = below.sum(axis=axis, keepdims=True)
                share = np.divide(below, both, out=np.full(below.shape, 0.5), where=both > 0)
                values = (values * share).sum(axis=axis, keepdims=True)
        return np.broadcast_to(values, whole).reshape(len(weights), -1)

    def _is_valid(self) -> bool:
        if self.features.ndim != 2 or not 1 <= self.features.shape[1] <= MAX_DEPTH:
            return False
        n_trees, levels = self.features.shape
        return bool(
            self.borders.shape == self.codes.shape == (n_trees, levels)
            and self.leaves.shape == self.weights.shape == (n_trees, 2**levels)
            and ((self.features >= 0) & (self.features < self.n_features)).all()
            and np.abs(self.leaves).max(axis=1).sum() + abs(self.bias) <= MAX_OUTPUT
            and ((self.weights >= 0) & (self.weights <= 1e15)).all()
            and (self.borders > -np.inf).all()
        )


@functools.lru_cache(maxsize=4096)
def _shapley_weights(pattern: tuple[int, ...]) -> np.ndarray:
    """Return the weights of Shapley's formula for a tree, given the number of each level's column, from 0 on, -1 for no split.

    Rows are the columns and, last, the base value; columns are the sets of known levels, as bits.
    """
    columns = range(max(pattern) + 1)
    n = len(columns)
    weights = np.zeros((n + 1, 2 ** len(pattern)))
    weights[-1, 0] = 1.0
    levels = {column: sum(1 << level for level, split in enumerate(pattern) if split == column) for column in columns}
    for row, column in enumerate(columns):
        others = [levels[other] for other in columns if other != column]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for known in map(sum, itertools.combinations(others, size)):
                weights[row, known | levels[column]] += weight
                weights[row, known] -= weight
    return weights


def from_catboost(model: Any, columns: list[tuple[int, float | None]], n_features: int) -> CatboostModel:
    """Return the tables of a model in CatBoost's JSON format.

    ``columns`` maps each CatBoost column to one of ours and, for a category, to the code that the column stands for.
    """
    trees = model["oblivious_trees"]
    levels = max(1, *(len(tree["splits"] or []) for tree in trees))
    features, borders = np.zeros((len(trees), levels), dtype="int64"), np.full((len(trees), levels), np.inf, "float32")
    codes = np.zeros((len(trees), levels), dtype="bool")
    leaves, weights = np.zeros((len(trees), 2**levels)), np.zeros((len(trees), 2**levels))
    flat = [item["flat_feature_index"] for item in model["features_info"]["float_features"]]
    for row, tree in enumerate(trees):
        for level, split in enumerate(tree["splits"] or []):
            column, code = columns[flat[split["float_feature_index"]]]
            features[row, level], codes[row, level] = column, code is not None
            borders[row, level] = split["border"] if code is None else code
        leaves[row, : len(tree["leaf_values"])] = tree["leaf_values"]
        weights[row, : len(tree["leaf_weights"])] = tree["leaf_weights"]
    scale, bias = model["scale_and_bias"]
    return CatboostModel(n_features, features, borders, codes, leaves * scale, weights, float(bias[0]))
