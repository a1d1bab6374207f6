"""What a feature is, and the registry in which a module lists the features that it defines."""

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
    """One column that a model may use: where it comes from, in which unit, from which policy on."""

    name: str
    policy: Policy
    unit: str
    meaning: str
    source: tuple[str, ...]
    compute: Compute
    kind: Kind = "number"
    learned: bool = False
    """Other rows teach it: an encoder gives its values, ``compute`` cannot."""
    group: str = ""
    """Features of one group say one thing in parts, and stay or go together."""


class Registry(dict[str, Feature]):
    """The features that one module defines, by name, in the order of their definitions."""

    def feature(
        self, policy: Policy, unit: str, meaning: str, *source: str, kind: Kind = "number", group: str = ""
    ) -> Callable[[Compute], Compute]:
        """Register a function from repositories to one column; the function's name is the feature's."""

        def register(compute: Compute) -> Compute:
            self._add(Feature(compute.__name__, policy, unit, meaning, source, compute, kind, group=group))
            return compute

        return register

    def plain(self, policy: Policy, *names: str, kind: Kind = "number") -> None:
        """Register fields of the schema that are features as they are."""
        for name in names:
            field = FIELD_BY_NAME[name]
            self._add(Feature(name, policy, field.unit or field.kind, field.meaning, (name,), _column_of(name), kind))

    def learned(self, name: str, policy: Policy, unit: str, meaning: str, *source: str, group: str = "") -> str:
        """Register a column that an encoder fills (:mod:`stargaze.features.encoding.encoder`); return its name."""

        def compute(_repositories: pd.DataFrame) -> Column:
            raise ValueError(f"{name} is learned from other repositories: an encoder computes it")

        self._add(Feature(name, policy, unit, meaning, source, compute, learned=True, group=group))
        return name

    def _add(self, item: Feature) -> None:
        if item.name in self:
            raise ValueError(f"two features are named {item.name}")
        self[item.name] = item


def _column_of(name: str) -> Compute:
    def column(repositories: pd.DataFrame) -> Column:
        return repositories[name]

    return column
