"""Weekly star history of chosen repositories, in one rename: GitHub gives counts by day, and names nobody."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
COLUMNS = {"full_name": "str", "week": "datetime64[s, UTC]", "stars": "int64", "days": "object"}

Tell = Callable[[int], None]


@dataclass(frozen=True)
class Histories:
    """What was learned: weeks in all, and of whom it was refused, with GitHub's reason."""

    repositories: int
    weeks: int
    refused: dict[str, str]


def gather_history(
    names: Sequence[str], client: Client, spool: Spool, gather: Gather, store: Store, tell: Tell
) -> Histories:
    """Ask for the weeks of each repository and write ``star_history.parquet``.

    The file has a row a repository and week: ``week`` [UTC, its first day], ``stars`` [stars gained], ``days`` [stars
    gained on each of its seven days]. It is not written where nothing was given.
    """
    refused: dict[str, str] = {}
    frames: list[pd.DataFrame] = []
    streak = 0
    for name in names:
        if streak >= REFUSALS and not frames:
            refused[name] = "not asked for: refused for the ones before"
        else:
            weeks = _weeks(name, client, spool, gather)
            if isinstance(weeks, str):
                refused[name] = weeks
                streak += 1
            else:
                frames.append(_frame(name, weeks))
        tell(1)
    if frames:
        whole = pd.concat(frames, ignore_index=True)
        with artifacts.replacing(store.star_history) as temporary:
            whole.to_parquet(temporary, compression="zstd", index=False)
    return Histories(len(frames), sum(len(frame) for frame in frames), refused)


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
        found += [week for week in data if isinstance(week, dict)]
        if len(data) < A_PAGE:
            break
    return found


def _kept(reply: Reply) -> Kept:
    if reply.gone or not isinstance(reply.data, list):
        return Kept(reply.at, "", json.dumps({"gone": reply.gone or "no history"}).encode())
    return Kept(reply.at, reply.etag, reply.raw)


def _frame(name: str, weeks: Sequence[dict[str, Any]]) -> pd.DataFrame:
    rows = {
        "full_name": [name] * len(weeks),
        "week": pd.to_datetime([week["week"] for week in weeks], unit="s", utc=True),
        "stars": [week["total"] for week in weeks],
        "days": [list(week["days"]) for week in weeks],
    }
    return pd.DataFrame(rows).astype(COLUMNS)
