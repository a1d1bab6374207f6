"""Similar repositories: the known repositories that reach the same leaves of the model's trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import append_prediction
from stargaze.bundle.serialization import LeafModel
from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions

MAX_NEIGHBORS = 5
N_TREES = 128
"""Trees that are compared, spread evenly over all: a similarity is then right to 4%, and 14,000 repositories take 2 MB."""
BATCH_SIZE = 250
"""Known repositories whose leaves are computed at once; LightGBM writes 8 bytes for each of up to 3,000 trees [rows]."""


class LeafIndex:
    """The leaves that the known repositories reach, computed once for each policy."""

    def __init__(self, bundle: Bundle, exclusions: Exclusions = NO_EXCLUSIONS) -> None:
        self._bundle = bundle
        self._names = [str(name).lower() for name in bundle.known["full_name"]]
        self._stars = bundle.known["stars"].to_numpy()
        self._is_shown = np.array([not exclusions.match(name) for name in self._names], dtype=bool)
        self._known: dict[str, np.ndarray | None] = {}

    def prepare(self, policy: str) -> None:
        """Compute the leaves for repositories that are predicted under this policy."""
        self._known_leaves(policy)

    def nearest(self, features: np.ndarray, policy: str, names: list[str]) -> list[list[dict[str, Any]]]:
        """Return the known repositories that share most leaves with each row, without itself and excluded ones.

        There are none without a model of trees or without known repositories.
        ``features`` are all columns of the bundle, ``policy`` is that of the predictions.
        """
        known = self._known_leaves(policy)
        if known is None or not known.size:
            return [[] for _ in names]
        rows = self._leaves(features, policy)
        assert rows is not None  # noqa: S101 - the same models computed the known leaves
        return [
            self._rank(same_leaf_share(known, row) * self._is_shown, name.lower())
            for row, name in zip(rows, names, strict=True)
        ]

    def _rank(self, similarity: np.ndarray, own_name: str) -> list[dict[str, Any]]:
        most = min(MAX_NEIGHBORS + 1, len(similarity))
        threshold = np.partition(similarity, -most)[-most] if most else 0.0
        candidates = np.flatnonzero(similarity >= threshold)
        order = candidates[np.lexsort((candidates, -self._stars[candidates], -similarity[candidates]))]
        others = [row for row in order.tolist() if self._names[row] != own_name and similarity[row] > 0]
        names = self._bundle.known["full_name"]
        return [
            {
                "full_name": str(names.iloc[row]),
                "actual_stars": None if np.isnan(self._stars[row]) else float(self._stars[row]),
                "similarity": round(float(similarity[row]), 3),
            }
            for row in others[:MAX_NEIGHBORS]
        ]

    def _known_leaves(self, policy: str) -> np.ndarray | None:
        if policy not in self._known:
            leaves = self._leaves(self._bundle.known_features, policy)
            self._known[policy] = None if leaves is None else _compact(leaves.T)
        return self._known[policy]

    def _leaves(self, features: np.ndarray, policy: str) -> np.ndarray | None:
        """Return leaves of shape (n, at most N_TREES); None if no model consists of trees."""
        inputs, models = self._tree_models(features, policy)
        if not models:
            return None
        parts = []
        for begin in range(0, len(inputs), BATCH_SIZE):
            leaves = np.hstack([model.leaf_indices(inputs[begin : begin + BATCH_SIZE]) for model in models])
            trees = np.unique(np.linspace(0, leaves.shape[1] - 1, N_TREES).round().astype("int64"))
            parts.append(leaves[:, trees].astype("uint16"))
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype="uint16")

    def _tree_models(self, features: np.ndarray, policy: str) -> tuple[np.ndarray, list[LeafModel]]:
        """Return the tree models whose leaves are compared, and their inputs."""
        bundle = self._bundle
        members: list[LeafModel] = [model for model in bundle.models[policy].models if isinstance(model, LeafModel)]
        spread = bundle.spreads[policy]
        if members or not isinstance(spread, LeafModel):
            return bundle.select_inputs(features, policy), members
        inputs = bundle.select_inputs(features, policy)
        return append_prediction(inputs, bundle.predict(inputs, policy)), [spread]


def _compact(leaves: np.ndarray) -> np.ndarray:
    fits = leaves.max(initial=0) <= np.iinfo("uint8").max  # the search goes to 95 leaves
    return np.ascontiguousarray(leaves, dtype="uint8" if fits else "uint16")


def same_leaf_share(known: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """Return for each known repository the share of trees in which it reaches the same leaf.

    The shapes are (n_trees, n_known), (n_trees,) and (n_known,).

    >>> same_leaf_share(np.array([[0, 1, 1], [2, 2, 3]]), np.array([1, 2])).tolist()
    [0.5, 1.0, 0.5]
    """
    matches = np.zeros(known.shape[1], dtype="uint16")
    for tree, leaf in zip(known, leaves, strict=True):
        matches += tree == leaf
    return matches / max(len(known), 1)
