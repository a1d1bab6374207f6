"""CatBoost's models as tables of our own: read and asked without CatBoost, whose readers trust what they are given.

CatBoost's trees ask the same question of all rows on a level, so that the answers are the bits of a leaf's number, and a
model is five tables. Its binary format, changed at random, ended the process in one of a hundred cases; tables are checked
by their shapes.
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

from stargaze.bundle.manifest import BadBundleError

KIND = "catboost"
AT_ONCE = 32
"""Trees whose contributions are found together: enough for NumPy, few enough for the memory (17 MB at 8 levels)."""
DEEPEST = 10
"""Levels; CatBoost advises up to 10, and a tree has 2 ** levels leaves."""


@dataclass(frozen=True)
class Oblivious:
    """A fitted model.

    Attributes
    ----------
    n_features : int
    features : array of int, shape (n_trees, n_levels)
        The column that a level asks about; the first level is the lowest bit of the leaf.
    borders : array of float32, shape (n_trees, n_levels)
        A number answers yes above it; a level that a tree lacks asks for more than infinity.
    codes : array of bool, shape (n_trees, n_levels)
        Whether the column is a category, which answers yes if it is the border.
    leaves, weights : array of float, shape (n_trees, 2 ** n_levels)
        What a leaf adds [nat], and how many rows it was fitted on.
    bias : float
        Where predictions start [nat].
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
        """Read what :meth:`to_bytes` wrote.

        Raises
        ------
        BadBundleError
            If it is none, or its tables do not fit each other.
        """
        try:
            told = json.loads(content)
            model = cls(
                int(told["n_features"]),
                np.array(told["features"], dtype="int64"),
                np.array(told["borders"], dtype="float32"),
                np.array(told["codes"], dtype="bool"),
                np.array(told["leaves"], dtype="float64"),
                np.array(told["weights"], dtype="float64"),
                float(told["bias"]),
            )
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise BadBundleError(f"not a CatBoost model: {error}", hint="stargaze tune makes a bundle") from error
        if not model._fits():
            raise BadBundleError("not a CatBoost model: its tables do not fit", hint="stargaze tune makes a bundle")
        return model

    def to_bytes(self) -> bytes:
        """Return the tables as JSON, which holds every digit."""
        tables = {name: getattr(self, name).tolist() for name in ("features", "borders", "codes", "leaves", "weights")}
        return json.dumps({"n_features": self.n_features, "bias": self.bias, **tables}).encode()

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predict log1p(stars) [nat]; shape (n,)."""
        reached = self._reached(inputs)
        added = np.take_along_axis(self.leaves, reached.T, axis=1)
        return np.asarray(self.bias + added.sum(axis=0))

    def contributions(self, inputs: np.ndarray) -> np.ndarray:
        """Return exact Shapley values [nat], the last column where they start from; shape (n, n_features + 1)."""
        total = np.zeros((len(inputs), self.n_features + 1))
        total[:, -1] = self.bias
        for (columns, added), leaf in zip(self._shares, self._reached(inputs).T, strict=True):
            total[:, columns] += added[:, leaf].T
        return total

    def _reached(self, inputs: np.ndarray) -> np.ndarray:
        """Return the leaf of each row in each tree; shape (n, n_trees)."""
        if np.ndim(inputs) != 2 or inputs.shape[1] != self.n_features:
            raise BadBundleError(
                f"the model cannot predict: it takes {self.n_features} features", hint="stargaze tune makes a bundle"
            )
        values = np.asarray(inputs, dtype="float32")
        reached = np.zeros((len(values), len(self.features)), dtype="int16")
        for level, (features, borders, codes) in enumerate(
            zip(self.features.T, self.borders.T, self.codes.T, strict=True)
        ):
            asked = values[:, features]  # a level at a time: all of them would take ten times the memory
            reached |= np.where(codes, asked == borders, asked > borders).astype("int16") << level
        return reached

    @cached_property
    def _shares(self) -> list[tuple[list[int], np.ndarray]]:
        """Return for each tree the columns that it asks about and -1, and what each adds in each leaf; (n_columns, n_leaves).

        References
        ----------
        Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018.
        """
        asked = np.where(np.isfinite(self.borders), self.features, -1)
        shares = []
        for begin in range(0, len(asked), AT_ONCE):
            some = slice(begin, begin + AT_ONCE)
            worth = np.stack([self._expected(some, known) for known in range(self.leaves.shape[1])], axis=1)
            for levels, of_tree in zip(asked[some].tolist(), worth, strict=True):
                columns, often = _formula(tuple(levels))
                shares.append((columns, often @ of_tree))
        return shares

    def _expected(self, trees: slice, known: int) -> np.ndarray:
        """Return what to expect in each leaf's place if only the levels that are bits of ``known`` are; (n_trees, n_leaves).

        A level that is not known is averaged over the rows that the tree was fitted on, as they fell at that place of it.
        """
        levels = self.features.shape[1]
        shape = (-1, *(2,) * levels)  # the first is the highest bit: the last level, which CatBoost takes for the root
        values, weights = self.leaves[trees].reshape(shape), self.weights[trees].reshape(shape)
        whole = values.shape
        for level, axis in enumerate(range(levels, 0, -1)):
            if not known >> level & 1:
                below = weights.sum(axis=tuple(range(axis + 1, levels + 1)), keepdims=True)
                both = below.sum(axis=axis, keepdims=True)
                share = np.divide(below, both, out=np.full(below.shape, 0.5), where=both > 0)
                values = (values * share).sum(axis=axis, keepdims=True)
        return np.broadcast_to(values, whole).reshape(len(weights), -1)

    def _fits(self) -> bool:
        if self.features.ndim != 2 or not 1 <= self.features.shape[1] <= DEEPEST:
            return False
        n_trees, levels = self.features.shape
        return bool(
            self.borders.shape == self.codes.shape == (n_trees, levels)
            and self.leaves.shape == self.weights.shape == (n_trees, 2**levels)
            and ((self.features >= 0) & (self.features < self.n_features)).all()
            and np.isfinite(self.leaves).all()
            and np.isfinite(self.weights).all()
            and (self.weights >= 0).all()
            and (self.borders > -np.inf).all()
            and math.isfinite(self.bias)
        )


@functools.lru_cache(maxsize=4096)
def _formula(asked: tuple[int, ...]) -> tuple[list[int], np.ndarray]:
    """Return Shapley's formula for a tree by the column that each level asks about, -1 for none.

    Its rows are the columns and, last, where the tree starts from; its columns are the sets of levels that are known, as bits.
    """
    columns = sorted(set(asked) - {-1})
    n = len(columns)
    often = np.zeros((n + 1, 2 ** len(asked)))
    often[-1, 0] = 1.0
    levels = {column: sum(1 << level for level, of in enumerate(asked) if of == column) for column in columns}
    for row, column in enumerate(columns):
        others = [levels[other] for other in columns if other != column]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for known in map(sum, itertools.combinations(others, size)):
                often[row, known | levels[column]] += weight
                often[row, known] -= weight
    return [*columns, -1], often


def from_catboost(model: Any, columns: list[tuple[int, float | None]], n_features: int) -> Oblivious:
    """Take the tables out of what CatBoost wrote as JSON; ``columns`` says of each of its columns which of ours it was.

    A column of ours that is a category was one of CatBoost's for each of its codes, which stands beside it.
    """
    trees = model["oblivious_trees"]
    levels = max(1, *(len(tree["splits"] or []) for tree in trees))
    features, borders = np.zeros((len(trees), levels), dtype="int64"), np.full((len(trees), levels), np.inf, "float32")
    codes = np.zeros((len(trees), levels), dtype="bool")
    leaves, weights = np.zeros((len(trees), 2**levels)), np.zeros((len(trees), 2**levels))
    flat = [item["flat_feature_index"] for item in model["features_info"]["float_features"]]
    for row, tree in enumerate(trees):
        for level, split in enumerate(tree["splits"] or []):
            place, code = columns[flat[split["float_feature_index"]]]
            features[row, level], codes[row, level] = place, code is not None
            borders[row, level] = split["border"] if code is None else code
        leaves[row, : len(tree["leaf_values"])] = tree["leaf_values"]
        weights[row, : len(tree["leaf_weights"])] = tree["leaf_weights"]
    scale, bias = model["scale_and_bias"]
    return Oblivious(n_features, features, borders, codes, leaves * scale, weights, float(bias[0]))
