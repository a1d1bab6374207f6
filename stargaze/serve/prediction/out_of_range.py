"""What of a repository lies outside everything that the models were fitted on: there they guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.bundle.star_bundle import Bundle
from stargaze.features.catalog import CATALOG
from stargaze.features.split import assign_folds
from stargaze.serve.prediction.labels import label_of, value_of

MOST = 8
"""What is named of one repository; the farthest outside first."""


@dataclass(frozen=True)
class Range:
    """Where the training repositories lie in the features of one policy; shapes (n_numbers,)."""

    names: tuple[str, ...]
    places: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seen: Mapping[str, frozenset[str]]
    """For each category its values in lower case."""


class TrainingRanges:
    """Ranges of the training repositories that travel with a bundle, for each policy; found once, then kept."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._of: dict[str, Range] = {}

    def of(self, policy: str) -> Range:
        """Return the ranges of the features of one policy.

        What is learned from other repositories is left out: nobody tells it, and a training row's own stars are in it.
        """
        if policy not in self._of:
            self._of[policy] = self._found(policy)
        return self._of[policy]

    def beyond(
        self, features: np.ndarray, policy: str, records: Sequence[Mapping[str, Any]]
    ) -> list[list[dict[str, str]]]:
        """Return what of each row lies outside.

        Parameters
        ----------
        features : array, shape (n, n_columns)
            As :meth:`stargaze.bundle.star_bundle.Bundle.features` computes them.
        policy : str
            The one that the rows were answered under.
        records : sequence of mapping
            What the rows say in words, at least of the categories.

        Returns
        -------
        list of list of dict
            ``label``, ``value``, and ``low`` and ``high``, which are empty for a value that was never seen.
        """
        own = self.of(policy)
        values = features[:, own.places]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            outside = np.maximum(own.low - values, values - own.high)
            far = np.where(outside > 0, outside / (own.high - own.low), 0.0)
        return [self._named(own, row, record, value) for row, record, value in zip(far, records, values, strict=True)]

    def _named(
        self, own: Range, far: np.ndarray, record: Mapping[str, Any], values: np.ndarray
    ) -> list[dict[str, str]]:
        unseen = [
            {"label": label_of(name), "value": str(record[name]), "low": "", "high": ""}
            for name, seen in own.seen.items()
            if record.get(name) is not None and str(record[name]).casefold() not in seen
        ]
        places = [place for place in np.argsort(-far, kind="stable").tolist() if far[place] > 0]
        numbers = [
            {
                "label": label_of(own.names[place]),
                "value": value_of(own.names[place], float(values[place])),
                "low": value_of(own.names[place], float(own.low[place])),
                "high": value_of(own.names[place], float(own.high[place])),
            }
            for place in places[:MOST]
        ]
        return (numbers + unseen)[:MOST]

    def _found(self, policy: str) -> Range:
        bundle = self._bundle
        training = np.flatnonzero(assign_folds(bundle.known["full_name"], bundle.split) >= 0)
        told = [name for name in bundle.meta["features"][policy] if not CATALOG[name].learned]
        names = [name for name in told if CATALOG[name].kind != "category"]
        values = bundle.known_features[training][:, [bundle.columns.index(name) for name in names]]
        there = ~np.isnan(values)
        some = there.any(axis=0)
        chosen = [name for name, is_known in zip(names, some, strict=True) if is_known]
        return Range(
            tuple(chosen),
            np.array([bundle.columns.index(name) for name in chosen], dtype="int64"),
            np.where(there, values, np.inf).min(axis=0, initial=np.inf)[some],
            np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)[some],
            {
                name: frozenset(bundle.known[name].iloc[training].dropna().str.casefold())
                for name in told
                if CATALOG[name].kind == "category"
            },
        )
