"""Fields derived from other fields of a record: license key, homepage flag, lengths, GitHub's id."""

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
    """Return for each URL whether it is a homepage other than the repository's page on GitHub; other values stay unchanged.

    Examples
    --------
    >>> detect_homepages(pd.Series(["https://x.org", "http://github.com/a/b/", "", "1"]), pd.Series(["a/b"] * 4)).tolist()
    [True, False, False, '1']
    """
    values: list[object] = []
    for value, name in zip(column, names, strict=True):
        if is_url(value):
            values.append(_normalize_url(value) not in (f"github.com/{name}".lower(), str(name).lower()))
        else:
            values.append(False if value == "" else value)
    return pd.Series(values, index=column.index, dtype="object")


def is_url(value: object) -> TypeGuard[str]:
    """Return whether a value is a URL and not a spelling of true, false or missing."""
    return isinstance(value, str) and value.strip() not in MISSING and value.strip().lower() not in YES | NO


def derive_fields(frame: pd.DataFrame) -> pd.DataFrame:
    """Normalize licenses and owner types, and fill missing lengths, topic counts and ids of validated columns.

    Examples
    --------
    >>> derive_fields(pd.DataFrame({"full_name": ["a/b"], "license": ["MIT License"]}))["license"].tolist()
    ['mit']
    """
    frame = frame.copy(deep=False)
    if "license" in frame.columns:
        frame["license"] = _map_distinct(frame["license"], license_key)
    if "owner_type" in frame.columns:
        frame["owner_type"] = _map_distinct(frame["owner_type"], lambda text: OWNER_TYPES.get(text.lower(), text))
    if "description" in frame.columns:
        _fill(frame, "description_length", frame["description"].str.len().astype("float64"))
    if "topics" in frame.columns:
        counts = [len(topics) if isinstance(topics, list) else np.nan for topics in frame["topics"]]
        _fill(frame, "topic_count", pd.Series(counts, index=frame.index, dtype="float64"))
    if "node_id" in frame.columns:
        ids = [decode_node_id(text) if isinstance(text, str) else None for text in frame["node_id"]]
        _fill(frame, "id", pd.Series(ids, index=frame.index, dtype="Int64"))
    return frame


def _fill(frame: pd.DataFrame, name: str, values: pd.Series) -> None:
    frame[name] = frame[name].fillna(values) if name in frame.columns else values


def _map_distinct(column: pd.Series, convert: Callable[[str], str | None]) -> pd.Series:
    """Convert each distinct text once: a million rows have about forty licenses."""
    converted = {text: convert(text) for text in column.dropna().unique()}
    return column.map(converted).astype("str")


def _normalize_url(url: str) -> str:
    bare = url.strip().lower().removeprefix("https://").removeprefix("http://").removeprefix("www.")
    return bare.split("#")[0].rstrip("/").removesuffix(".git")
