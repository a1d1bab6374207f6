"""The definition of a feature, and the registry in which a module lists its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from stargaze.features.schema import FIELD_BY_NAME

Policy = Literal["static", "activity", "all"]
Kind = Literal["number", "category"]
Column = pd.Series | np.ndarray
Compute = Callable[[pd.DataFrame], Column]


@dataclass(frozen=True)
class Feature:
    """One input column of a model: its source fields, its unit, and the first policy that may use it."""

    name: str
    policy: Policy
    unit: str
    meaning: str
    source: tuple[str, ...]
    compute: Compute
    kind: Kind = "number"
    learned: bool = False
    """Depends on other repositories: an encoder computes it, ``compute`` raises ValueError."""
    group: str = ""
    """Features of the same group are shuffled and selected together."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The source fields that say something of the repository: all but the fetch time, from which ages are computed."""
        return tuple(field for field in self.source if field != "fetched_at")


class Registry(dict[str, Feature]):
    """The features that one module defines, by name, in the order of their definitions."""

    def feature(
        self, policy: Policy, unit: str, meaning: str, *source: str, kind: Kind = "number", group: str = ""
    ) -> Callable[[Compute], Compute]:
        """Register a function from repositories to one column; the feature has the function's name."""

        def register(compute: Compute) -> Compute:
            self._add(Feature(compute.__name__, policy, unit, meaning, source, compute, kind, group=group))
            return compute

        return register

    def add_fields(self, policy: Policy, *names: str, kind: Kind = "number") -> None:
        """Register fields of the schema that are used as features unchanged."""
        for name in names:
            field = FIELD_BY_NAME[name]
            self._add(Feature(name, policy, field.unit or field.kind, field.meaning, (name,), _get_column(name), kind))

    def add_learned(self, name: str, policy: Policy, unit: str, meaning: str, *source: str, group: str = "") -> str:
        """Register a column of an encoder (:mod:`stargaze.features.encoding.encoder`); return its name."""

        def compute(_repositories: pd.DataFrame) -> Column:
            raise ValueError(f"{name} is learned from other repositories: an encoder computes it")

        self._add(Feature(name, policy, unit, meaning, source, compute, learned=True, group=group))
        return name

    def _add(self, feature: Feature) -> None:
        if feature.name in self:
            raise ValueError(f"two features are named {feature.name}")
        self[feature.name] = feature


def _get_column(name: str) -> Compute:
    return lambda repositories: repositories[name]
