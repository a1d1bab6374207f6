"""The model families of a bundle's ensembles: every command and page names them in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def add_weights(members: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the weight of each family, from the family and the weight of each model.

    >>> add_weights([("ridge", 0.3), ("lightgbm", 0.5), ("lightgbm", 0.2)])
    {'ridge': 0.3, 'lightgbm': 0.7}
    """
    weights: dict[str, float] = {}
    for family, weight in members:
        weights[family] = weights.get(family, 0.0) + weight
    return {family: round(weight, 5) for family, weight in weights.items()}


def family_weights(meta: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the weight of each family by policy, for each policy that has models; the format stands for an unnamed family."""
    named = meta.get("ensemble", {})
    return {
        policy: add_weights(
            (str(other["family"]) if policy in named else str(member["format"]), float(member["weight"]))
            for member, other in zip(members, named.get(policy, members), strict=True)
        )
        for policy, members in meta["models"].items()
    }


def format_families(weights: Mapping[str, float]) -> str:
    """Return families with their weights, the largest first, or the only family.

    >>> format_families({"ridge": 0.3, "lightgbm": 0.7}), format_families({"ridge": 1.0}), format_families({})
    ('lightgbm 70%, ridge 30%', 'ridge', '–')
    """
    if len(weights) == 1:
        return next(iter(weights))
    ordered = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{family} {weight:.0%}" for family, weight in ordered) or "–"
