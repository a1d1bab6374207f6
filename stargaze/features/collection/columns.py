"""How the rows of ``repositories.parquet`` were collected: two columns of the file beside those of the schema; no features.

A table that was collected page by page in order of stars has this order in its rows, and in all values that change with
each page. The file is sorted by name, so the order of the source files is stored for the check of leaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

ROW_NUMBER = "__row_number"
"""The position among the valid records of all files in the order in which they were read."""
HAS_FETCH_TIME = "__has_fetch_time"
"""Whether the record states its fetch time; else the newest date of its file takes the place."""
COLLECTION_COLUMNS = (ROW_NUMBER, HAS_FETCH_TIME)
DTYPES = {ROW_NUMBER: "int64", HAS_FETCH_TIME: "bool"}


def split_collection_columns(stored: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the columns of a file of repositories without those of the collection, and these; None if the file lacks them.

    Raise ValueError or TypeError if a value is none of its column.

    Examples
    --------
    >>> stored = pd.DataFrame({"full_name": ["a/b"], ROW_NUMBER: [0], HAS_FETCH_TIME: [True]})
    >>> repositories, collection = split_collection_columns(stored)
    >>> list(repositories), list(collection)
    (['full_name'], ['__row_number', '__has_fetch_time'])
    """
    found = [name for name in COLLECTION_COLUMNS if name in stored.columns]
    if len(found) < len(COLLECTION_COLUMNS):
        return stored.drop(columns=found), None
    return stored.drop(columns=found), stored[found].astype(DTYPES)


def floor_unstated_times(repositories: pd.DataFrame) -> pd.Series:
    """Return the fetch times, by day where the record does not state one: a time of another record says nothing about this one.

    ``repositories`` have ``fetched_at`` and :data:`HAS_FETCH_TIME`.
    """
    fetched = repositories["fetched_at"]
    return fetched.where(repositories[HAS_FETCH_TIME], fetched.dt.floor("D").astype(fetched.dtype))


def group_files(records: Mapping[int, int], paths: Sequence[Path]) -> dict[int, int | str]:
    """Return the group of each file by number, the records of which were collected together.

    ``records`` has the number of records of each file. Files of one record each in the same folder count as one file.

    Examples
    --------
    >>> group_files({0: 1, 1: 1, 2: 7}, [Path("one/a.json"), Path("one/b.json"), Path("many.csv")])
    {0: 'one', 1: 'one', 2: 2}
    """
    return {number: str(paths[number].parent) if count == 1 else number for number, count in records.items()}


def number_rows(records: pd.DataFrame) -> pd.DataFrame:
    """Return records with :data:`ROW_NUMBER`."""
    return records.assign(**{ROW_NUMBER: np.arange(len(records), dtype="int64")})
