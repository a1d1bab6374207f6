"""Why an estimate is what it is: factors of features that multiply to exactly the number shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stargaze.bundle.prediction_intervals import MAX_LOG_STARS
from stargaze.bundle.star_bundle import Bundle
from stargaze.features.matrix import Catalog
from stargaze.serve.prediction.contributions import Method, contributions
from stargaze.serve.prediction.labels import GROUP_LABELS, UNKNOWN, feature_group, feature_label, feature_value

MAX_FACTORS = 10
MAX_NAMED = 3
"""Unknown values that are named in their common factor."""
MAX_CONTRIBUTION = 50.0
"""Largest contribution in an answer [nat]: a factor of 5e21, and never infinity, which JSON cannot contain."""


@dataclass(frozen=True)
class Factor:
    """The effect of one feature, or of a group of them: it multiplies the expected stars plus one by ``factor``."""

    feature: str
    label: str
    value: str
    factor: float


@dataclass(frozen=True)
class Explanation:
    """Why: ``(expected_stars + 1) = (baseline_stars + 1) × all factors × other_factors``, with unrounded numbers."""

    method: Method
    """``exact`` if the models' own Shapley values are known, ``sampled`` otherwise."""
    baseline_stars: float
    factors: tuple[Factor, ...]
    other_factors: float
    """Weaker features, and the limits of an estimate, from 0 to MAX_LOG_STARS."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "factors": [dict(vars(factor)) for factor in self.factors]}


def explain(
    bundle: Bundle,
    features: np.ndarray,
    records: Sequence[Mapping[str, Any]],
    policies: Sequence[str] | np.ndarray,
    predicted: np.ndarray,
    *,
    max_factors: int = MAX_FACTORS,
) -> list[Explanation]:
    """Explain each prediction under its policy.

    ``features`` are all columns of the bundle, ``predicted`` is the estimate of log1p(stars) that is shown [nat].
    """
    explanations: dict[int, Explanation] = {}
    for policy in dict.fromkeys(policies):
        rows = [row for row, row_policy in enumerate(policies) if row_policy == policy]
        names = bundle.meta["features"][policy]
        own = features[np.ix_(rows, [bundle.columns.index(name) for name in names])]
        method, added = contributions(bundle, bundle.select_inputs(features[rows], policy), policy)
        for row, of_row, values in zip(rows, added, own, strict=True):
            base = float(np.clip(of_row[-1], 0.0, MAX_LOG_STARS))
            effects = _group_effects(names, of_row[:-1], values, records[row], bundle.catalog)
            strongest = sorted(effects, key=lambda item: -abs(item[1]))[:max_factors]
            factors = tuple(
                Factor(**text, factor=float(np.exp(np.clip(effect, -MAX_CONTRIBUTION, MAX_CONTRIBUTION))))
                for text, effect in strongest
            )
            rest = float(predicted[row]) - base - float(np.log([factor.factor for factor in factors]).sum())
            explanations[row] = Explanation(method, float(np.expm1(base)), factors, float(np.exp(rest)))
    return [explanations[row] for row in range(len(explanations))]


def _group_effects(
    names: Sequence[str], added: np.ndarray, values: np.ndarray, record: Mapping[str, Any], catalog: Catalog
) -> list[tuple[dict[str, str], float]]:
    """Return the texts and the effect [nat] of each feature; groups have one, and so have all unknown values."""
    effects: dict[str, float] = {}
    unknown: dict[str, float] = {}
    texts: dict[str, dict[str, str]] = {}
    for name, effect, value in zip(names, added.tolist(), values.tolist(), strict=True):
        group = feature_group(name)
        text = "" if group else feature_value(name, value, record, catalog)
        if text == UNKNOWN:
            unknown[name] = effect
            continue
        key = group or name
        effects[key] = effects.get(key, 0.0) + effect
        texts[key] = {"feature": key, "label": GROUP_LABELS[group] if group else feature_label(name), "value": text}
    if unknown:
        effects[UNKNOWN] = sum(unknown.values())
        texts[UNKNOWN] = {"feature": UNKNOWN, "label": GROUP_LABELS[UNKNOWN], "value": _name_unknown(unknown)}
    return [(texts[key], effect) for key, effect in effects.items()]


def _name_unknown(unknown: Mapping[str, float]) -> str:
    """Return the labels of the strongest unknown values."""
    ordered = sorted(unknown, key=lambda name: -abs(unknown[name]))
    labels = list(dict.fromkeys(map(feature_label, ordered)))
    more = len(labels) - MAX_NAMED
    return ", ".join(labels[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
