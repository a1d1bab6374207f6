"""Fields derived from other fields of a record, and the newest record of each repository by GitHub's id or the name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import TypeGuard

import numpy as np
import pandas as pd

from stargaze.features.ingest.parsing.missing import MISSING
from stargaze.features.ingest.validate import NO, YES
from stargaze.features.licenses import license_key

OWNER_TYPES = {"user": "User", "organization": "Organization"}
NO_ADDRESS = YES | NO | {"none", "nil", "-"}
"""Words in columns of addresses that are none."""
MAX_README = 1_000
"""Stored characters of a README: a bundle contains those of its repositories."""
_MAX_READ = 20_000
"""Characters that are searched for the beginning: some READMEs begin with pages of badges."""
_HIDDEN = re.compile(r"<!--.*?(?:-->|\Z)|```.*?(?:```|\Z)|<[^<>]{0,2000}>", re.DOTALL)
_ADDRESSES = re.compile(
    r"!\[[^\]]{0,500}\]\([^)]{0,2000}\)|\]\([^)]{0,2000}\)|\b[a-z]{2,10}://\S+|^[ \t]*\[[^\]]{1,200}\]:.*$",
    re.MULTILINE,
)
_SIGNS = re.compile(r"[#*_`>|~=\[\]\s]+")
_OLD_ID = re.compile(rb"0*10:Repository(\d{1,15})")
_WIDTHS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""MessagePack's prefixes of unsigned integers, and the number of bytes that follow."""


def detect_homepages(column: pd.Series, names: pd.Series) -> pd.Series:
    """Return for each URL whether it is a homepage other than the repository's page on GitHub; other values stay unchanged.

    Examples
    --------
    >>> detect_homepages(pd.Series(["https://x.org", "http://github.com/a/b/", "", "1"]), pd.Series(["a/b"] * 4)).tolist()
    [True, False, False, '1']
    """
    values: list[object] = []
    for value, name in zip(column.tolist(), names.tolist(), strict=True):
        if is_url(value):
            values.append(_normalize_url(value) not in (f"github.com/{name}".lower(), str(name).lower()))
        else:
            values.append(False if isinstance(value, str) and value == "" else value)
    return pd.Series(values, index=column.index, dtype="object")


def is_url(value: object) -> TypeGuard[str]:
    """Return whether a value is a URL and not a spelling of true, false or missing."""
    if not isinstance(value, str) or value.strip() in MISSING:
        return False
    return value.strip().lower() not in NO_ADDRESS


def derive_fields(frame: pd.DataFrame) -> pd.DataFrame:
    """Normalize licenses, owner types and READMEs, and fill missing lengths, topic counts and ids of validated columns.

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
    if "readme" in frame.columns:
        _fill(frame, "readme_length", frame["readme"].str.len().astype("float64"))
        frame["readme"] = _map_distinct(frame["readme"], begin_readme)
    if "topics" in frame.columns:
        counts = [len(topics) if isinstance(topics, list) else np.nan for topics in frame["topics"]]
        _fill(frame, "topic_count", pd.Series(counts, index=frame.index, dtype="float64"))
    if "node_id" in frame.columns:
        ids = [decode_node_id(text) if isinstance(text, str) else None for text in frame["node_id"]]
        _fill(frame, "id", pd.Series(ids, index=frame.index, dtype="Int64"))
    return frame


def begin_readme(text: str) -> str | None:
    r"""Return the first words of a README, at most :data:`MAX_README`; None if nothing is left.

    >>> begin_readme('# Flask\n[![ci](https://ci.test/b.svg)](https://ci.test)\nA <b>fast</b> [server](https://x.test).')
    'Flask A fast server .'
    >>> begin_readme("![logo](logo.png)")
    """
    visible = _ADDRESSES.sub(" ", _HIDDEN.sub(" ", text[:_MAX_READ]))
    return _SIGNS.sub(" ", visible).strip()[:MAX_README].strip() or None


def _fill(frame: pd.DataFrame, name: str, values: pd.Series) -> None:
    frame[name] = frame[name].fillna(values) if name in frame.columns else values


def _map_distinct(column: pd.Series, convert: Callable[[str], str | None]) -> pd.Series:
    """Convert each distinct text once: a million rows have about forty licenses."""
    converted = {text: convert(text) for text in column.dropna().unique()}
    return column.map(converted).astype("str")


def _normalize_url(url: str) -> str:
    bare = url.strip().lower().removeprefix("https://").removeprefix("http://").removeprefix("www.")
    return bare.split("#")[0].rstrip("/").removesuffix(".git")


def decode_node_id(node_id: str) -> int | None:
    """Return the numeric id of the repository that a node id contains, in the old or the new format; else None.

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
        old = _OLD_ID.fullmatch(raw)
        return int(old[1]) if old else None
    if len(raw) == 3 and raw[:2] == b"\x92\x00" and raw[2] < 0x80:
        return raw[2]
    if len(raw) > 3 and raw[:2] == b"\x92\x00" and _WIDTHS.get(raw[2]) == len(raw) - 3:
        return int.from_bytes(raw[3:], "big")
    return None


def deduplicate(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the newest row of each repository; ``full_name`` is required, ``id`` (Int64) and the dates are optional.

    The id is the key. A row without an id takes that of the newest row of the same name, and is otherwise identified by its
    name. A name belongs to one repository at a time, so of two ids with the same name the newer row stays. The newest row is
    that with the latest ``fetched_at``, then the latest of ``pushed_at`` and ``updated_at``, then the last one. The result is
    sorted by name without regard to case, with a new index.

    Examples
    --------
    >>> rows = pd.DataFrame({"full_name": ["a/b", "A/B"], "id": pd.array([7, None], "Int64"), "stars": [1, 2]})
    >>> deduplicate(rows).values.tolist()
    [['A/B', 7, 2]]
    """
    ordered = frame.iloc[_sort_by_age(frame)].reset_index(drop=True)
    names = ordered["full_name"].str.lower()
    if "id" in ordered.columns:
        ordered["id"] = ordered["id"].fillna(_latest_ids(ordered["id"], names))
        repeated = ordered["id"].duplicated(keep="last") & ordered["id"].notna()
        ordered, names = ordered[~repeated], names[~repeated]
    last = ~names.duplicated(keep="last")
    ordered, names = ordered[last], names[last]
    return ordered.iloc[np.argsort(names.to_numpy(dtype="object"), kind="stable")].reset_index(drop=True)


def _sort_by_age(frame: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    fetched = _seconds(frame, "fetched_at")
    changed = np.maximum(_seconds(frame, "pushed_at"), _seconds(frame, "updated_at"))
    return np.lexsort((changed, fetched))


def _seconds(frame: pd.DataFrame, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return dates as numbers; a missing one (NaT, the smallest number) sorts first."""
    if name not in frame.columns:
        return np.zeros(len(frame), dtype=np.int64)
    seconds: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        frame[name].dt.tz_localize(None).to_numpy("datetime64[s]").astype(np.int64)
    )
    return seconds


def _latest_ids(ids: pd.Series, names: pd.Series) -> pd.Series:
    known = pd.DataFrame({"id": ids, "name": names}).dropna().drop_duplicates("name", keep="last")
    return names.map(known.set_index("name")["id"]).astype("Int64")
