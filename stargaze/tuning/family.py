"""One kind of model: how it is built, and its parameters and search space for a number of training rows."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from stargaze.capacity import interpolate, parameters_for, share_of_many

Parameters = Mapping[str, Any]
Build = Callable[[Parameters, Sequence[int], int], Any]


@dataclass(frozen=True)
class Range:
    """The search range of a parameter."""

    low: float
    high: float
    kind: Literal["int", "float"] = "float"
    log: bool = False

    def bound(self, value: Any) -> Any:
        """Return the nearest value in the range."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """The values of a parameter that has only a few."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class FewRows:
    """A parameter for few rows: its default, and the bounds of its search range."""

    default: float
    low: float
    high: float


@dataclass(frozen=True)
class Family:
    """One kind of model; defaults and search space are those for many training rows."""

    name: str
    meaning: str
    build: Build
    defaults: dict[str, Any] = field(default_factory=dict)
    space: dict[str, Range | Choice] = field(default_factory=dict)
    few_rows: dict[str, FewRows] = field(default_factory=dict)
    """The parameters that depend on the number of training rows, for few rows."""
    max_rows: int = 0
    """Maximum number of rows to fit on, 0 for all: for families whose cost grows faster than the rows."""
    starts: tuple[dict[str, Any], ...] = ()
    """Configurations for many rows that often perform well: tried right after the defaults."""
    finds_rounds: bool = False
    """Whether a trial finds the number of boosting rounds itself, on folds that LightGBM has binned once."""
    copy_factors: dict[str, float] = field(default_factory=dict)
    """Factors of parameters with which a model of many rows describes masked copies too, without more error of complete rows."""
    extra: str = ""
    """The optional package that the family needs, which is also the name of the extra; empty if it needs none."""

    @property
    def installed(self) -> bool:
        """Whether its package is installed; nothing is imported."""
        return not self.extra or importlib.util.find_spec(self.extra) is not None

    def at(self, rows: int) -> Family:
        """Return the family with the defaults and the search space for a number of training rows.

        Examples
        --------
        >>> leaves = {"num_leaves": Range(8, 64, "int", log=True)}
        >>> trees = Family("trees", "", lambda *_: None, {"num_leaves": 32}, leaves, {"num_leaves": FewRows(4, 2, 8)})
        >>> [trees.at(rows).defaults["num_leaves"] for rows in (100, 1_549, 1_000_000)]
        [4, 11, 32]
        >>> trees.at(100).space["num_leaves"]
        Range(low=2, high=8, kind='int', log=True)
        """
        share = share_of_many(rows)
        if share >= 1.0 or not self.few_rows:
            return self
        defaults = parameters_for(rows, self.defaults, {name: few.default for name, few in self.few_rows.items()})
        space = dict(self.space)
        for name, few in self.few_rows.items():
            if isinstance(many := self.space.get(name), Range):
                low, high = interpolate(few.low, many.low, share), interpolate(few.high, many.high, share)
                space[name] = replace(many, low=low, high=high)
        return replace(self, defaults=_bounded(defaults, space), space=space, starts=self._starts(space))

    def with_copies(self, parameters: Parameters, rows: int) -> dict[str, Any]:
        """Return the parameters of a model of a number of training rows and their masked copies.

        Examples
        --------
        >>> trees = Family("trees", "", lambda *_: None, copy_factors={"num_leaves": 1.5})
        >>> [trees.with_copies({"num_leaves": 20, "depth": 3}, rows) for rows in (300, 10_000)]
        [{'num_leaves': 20, 'depth': 3}, {'num_leaves': 30, 'depth': 3}]
        """
        share, scaled = share_of_many(rows), dict(parameters)
        for name, factor in self.copy_factors.items():
            if name in scaled:
                scaled[name] = type(scaled[name])(round(scaled[name] * interpolate(1.0, factor, share)))
        return scaled

    def _starts(self, space: Mapping[str, Range | Choice]) -> tuple[dict[str, Any], ...]:
        return tuple(_bounded(start, space) for start in self.starts)


def _bounded(parameters: Parameters, space: Mapping[str, Range | Choice]) -> dict[str, Any]:
    """Return the parameters, with those outside of their search range at its bound."""
    ranges = {name: kind for name, kind in space.items() if isinstance(kind, Range)}
    return {name: ranges[name].bound(value) if name in ranges else value for name, value in parameters.items()}
