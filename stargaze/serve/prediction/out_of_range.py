"""Values outside of the range of the training data, and repositories unlike the training ones: predictions are less reliable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.bundle.population_density import HONEST
from stargaze.bundle.star_bundle import Bundle
from stargaze.features.matrix import Catalog
from stargaze.features.schema import FIELD_BY_NAME
from stargaze.serve.prediction.labels import feature_label, format_distinct

MAX_LISTED = 8
"""Values listed for one repository, the farthest outside first."""


@dataclass(frozen=True)
class Range:
    """The range of the training repositories in the features of one policy; arrays of shape (n_numeric,)."""

    names: tuple[str, ...]
    columns: np.ndarray
    low: np.ndarray
    high: np.ndarray
    categories: Mapping[str, frozenset[str]]
    """For each categorical field or own column of the features its training values in lower case."""


class TrainingRanges:
    """Ranges of the bundle's training repositories, computed once for each policy."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._ranges: dict[str, Range] = {}

    def for_policy(self, policy: str) -> Range:
        """Return the ranges of the features of one policy.

        Features learned from other repositories are left out: nobody enters them, and they contain a training row's own stars.
        """
        if policy not in self._ranges:
            self._ranges[policy] = self._compute(policy)
        return self._ranges[policy]

    def find_outside(
        self, features: np.ndarray, policy: str, records: Sequence[Mapping[str, Any]]
    ) -> list[list[dict[str, str]]]:
        """Return ``label``, ``value``, ``low`` and ``high`` of values out of range; both ends are empty for a category.

        ``features`` are all columns of the bundle, ``policy`` is that of the predictions, ``records`` hold the categories.
        """
        ranges = self.for_policy(policy)
        values = features[:, ranges.columns]
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            excess = np.maximum(ranges.low - values, values - ranges.high)
            distance = np.where(excess > 0, excess / (ranges.high - ranges.low), 0.0)
        return [
            _list_outside(ranges, self._bundle.catalog, *row) for row in zip(distance, records, values, strict=True)
        ]

    def _compute(self, policy: str) -> Range:
        bundle, catalog = self._bundle, self._bundle.catalog
        training = np.flatnonzero(bundle.known_sets == "training")
        features = [name for name in bundle.meta["features"][policy] if not catalog[name].learned]
        numeric = [name for name in features if catalog[name].kind != "category"]
        values = bundle.known_features[training][:, [bundle.columns.index(name) for name in numeric]]
        is_known = ~np.isnan(values)
        has_values = is_known.any(axis=0)
        names = tuple(name for name, has_value in zip(numeric, has_values, strict=True) if has_value)
        sources = dict.fromkeys(source for name in features for source in catalog[name].source)
        categories = [name for name in sources if (FIELD_BY_NAME.get(name) or catalog[name]).kind == "category"]
        return Range(
            names,
            np.array([bundle.columns.index(name) for name in names], dtype="int64"),
            np.where(is_known, values, np.inf).min(axis=0, initial=np.inf)[has_values],
            np.where(is_known, values, -np.inf).max(axis=0, initial=-np.inf)[has_values],
            {name: frozenset(bundle.known[name].iloc[training].dropna().str.casefold()) for name in categories},
        )


def _list_outside(
    ranges: Range, catalog: Catalog, distance: np.ndarray, record: Mapping[str, Any], values: np.ndarray
) -> list[dict[str, str]]:
    unseen = [
        {"label": feature_label(name), "value": str(record[name]), "low": "", "high": ""}
        for name, seen in ranges.categories.items()
        if record.get(name) is not None and str(record[name]).casefold() not in seen
    ]
    farthest = [i for i in np.argsort(-distance, kind="stable").tolist() if distance[i] > 0]
    numbers = []
    for i in farthest[:MAX_LISTED]:
        name, texts = ranges.names[i], (float(array[i]) for array in (values, ranges.low, ranges.high))
        value, low, high = format_distinct(name, *texts, catalog=catalog)
        numbers.append({"label": feature_label(name), "value": value, "low": low, "high": high})
    return (numbers + unseen)[:MAX_LISTED]


def describe_unlike(bundle: Bundle, features: np.ndarray) -> list[dict[str, Any] | None]:
    """Return the labels of the values that set a repository apart, and a sentence, for each one unlike the training ones.

    It is None for a repository that is like them, and if the bundle does not tell. ``features`` are all columns of the bundle.
    """
    if bundle.population is None:
        return [None] * len(features)
    columns = [bundle.columns.index(name) for name in bundle.population.features]
    found = bundle.population.find_unlike(features[:, columns])
    return [_describe(list(dict.fromkeys(map(feature_label, names)))) if names else None for names in found]


def _describe(labels: list[str]) -> dict[str, Any]:
    """Return the labels with the sentence.

    >>> _describe(["Forks", "Age"])["text"]
    'Farther from the training data than 99% of the repositories held out from it, mostly in Forks and Age'
    """
    named = " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
    text = f"Farther from the training data than {HONEST:.0%} of the repositories held out from it, mostly in {named}"
    return {"labels": labels, "text": text}
