"""Checked rows of any source become the repositories: one row each, written in one rename."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features import schema
from stargaze.features.ingest import deduplicate as identity
from stargaze.features.ingest import derive
from stargaze.features.ingest import validate as checks
from stargaze.features.ingest.fetch_summary import FetchCounts, FetchSummary
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

NEED = ("full_name", "stars")
BATCH = 20_000
"""Records that are checked at once: enough for speed, few enough for memory."""


@dataclass(frozen=True)
class RawBatch:
    """Raw rows in our columns, with the number of the source and the position that each came from."""

    frame: pd.DataFrame
    sources: list[int]
    positions: list[int]


def batch_rows(rows: Iterable[tuple[int, int, dict[str, Any]]]) -> Iterator[RawBatch]:
    """Put rows, each with its source and position, together to pieces of a good size."""
    found: list[tuple[int, int, dict[str, Any]]] = []
    for row in rows:
        found.append(row)
        if len(found) >= BATCH:
            yield build_batch(found)
            found = []
    if found:
        yield build_batch(found)


def build_batch(rows: Sequence[tuple[int, int, dict[str, Any]]]) -> RawBatch:
    """Make a piece of rows, each with its source and position."""
    sources, positions, records = zip(*rows, strict=True)
    return RawBatch(pd.DataFrame(list(records), dtype="object"), list(sources), list(positions))


def write_repositories(
    raw: Iterable[RawBatch], ledger: FetchCounts, section: FetchSection, store: Store, now: datetime, report: Report
) -> FetchSummary:
    """Keep the newest good record of each repository and write ``repositories.parquet``.

    Raises
    ------
    BadDataError
        If a source has no good record. What was stored before stays.
    """
    since = parse_since(section.since)
    good = [_judged(one, now, ledger) for one in raw]
    ledger.refuse_empty()
    report("merging", 0.95)
    whole = _timed(pd.concat(good, ignore_index=True), ledger, now)
    recent = whole if since is None else whole[whole["fetched_at"] >= since]
    if recent.empty:
        raise BadDataError(
            f"no record was fetched since {section.since}", hint="set fetch.since to an earlier day, or to nothing"
        )
    merged = schema.conform(identity.deduplicate(recent.drop(columns="source")))
    report("writing", 0.98)
    with atomic_write(store.repositories) as temporary:
        merged.to_parquet(temporary, compression="zstd", index=False)
    report("done", 1.0)
    return ledger.summary(merged, left_out=len(whole) - len(recent), duplicates=len(recent) - len(merged))


def parse_since(text: str) -> pd.Timestamp | None:
    """Read the day from which records are kept; empty keeps all."""
    if not text:
        return None
    try:
        return pd.Timestamp(date.fromisoformat(text), tz="UTC")
    except ValueError as error:
        raise ConfigError(
            f"fetch.since should be a day, not {text!r}", hint="write it YYYY-MM-DD, as 2023-01-01"
        ) from error


def _judged(piece: RawBatch, now: datetime, ledger: FetchCounts) -> pd.DataFrame:
    """Keep the good rows, with the number of their file."""
    frame = piece.frame
    if "has_homepage" in frame.columns:
        frame = frame.assign(has_homepage=derive.detect_homepages(frame["has_homepage"], frame["full_name"]))
    good, bad = checks.validate_columns(frame, now, need=NEED)
    for row, reason in bad:
        ledger.refuse(piece.sources[row], piece.positions[row], reason)
    good = derive.derive_fields(good).assign(source=np.array(piece.sources, dtype=np.int64)[good.index.to_numpy()])
    for source, count in good["source"].value_counts().items():
        ledger.good[int(str(source))] = ledger.good.get(int(str(source)), 0) + int(count)
    return good


def _timed(frame: pd.DataFrame, ledger: FetchCounts, now: datetime) -> pd.DataFrame:
    """Notify when the figures were true: at the latest date in the same file, where the record does not say.

    The file cannot be older than that. Files of one record each that lie in one folder were fetched together.
    """
    dates = [name for name in ("created_at", "pushed_at", "updated_at") if name in frame.columns]
    stated = frame["fetched_at"] if "fetched_at" in frame.columns else schema.empty(len(frame))["fetched_at"]
    if dates and stated.isna().any():
        groups = {
            number: str(path.parent) if ledger.read[number] == 1 else number
            for number, path in enumerate(ledger.paths)
            if number in ledger.read
        }
        group = frame["source"].map(groups)
        newest = frame[dates].max(axis=1).groupby(group).transform("max")
        stated = stated.fillna(newest)
    today = pd.Timestamp(now).as_unit("s")
    return frame.assign(fetched_at=stated.dt.as_unit("s").mask(stated > today, today))
