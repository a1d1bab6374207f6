"""Which records are of one repository, and which of them stays."""

from __future__ import annotations

import base64
import binascii
import re

import numpy as np
import pandas as pd

_OLD = re.compile(rb"0*10:Repository(\d{1,15})")
_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""MessagePack: the byte before an unsigned integer tells how many bytes it has."""


def decode_node_id(node_id: str) -> int | None:
    """Return GitHub's number of the repository that a node id holds, in either spelling; None if it holds none.

    Old ids are base64 of ``010:Repository<number>``, new ones ``R_`` and base64url of MessagePack's ``[0, <number>]``.

    Examples
    --------
    >>> decode_node_id("MDEwOlJlcG9zaXRvcnkzMjk0NDU0MTg="), decode_node_id("R_kgDOE6LwKg"), decode_node_id("U_kgDOE6LwKg")
    (329445418, 329445418, None)
    """
    new = node_id.startswith("R_")
    text = node_id[2:] if new else node_id
    if len(text) > 100:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if new else None, validate=True)
    except (binascii.Error, ValueError):
        return None
    if not new:
        old = _OLD.fullmatch(raw)
        return int(old[1]) if old else None
    if len(raw) == 3 and raw[:2] == b"\x92\x00" and raw[2] < 0x80:
        return raw[2]
    if len(raw) > 3 and raw[:2] == b"\x92\x00" and _WIDTHS.get(raw[2]) == len(raw) - 3:
        return int.from_bytes(raw[3:], "big")
    return None


def deduplicate(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep one row a repository, the newest.

    GitHub's number is the key. A row without it takes the number of the newest row of the same name (in lower
    case) that has one, or is known by its name. A name belongs to one repository at a time, so of two numbers
    with one name the newer stays. Newest is by ``fetched_at``, then by the later of ``pushed_at`` and
    ``updated_at``, then by the order of the rows.

    Parameters
    ----------
    frame : DataFrame, shape (n_records, columns)
        ``full_name`` without missing values; ``id`` (Int64) and the dates may be absent.

    Returns
    -------
    DataFrame, shape (n_repositories, columns)
        In the order of their names, with a fresh index.

    Examples
    --------
    >>> rows = pd.DataFrame({"full_name": ["a/b", "A/B"], "id": pd.array([7, None], "Int64"), "stars": [1, 2]})
    >>> deduplicate(rows).values.tolist()
    [['A/B', 7, 2]]
    """
    ordered = frame.iloc[_oldest_first(frame)].reset_index(drop=True)
    names = ordered["full_name"].str.lower()
    if "id" in ordered.columns:
        ordered["id"] = ordered["id"].fillna(_ids_by_name(ordered["id"], names))
        repeated = ordered["id"].duplicated(keep="last") & ordered["id"].notna()
        ordered, names = ordered[~repeated], names[~repeated]
    last = ~names.duplicated(keep="last")
    ordered, names = ordered[last], names[last]
    return ordered.iloc[np.argsort(names.to_numpy(dtype="object"), kind="stable")].reset_index(drop=True)


def _oldest_first(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    fetched = _seconds(frame, "fetched_at")
    moved = np.maximum(_seconds(frame, "pushed_at"), _seconds(frame, "updated_at"))
    return np.lexsort((moved, fetched))


def _seconds(frame: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return dates as numbers; a missing one (NaT, the least number) is older than any."""
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=np.int64)
    seconds: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        frame[name].dt.tz_localize(None).to_numpy("datetime64[s]").astype(np.int64)
    )
    return seconds


def _ids_by_name(ids: pd.Series, names: pd.Series) -> pd.Series:
    known = pd.DataFrame({"id": ids, "name": names}).dropna().drop_duplicates("name", keep="last")
    return names.map(known.set_index("name")["id"]).astype("Int64")
