"""Weekly star history of chosen repositories, in one rename: GitHub gives counts by day, and names nobody."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stargaze import artifacts
from stargaze.artifacts import Store
from stargaze.features.github.client import Client, Reply
from stargaze.features.github.spool import Gather, Kept, Spool

REFUSALS = 3
"""Repositories in a row whose history is refused, after which no more are asked for."""
A_PAGE = 30
"""Weeks of a full page."""
MOST_PAGES = 60
"""GitHub is some 20 years old, which is 35 pages."""
SCHEMA = pa.schema(
    [
        ("full_name", pa.string()),
        ("week", pa.timestamp("s", "UTC")),
        ("stars", pa.int64()),
        ("days", pa.list_(pa.int32())),
    ]
)
GROUP = 50_000
"""Rows that are written at once: the weeks of some hundreds of repositories."""

Tell = Callable[[int], None]


@dataclass
class Histories:
    """What was learned: weeks in all, and of whom it was refused, with GitHub's reason."""

    repositories: int = 0
    weeks: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def gather_history(
    names: Sequence[str], client: Client, spool: Spool, gather: Gather, store: Store, tell: Tell
) -> Histories:
    """Ask for the weeks of each repository and write ``star_history.parquet``.

    The file has a row a repository and week: ``week`` [UTC, its first day], ``stars`` [stars gained], ``days`` [stars
    gained on each of its seven days]. It is not written where nothing was given.
    """
    found = Histories()
    rows = _rows(names, client, spool, gather, found, tell)
    first = next(rows, None)
    if first:
        with artifacts.replacing(store.star_history) as temporary:
            _write(temporary, itertools.chain([first], rows))
    return found


def _rows(
    names: Sequence[str], client: Client, spool: Spool, gather: Gather, found: Histories, tell: Tell
) -> Iterator[dict[str, Any]]:
    """Yield a row a week, and count in ``found`` what there was."""
    streak = 0
    for name in names:
        if streak >= REFUSALS and not found.repositories:
            found.refused[name] = "not asked for: refused for the ones before"
        else:
            weeks = _weeks(name, client, spool, gather)
            if isinstance(weeks, str):
                found.refused[name] = weeks
                streak += 1
            else:
                found.repositories += 1
                found.weeks += len(weeks)
                for week in weeks:
                    yield {"full_name": name, "week": week["week"], "stars": week["total"], "days": week["days"]}
        tell(1)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        while group := list(itertools.islice(rows, GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))


def _weeks(name: str, client: Client, spool: Spool, gather: Gather) -> list[dict[str, Any]] | str:
    """Return all weeks of a repository, newest first, or why there are none."""
    found: list[dict[str, Any]] = []
    for number in range(1, MOST_PAGES + 1):
        ask = f"history {number} {name.lower()}"
        page = spool.page(gather, ask)
        if page is None:
            before = spool.page_before(gather, ask)
            etag = before.etag if before else ""
            reply = client.get(f"/repos/{name}/stargazers/history", {"page": number}, etag=etag, forgiving=True)
            page = Kept(reply.at, before.etag, before.body) if reply.same and before else _kept(reply)
            spool.keep(gather, {ask: page})
        data = page.data
        if isinstance(data, dict):
            return str(data.get("gone") or "no history")
        found += filter(_is_week, data)
        if len(data) < A_PAGE:
            break
    return found


def _kept(reply: Reply) -> Kept:
    if reply.gone or not isinstance(reply.data, list):
        return Kept(reply.at, "", json.dumps({"gone": reply.gone or "no history"}).encode())
    return Kept(reply.at, reply.etag, reply.raw)


def _is_week(week: Any) -> bool:
    if not isinstance(week, dict) or not isinstance(week.get("days"), list):
        return False
    return all(isinstance(count, int) for count in (week.get("week"), week.get("total"), *week["days"]))
