"""The repositories that a bundle contains, read within limits and checked."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from stargaze.bundle.manifest import MALFORMED, BadBundleError
from stargaze.features.own_columns import OwnColumn, conform
from stargaze.features.schema import MAX_CODE

MAX_KNOWN = 2_000_000
MAX_KNOWN_BYTES = 1_000_000_000
"""Largest table of known repositories, in rows and uncompressed; 50,000 rows have 20 MB."""
FULL_NAME = re.compile(r"[!-~]{1,100}/[!-~]{1,200}")


def read_known(content: bytes, own_columns: Sequence[OwnColumn] = ()) -> pd.DataFrame:
    """Return the repositories of a bundle's table with every column of the schema and their own columns.

    Raise BadBundleError if it is not valid.
    """
    try:  # without the cloud file systems that pandas would load (15 MB)
        return conform(_read_table(content), own_columns)
    except (*MALFORMED, OSError, MemoryError) as error:
        raise BadBundleError(f"known.parquet cannot be read: {error}", hint="stargaze tune") from error
    finally:  # no variable holds the Arrow table any more
        pa.default_memory_pool().release_unused()  # Arrow would keep 20 MB for reuse


def _read_table(content: bytes) -> pd.DataFrame:
    """Read the known repositories; raise ValueError if a name or a count is not one, or the table is too large."""
    file = ParquetFile(io.BytesIO(content))
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    if file.metadata.num_rows > MAX_KNOWN or sum(group.total_byte_size for group in groups) > MAX_KNOWN_BYTES:
        raise ValueError(f"more than {MAX_KNOWN:,} repositories or {MAX_KNOWN_BYTES:,} bytes")
    table = file.read(use_threads=False)
    table.validate(full=True)  # texts are UTF-8
    _check_codes(table)
    frame: pd.DataFrame = table.to_pandas(use_threads=False)
    if frame.empty:  # serve without known repositories: tuning.bundled_repositories = 0
        return frame
    names, stars = frame["full_name"].astype("object"), frame["stars"].to_numpy(dtype="float64", na_value=np.nan)
    if not all(isinstance(name, str) and FULL_NAME.fullmatch(name) for name in names):
        raise ValueError("a name is not owner/name")
    if (stars < 0).any() or np.isinf(stars).any():
        raise ValueError("a number of stars is not one")
    return frame


def _check_codes(table: pa.Table) -> None:
    """Raise ValueError if the hashed words of a description are no lists of codes: they are positions in arrays."""
    if "description_tokens" not in table.column_names:
        return
    column = table["description_tokens"]
    if pa.types.is_null(column.type):
        return
    if not pa.types.is_list(column.type) or not pa.types.is_integer(column.type.value_type):
        raise ValueError("description_tokens has other values than lists of whole numbers")
    codes = np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks] or [np.zeros(0)])
    if len(codes) and not (codes.min() >= ~MAX_CODE and codes.max() <= MAX_CODE):  # NaN is no code either
        raise ValueError("description_tokens has a number that is no code")
