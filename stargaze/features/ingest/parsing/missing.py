"""The spellings of a missing value in files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

Bools = np.ndarray[Any, np.dtype[np.bool_]]

MISSING = frozenset(
    {
        *("", "nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "NaT"),
        *("\\N", "NAN", "Null", "#N/A", "undefined", "(null)"),
        *("none", "NONE", "na", "<na>", "nil", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "?"),
        *("<null>", "<NULL>", "[null]", "[NULL]", "-nan", "-NaN", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND"),
        *("#NULL!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#DIV/0!", "#N/A N/A", "#ERROR!"),
    }
)
"""Spellings of a missing value in tables.

``\\N`` is that of MySQL and PostgreSQL, ``[NULL]`` and ``<null>`` of programs that show databases, ``#VALUE!`` of spreadsheets
and ``1.#QNAN`` of C.
"""


def find_missing(column: pd.Series) -> Bools:
    """Return which values are missing, in any spelling.

    Examples
    --------
    >>> find_missing(pd.Series(["7", " NaN", None, "x"], dtype="object")).tolist()
    [False, True, True, False]
    """
    absent: Bools = column.isna().to_numpy(dtype=bool)
    if column.dtype == "str":
        absent = absent | column.str.strip().isin(MISSING).to_numpy(dtype=bool)
    elif column.dtype == "object":
        spelled = (isinstance(value, str) and len(value) < 99 and value.strip() in MISSING for value in column)
        absent = absent | np.fromiter(spelled, dtype=bool, count=len(column))
    return absent
