"""What follows from a record's own words: the licence's key, a homepage that is one, lengths, GitHub's number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import numpy as np
import pandas as pd

from stargaze.features.ingest.deduplicate import decode_node_id
from stargaze.features.ingest.validate import MISSING, NO, YES
from stargaze.features.licenses import license_key

OWNER_TYPES = {"user": "User", "organization": "Organization"}


def detect_homepages(column: pd.Series, names: pd.Series) -> pd.Series:
    """Tell from addresses whether a homepage is named; GitHub's page of the repository itself is none.

    Parameters
    ----------
    column : Series of shape (n_rows,)
        Addresses, empty texts for none, or true and false in any spelling, which stay as they are.
    names : Series of shape (n_rows,)
        owner/name of each row.

    Examples
    --------
    >>> detect_homepages(pd.Series(["https://x.org", "http://github.com/a/b/", "", "1"]), pd.Series(["a/b"] * 4)).tolist()
    [True, False, False, '1']
    """
    found = []
    for value, name in zip(column, names, strict=True):
        if is_url(value):
            found.append(_bare(value) not in (f"github.com/{name}".lower(), str(name).lower()))
        else:
            found.append(False if value == "" else value)
    return pd.Series(found, index=column.index, dtype="object")


def is_url(value: object) -> TypeGuard[str]:
    """Tell an address from the spellings of true, false and "not known"."""
    return isinstance(value, str) and value.strip() not in MISSING and value.strip().lower() not in YES | NO


def derive_fields(frame: pd.DataFrame) -> pd.DataFrame:
    """Add to checked columns what follows from them; what a source says itself stays.

    Examples
    --------
    >>> derive_fields(pd.DataFrame({"full_name": ["a/b"], "license": ["MIT License"]}))["license"].tolist()
    ['mit']
    """
    frame = frame.copy(deep=False)
    if "license" in frame.columns:
        frame["license"] = _by_distinct(frame["license"], license_key)
    if "owner_type" in frame.columns:
        frame["owner_type"] = _by_distinct(frame["owner_type"], lambda text: OWNER_TYPES.get(text.lower(), text))
    if "description" in frame.columns:
        _fill(frame, "description_length", frame["description"].str.len().astype("float64"))
    if "topics" in frame.columns:
        counts = [len(topics) if isinstance(topics, list) else np.nan for topics in frame["topics"]]
        _fill(frame, "topic_count", pd.Series(counts, index=frame.index, dtype="float64"))
    if "node_id" in frame.columns:
        numbers = [decode_node_id(text) if isinstance(text, str) else None for text in frame["node_id"]]
        _fill(frame, "id", pd.Series(numbers, index=frame.index, dtype="Int64"))
    return frame


def _fill(frame: pd.DataFrame, name: str, values: pd.Series) -> None:
    frame[name] = frame[name].fillna(values) if name in frame.columns else values


def _by_distinct(column: pd.Series, change: Callable[[str], str | None]) -> pd.Series:
    """Change each distinct text once: a million rows have some forty licences."""
    changed = {text: change(text) for text in column.dropna().unique()}
    return column.map(changed).astype("str")


def _bare(address: str) -> str:
    bare = address.strip().lower().removeprefix("https://").removeprefix("http://").removeprefix("www.")
    return bare.split("#")[0].rstrip("/").removesuffix(".git")
