"""Headings of columns and formats of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stargaze.formatting import format_percent
from stargaze.system.text import replace_unprintable

HEADINGS: Mapping[str, str] = {
    **dict.fromkeys(("low", "rmsle_low", "coverage_low", "true_low"), "from"),
    **dict.fromkeys(("high", "rmsle_high", "coverage_high", "true_high"), "to"),
    **dict.fromkeys(("spread", "cv_spread"), "± over folds"),
    "at": "at [s]",
    "rmsle": "RMSLE [nat]",
    "rmse": "RMSE [stars]",
    "r2": "R² of the log",
    "mdape": "median error",
    "rho": "Spearman's rho",
    "fit_time": "fit [s]",
    "size_mb": "size [MB]",
    "cv_rmsle": "RMSLE on the folds",
    "best": "best so far",
    "seconds": "time [s]",
    "typical_factor": "typical error factor",
    "predicted_to_true": "predicted over true",
    "interval_factor": "upper over lower bound",
    "nominal": "nominal coverage",
    "contribution": "mean |contribution| [nat]",
    "importance": "permutation importance [nat²]",
    "median_stars": "median stars",
}
SHARES = frozenset(
    {"share", "missing", "coverage", "coverage_low", "coverage_high", "nominal", "mdape", "expected", "weight"}
)
FACTORS = frozenset({"typical_factor", "predicted_to_true", "interval_factor", "factor"})
STARS = frozenset({"true", "predicted", "low", "high", "true_low", "true_high", "median_stars", "rmse"})
COUNTS = frozenset({"owners", "repositories", "test_repositories"})
EXACT = frozenset(
    {"rmsle", "rmsle_low", "rmsle_high", "spread", "r2", "rho", "cv_rmsle", "cv_spread", "best", "contribution"}
)
"""Columns that readers compare with each other: always three decimal places."""


def column_heading(column: str) -> str:
    """Return the heading of a column."""
    return HEADINGS.get(column, column.replace("_", " "))


def format_value(column: str, value: Any) -> str:
    """Format one value of a column; an unknown value is a dash.

    Examples
    --------
    >>> [format_value(*cell) for cell in (("factor", 1.834), ("true", 12345.0), ("rmsle", 0.45), ("at", None))]
    ['× 1.83', '12,345', '0.450', '–']
    """
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if isinstance(value, str):
        return replace_control_characters(value) or "–"
    return _format_number(column, float(value))


def _format_number(column: str, number: float) -> str:
    is_whole = number == round(number)
    if column in SHARES:
        return format_share(number)
    if column in FACTORS:
        return f"× {number:,.2f}" if number < 100 else f"× {number:,.0f}"
    if column in EXACT:
        return f"{number:.3f}"
    if column in COUNTS or (is_whole and abs(number) >= 1) or (column in STARS and (is_whole or number >= 10)):
        return f"{number:,.0f}"
    return f"{number:.2g}" if column in STARS else f"{number:,.3g}"


def format_share(share: float, digits: int = 1) -> str:
    """Format a share in percent.

    Examples
    --------
    >>> format_share(0.8912)
    '89.1%'
    """
    return format_percent(share, digits)


def replace_control_characters(text: str) -> str:
    """Replace control and bidirectional characters, which a browser would interpret instead of show.

    Examples
    --------
    >>> replace_control_characters("a" + chr(0x202E) + "b" + chr(0) + "c")
    'a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c'
    """
    return replace_unprintable(text)
