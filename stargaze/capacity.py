"""Parameters that follow the number of training rows: a model of few rows has few leaves, rounds and degrees of freedom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FEW_ROWS, MANY_ROWS = 300, 8_000
"""Training rows up to which, and from which on, parameters are constant."""


def share_of_many(rows: int) -> float:
    """Return where a number of rows lies between few (0.0) and many (1.0), on the logarithmic scale.

    Examples
    --------
    >>> [round(share_of_many(rows), 2) for rows in (20, 300, 1_549, 8_000, 90_000)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    bounded = min(max(rows, FEW_ROWS), MANY_ROWS)
    return math.log(bounded / FEW_ROWS) / math.log(MANY_ROWS / FEW_ROWS)


def interpolate(few: float, many: float, share: float) -> float:
    """Return a parameter between its values for few and for many rows; a whole number between whole numbers.

    Positive values are interpolated on the logarithmic scale.

    Examples
    --------
    >>> interpolate(4, 32, 0.5), interpolate(0.0, 1.0, 0.25), interpolate(4, 32, 1.0)
    (11, 0.25, 32)
    """
    is_positive = few > 0 and many > 0
    value = few ** (1.0 - share) * many**share if is_positive else few + (many - few) * share
    return round(value) if isinstance(many, int) else value


def parameters_for(rows: int, many: Mapping[str, Any], few: Mapping[str, float]) -> dict[str, Any]:
    """Return the parameters for a number of rows; those without a value for few rows are constant.

    Examples
    --------
    >>> parameters_for(300, {"num_leaves": 31, "max_bin": 127}, {"num_leaves": 5})
    {'num_leaves': 5, 'max_bin': 127}
    """
    share = share_of_many(rows)
    return {name: interpolate(few[name], value, share) if name in few else value for name, value in many.items()}
