"""Repositories from the files of others, or from the sample: read, checked, one row each, written in one rename."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze import artifacts
from stargaze.artifacts import Store
from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features import checks, derive, documents, identity, records, schema, tables
from stargaze.features.files import Source, opened
from stargaze.features.ledger import FetchSummary, Ledger

NEED = ("full_name", "stars")
BATCH = 20_000
"""Records that are checked at once: enough for speed, few enough for memory."""

Report = Callable[[str, float], None]


def fetch(
    section: FetchSection,
    store: Store,
    files: Sequence[Path],
    now: datetime,
    report: Report | None = None,
) -> FetchSummary:
    """Read every file, keep the newest good record of each repository, and write ``repositories.parquet``.

    Parameters
    ----------
    section : FetchSection
        ``since`` and the mapping of columns; ``files`` stands in where the argument is empty.
    store : Store
        Where the repositories are written.
    files : sequence of Path
        Any mixture of JSON, JSON lines, CSV, Parquet and gzip of each; none means the shipped sample.
    now : datetime
        UTC; no record may be later.
    report : callable, optional
        Told what is done and the share that is done, 0 to 1.

    Raises
    ------
    BadDataError, MissingInputError
        If a file is not there, is broken as a whole, or has no good record. What was stored before stays.
    ConfigError
        If the mapping or ``since`` is wrong.
    """
    report = report or _silent
    since = _day(section.since)
    tables.check_mapping(section.columns)
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    paths = [Path(file) for file in files or section.files]
    with contextlib.ExitStack() as stack:
        columns = section.columns if paths else {}
        if not paths:
            sample = importlib.resources.files("stargaze") / "data" / "sample.parquet"
            paths = [stack.enter_context(importlib.resources.as_file(sample))]
        ledger = Ledger(paths)
        good = [_judged(piece, now, ledger) for piece in _pieces(paths, columns, ledger, report)]
    ledger.refuse_empty()
    report("merging", 0.95)
    whole = _timed(pd.concat(good, ignore_index=True), ledger, now)
    recent = whole if since is None else whole[whole["fetched_at"] >= since]
    if recent.empty:
        raise BadDataError(
            f"no record was fetched since {section.since}", hint="set fetch.since to an earlier day, or to nothing"
        )
    merged = schema.conform(identity.merge(recent.drop(columns="source")))
    report("writing", 0.98)
    with artifacts.replacing(store.repositories) as temporary:
        merged.to_parquet(temporary, compression="zstd", index=False)
    report("done", 1.0)
    return ledger.summary(merged, left_out=len(whole) - len(recent), duplicates=len(recent) - len(merged))


@dataclass(frozen=True)
class _Piece:
    """Raw rows in our columns, with the number of the file and the position that each came from."""

    frame: pd.DataFrame
    sources: list[int]
    positions: list[int]


def _silent(_what: str, _share: float) -> None:
    """Report to nobody."""


def _day(text: str) -> pd.Timestamp | None:
    if not text:
        return None
    try:
        return pd.Timestamp(date.fromisoformat(text), tz="UTC")
    except ValueError as error:
        raise ConfigError(
            f"fetch.since should be a day, not {text!r}", hint="write it YYYY-MM-DD, as 2023-01-01"
        ) from error


def _pieces(paths: Sequence[Path], columns: dict[str, str], ledger: Ledger, report: Report) -> Iterator[_Piece]:
    """Read all files in pieces of a good size: thousands of files of one record make one piece."""
    rows: list[dict[str, Any]] = []
    sources: list[int] = []
    positions: list[int] = []
    for number, path in enumerate(paths):
        report(f"reading {path.name}", 0.95 * number / len(paths))
        with opened(path) as source:
            if source.format in ("csv", "parquet"):
                yield from _tabled(source, columns, number, ledger)
                continue
            for position, row in _rows(source, number, ledger):
                rows.append(row)
                sources.append(number)
                positions.append(position)
                if len(rows) >= BATCH:
                    yield _Piece(pd.DataFrame(rows, dtype="object"), sources, positions)
                    rows, sources, positions = [], [], []
    if rows:
        yield _Piece(pd.DataFrame(rows, dtype="object"), sources, positions)


def _tabled(source: Source, columns: dict[str, str], number: int, ledger: Ledger) -> Iterator[_Piece]:
    for batch in tables.read(source, columns):
        ledger.read[number] = ledger.read.get(number, 0) + len(batch.positions) + len(batch.bad)
        for position, reason in batch.bad:
            ledger.refuse(number, position, reason)
        yield _Piece(batch.frame, [number] * len(batch.positions), batch.positions)


def _rows(source: Source, number: int, ledger: Ledger) -> Iterator[tuple[int, dict[str, Any]]]:
    for position, value, broken in documents.read(source):
        ledger.read[number] = ledger.read.get(number, 0) + 1
        if broken:
            ledger.refuse(number, position, broken)
            continue
        try:
            row = records.read(value)
        except BadDataError as error:
            ledger.refuse(number, position, error.message)
        else:
            yield position, row


def _judged(piece: _Piece, now: datetime, ledger: Ledger) -> pd.DataFrame:
    """Keep the good rows, with the number of their file."""
    frame = piece.frame
    if "has_homepage" in frame.columns:
        frame = frame.assign(has_homepage=derive.homepages(frame["has_homepage"], frame["full_name"]))
    good, bad = checks.check_columns(frame, now, need=NEED)
    for row, reason in bad:
        ledger.refuse(piece.sources[row], piece.positions[row], reason)
    good = derive.derive(good).assign(source=np.array(piece.sources, dtype=np.int64)[good.index.to_numpy()])
    for source, count in good["source"].value_counts().items():
        ledger.good[int(str(source))] = ledger.good.get(int(str(source)), 0) + int(count)
    return good


def _timed(frame: pd.DataFrame, ledger: Ledger, now: datetime) -> pd.DataFrame:
    """Say when the figures were true: at the latest date in the same file, where the record does not say.

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
