"""Which known repositories are like the one that was asked for: those that the model's trees cannot tell from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import with_predicted
from stargaze.bundle.serialization import Leaved
from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES

MOST = 5
"""Similar repositories that are named."""
TREES = 128
"""Trees that are asked, evenly over all of them: a likeness is then right to 4 %, and 14,000 known take 2 MB."""
AT_ONCE = 250
"""Known repositories whose leaves are found together; LightGBM writes 8 bytes for each of up to 3,000 trees [rows]."""


class LeafIndex:
    """In which leaves the known repositories fall, for each policy; found once, then kept."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._names = [str(name).lower() for name in bundle.known["full_name"]]
        self._stars = bundle.known["stars"].to_numpy()
        self._known: dict[str, np.ndarray | None] = {}

    def prepare(self, answered: str) -> None:
        """Find the leaves that repositories answered under this policy are compared in."""
        self._of_known(answered)

    def near(self, features: np.ndarray, answered: str, names: list[str]) -> list[list[dict[str, Any]]]:
        """Return the nearest known repositories of each row, the nearest first and never the repository itself.

        Parameters
        ----------
        features : array, shape (n, n_columns)
            As :meth:`stargaze.bundle.star_bundle.Bundle.features` computes them.
        answered : str
            The policy that the rows were answered under.
        names : list of str
            Of the rows.

        Returns
        -------
        list of list of dict
            ``full_name``, ``stars`` and ``likeness``, the share of the trees in which both fall into the same leaf; at most
            :data:`MOST`, none if the bundle has no model of trees to ask.
        """
        known = self._of_known(answered)
        if known is None:
            return [[] for _ in names]
        asked = self._leaves(features, answered)
        assert asked is not None  # noqa: S101 - the same models told the leaves of the known ones
        return [self._nearest(shares(known, leaves), name.lower()) for leaves, name in zip(asked, names, strict=True)]

    def _nearest(self, likeness: np.ndarray, itself: str) -> list[dict[str, Any]]:
        most = min(MOST + 1, len(likeness))
        border = np.partition(likeness, -most)[-most] if most else 0.0
        within = np.flatnonzero(likeness >= border)
        order = within[np.lexsort((within, -self._stars[within], -likeness[within]))]
        chosen = [row for row in order.tolist() if self._names[row] != itself and likeness[row] > 0][:MOST]
        names = self._bundle.known["full_name"]
        return [
            {
                "full_name": str(names.iloc[row]),
                "stars": None if np.isnan(self._stars[row]) else float(self._stars[row]),
                "likeness": round(float(likeness[row]), 3),
            }
            for row in chosen
        ]

    def _of_known(self, answered: str) -> np.ndarray | None:
        if answered not in self._known:
            found = self._leaves(self._bundle.known_features, answered)
            self._known[answered] = None if found is None else _small(found.T)
        return self._known[answered]

    def _leaves(self, features: np.ndarray, answered: str) -> np.ndarray | None:
        """Return leaves of shape (n, at most TREES); None if no model has any."""
        inputs, models = self._asked(features, answered)
        if not models:
            return None
        parts = []
        for begin in range(0, len(inputs), AT_ONCE):
            told = np.hstack([model.reached(inputs[begin : begin + AT_ONCE]) for model in models])
            chosen = np.unique(np.linspace(0, told.shape[1] - 1, TREES).round().astype("int64"))
            parts.append(told[:, chosen].astype("uint16"))
        return np.concatenate(parts) if parts else np.zeros((0, 0), dtype="uint16")

    def _asked(self, features: np.ndarray, answered: str) -> tuple[np.ndarray, list[Leaved]]:
        """Return the models of trees whose leaves are compared, and what they are given."""
        bundle, policy = self._bundle, explanation_policy(self._bundle, answered)
        members: list[Leaved] = [model for model in bundle.models[policy].models if isinstance(model, Leaved)]
        spread = bundle.spreads[answered]
        if members or not isinstance(spread, Leaved):
            return bundle.given(features, policy), members
        inputs = bundle.given(features, answered)
        return with_predicted(inputs, bundle.predict(inputs, answered)), [spread]


def _small(leaves: np.ndarray) -> np.ndarray:
    fits = leaves.max(initial=0) <= np.iinfo("uint8").max  # the search goes to 95 leaves
    return np.ascontiguousarray(leaves, dtype="uint8" if fits else "uint16")


def explanation_policy(bundle: Bundle, answered: str) -> str:
    """Return the policy of explanations, or the one that a repository was answered under if that is narrower."""
    return POLICIES[min(POLICIES.index(bundle.meta["explain"]), POLICIES.index(answered))]


def shares(known: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """Return in which share of the trees each known repository falls into the same leaf.

    Parameters
    ----------
    known : array of int, shape (n_trees, n_known)
    leaves : array of int, shape (n_trees,)

    Returns
    -------
    array, shape (n_known,)

    Examples
    --------
    >>> shares(np.array([[0, 1, 1], [2, 2, 3]]), np.array([1, 2])).tolist()
    [0.5, 1.0, 0.5]
    """
    together = np.zeros(known.shape[1], dtype="uint16")
    for of_tree, leaf in zip(known, leaves, strict=True):
        together += of_tree == leaf
    return together / max(len(known), 1)
