"""Weekly star history of selected repositories; GitHub returns daily counts without users."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stargaze.features.github.api.replies import Reply
from stargaze.features.github.api.response_cache import CachedResponse, CrawlSession
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Advance

MAX_REFUSALS = 3
"""Consecutive refused repositories after which no more are requested."""
WEEKS_PER_PAGE = 30
"""Weeks on a full page."""
MAX_PAGES = 60
"""Safety limit; 20 years are 35 pages."""
SCHEMA = pa.schema(
    [
        ("full_name", pa.string()),
        ("week", pa.timestamp("s", "UTC")),
        ("stars", pa.int64()),
        ("days", pa.list_(pa.int32())),
    ]
)
BATCH_ROWS = 50_000
"""Rows per write: the weeks of some hundreds of repositories."""


@dataclass(frozen=True)
class StarHistorySummary:
    """The number of weeks written, and GitHub's reason for each refused repository."""

    repositories: int
    weeks: int
    refused: dict[str, str]


def fetch_star_history(
    names: Sequence[str], known: Collection[str], session: CrawlSession, store: Store, advance: Advance
) -> StarHistorySummary:
    """Fetch the weeks of each repository and write ``star_history.parquet``.

    The file has one row per repository and week: ``week`` [UTC, its first day], ``stars`` [stars gained], ``days`` [stars
    gained on each of its seven days]. It is not written without any history. The ``known`` repositories exist: if the
    first few of them are refused, no more are requested.
    """
    refused: dict[str, str] = {}
    available: list[str] = []
    streak = 0
    for name in names:
        if streak >= MAX_REFUSALS and not available:
            refused[name] = "not requested: refused for the previous ones"
        else:
            reason = _fetch_weeks(name, session)
            if reason:
                refused[name] = reason
                streak += name in known
            else:
                available.append(name)
        advance(1)
    if not available:
        return StarHistorySummary(0, 0, refused)
    with atomic_write(store.star_history) as temporary:
        weeks = _write_weeks(temporary, available, session)
    return StarHistorySummary(len(available), weeks, refused)


def history_key(name: str, number: int = 1) -> str:
    """Return the cache key of a page of a repository's history."""
    return f"history {number} {name.lower()}"


def _fetch_weeks(name: str, session: CrawlSession) -> str:
    """Fetch all weeks of a repository; return the reason if there are none."""
    for number in range(1, MAX_PAGES + 1):
        path = f"/repos/{name}/stargazers/history"
        data = session.get(history_key(name, number), path, {"page": number}, _to_cached).data
        if isinstance(data, dict):
            return str(data.get("gone") or "no history")
        if len(data) < WEEKS_PER_PAGE:
            break
    return ""


def _to_cached(reply: Reply) -> CachedResponse:
    if reply.gone or not isinstance(reply.data, list):
        return CachedResponse(reply.at, "", json.dumps({"gone": reply.gone or "no history"}).encode())
    return CachedResponse(reply.at, reply.etag, reply.raw)


def _write_weeks(path: Path, names: Iterable[str], session: CrawlSession) -> int:
    """Write the cached weeks in batches; return their number."""
    rows = _read_rows(names, session)
    count = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))
            count += len(batch)
    return count


def _read_rows(names: Iterable[str], session: CrawlSession) -> Iterator[dict[str, Any]]:
    for name in names:
        for week in _read_weeks(name, session):
            yield {"full_name": name, "week": week["week"], "stars": week["total"], "days": week["days"]}


def _read_weeks(name: str, session: CrawlSession) -> list[dict[str, Any]]:
    """Return the weeks of a repository, newest first; pages fetched on different days may overlap."""
    weeks_by_time: dict[int, dict[str, Any]] = {}
    for number in range(1, MAX_PAGES + 1):
        page = session.get_page(history_key(name, number))
        data = page.data if page else []
        for week in filter(is_week, data):
            weeks_by_time.setdefault(week["week"], week)
        if len(data) < WEEKS_PER_PAGE:
            break
    return list(weeks_by_time.values())


def is_week(week: Any) -> bool:
    """Return whether an item of a history has its week [s since 1970], the stars gained in it, and those of each of its days."""
    if not isinstance(week, dict) or not isinstance(week.get("days"), list):
        return False
    return all(isinstance(count, int) for count in (week.get("week"), week.get("total"), *week["days"]))
