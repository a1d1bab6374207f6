"""How a value is written for people: the heading of each column, and its numbers with as many digits as they are good for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stargaze.formatting import format_percent
from stargaze.system.text import replace_unprintable

HEADINGS: Mapping[str, str] = {
    "at": "at [s]",
    "rmsle": "RMSLE [nat]",
    "rmsle_low": "from",
    "rmsle_high": "to",
    "spread": "± over folds",
    "r2": "R² of the log",
    "mdape": "median error",
    "rho": "Spearman's rho",
    "fit_time": "fit [s]",
    "size_mb": "size [MB]",
    "cv_rmsle": "RMSLE on the folds",
    "cv_spread": "± over folds",
    "best": "best so far",
    "seconds": "time [s]",
    "coverage_low": "from",
    "coverage_high": "to",
    "typical_factor": "typical factor off",
    "predicted_to_true": "predicted over true",
    "interval_factor": "interval, to over from",
    "true_low": "from",
    "true_high": "to",
    "nominal": "nominal coverage",
    "contribution": "mean |contribution| [nat]",
    "importance": "cost of shuffling [nat²]",
    "median_stars": "median stars",
    "low": "from",
    "high": "to",
    "factor": "factor",
}
SHARES = frozenset(
    {"share", "missing", "coverage", "coverage_low", "coverage_high", "nominal", "mdape", "expected", "weight"}
)
FACTORS = frozenset({"typical_factor", "predicted_to_true", "interval_factor", "factor"})
STARS = frozenset({"true", "predicted", "low", "high", "true_low", "true_high", "median_stars"})
NO_BREAK = "\N{NO-BREAK SPACE}"
COUNTS = frozenset({"owners", "repositories"})
EXACT = frozenset(
    {"rmsle", "rmsle_low", "rmsle_high", "spread", "r2", "rho", "cv_rmsle", "cv_spread", "best", "contribution"}
)
"""Columns that are compared with each other: always three digits behind the point."""


def heading(column: str) -> str:
    """Return what stands above a column."""
    return HEADINGS.get(column, column.replace("_", " "))


def shown(column: str, value: Any) -> str:
    """Write one value of a column; what is not known is a dash.

    Examples
    --------
    >>> [shown("factor", 1.834), shown("true", 12345.0), shown("rmsle", 0.45), shown("at", None)]
    ['× 1.83', '12,345', '0.450', '–']
    """
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if isinstance(value, str):
        return printable(value) or "–"
    return _number(column, float(value))


def _number(column: str, number: float) -> str:
    whole = number == round(number)
    if column in SHARES:
        return percent(number)
    if column in FACTORS:
        return f"× {number:,.2f}" if number < 100 else f"× {number:,.0f}"
    if column in EXACT:
        return f"{number:.3f}"
    if column in COUNTS or (whole and abs(number) >= 1) or (column in STARS and (whole or number >= 10)):
        return f"{number:,.0f}"
    return f"{number:.2g}" if column in STARS else f"{number:,.3g}"


def percent(share: float, digits: int = 1) -> str:
    """Write a share with its sign, which never stands at the beginning of a line.

    Examples
    --------
    >>> percent(0.8912).replace(chr(0xA0), " ")
    '89.1 %'
    """
    return format_percent(share, digits, space=NO_BREAK)


def printable(text: str) -> str:
    """Leave out what a browser or a drawing would obey instead of show: control marks, changes of direction.

    Examples
    --------
    >>> printable("a" + chr(0x202E) + "b" + chr(0) + "c")
    'a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c'
    """
    return replace_unprintable(text, keep=NO_BREAK)
