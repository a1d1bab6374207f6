"""What a feature is, and the list that the functions of ``extract`` enter themselves into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

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


CATALOGUE: dict[str, Feature] = {}


def feature(
    policy: Policy, unit: str, meaning: str, *source: str, kind: Kind = "number", group: str = ""
) -> Callable[[Compute], Compute]:
    """Enter a function from repositories to one column; the function's name is the feature's."""

    def enter(compute: Compute) -> Compute:
        name = compute.__name__
        if name in CATALOGUE:
            raise ValueError(f"two features are named {name}")
        CATALOGUE[name] = Feature(name, policy, unit, meaning, source, compute, kind, group=group)
        return compute

    return enter


def plain(policy: Policy, *names: str, kind: Kind = "number") -> None:
    """Enter fields of the schema that are features as they are."""
    from stargaze.features.schema import BY_NAME

    for name in names:
        field = BY_NAME[name]
        CATALOGUE[name] = Feature(name, policy, field.unit or field.kind, field.meaning, (name,), _taken(name), kind)


def learned(name: str, policy: Policy, unit: str, meaning: str, *source: str, group: str = "") -> str:
    """Enter a column that an encoder fitted on other rows fills (:mod:`stargaze.features.encode`); return its name."""

    def compute(_repositories: pd.DataFrame) -> Column:
        raise ValueError(f"{name} is learned from other repositories: an encoder tells it")

    if name in CATALOGUE:
        raise ValueError(f"two features are named {name}")
    CATALOGUE[name] = Feature(name, policy, unit, meaning, source, compute, learned=True, group=group)
    return name


def allowed(policy: str) -> list[Feature]:
    """Return the features a policy may use; each policy holds the one before."""
    order = ("static", "activity", "all")
    reach = order.index(policy)
    return [item for item in CATALOGUE.values() if order.index(item.policy) <= reach]


def _taken(name: str) -> Compute:
    def take(repositories: pd.DataFrame) -> Column:
        return repositories[name]

    return take


def days(later: pd.Series, earlier: pd.Series) -> np.ndarray:
    """Return later - earlier [days], NaN where either is missing.

    Examples
    --------
    >>> days(pd.to_datetime(pd.Series(["2020-01-03"])), pd.to_datetime(pd.Series(["2020-01-02"]))).tolist()
    [1.0]
    """
    seconds = later.to_numpy("datetime64[s]") - earlier.to_numpy("datetime64[s]")
    result = seconds.astype("int64") / 86_400.0
    return np.where(np.isnat(seconds), np.nan, result)
