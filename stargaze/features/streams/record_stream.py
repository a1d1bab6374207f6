"""Read records of files batch by batch with the readers of ``fetch``: a record needs no stars, a refused one stops no other."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import FetchSection
from stargaze.errors import StargazeError
from stargaze.features.collection.columns import HAS_FETCH_TIME, floor_unstated_times, group_files
from stargaze.features.ingest.count_texts import CountTexts
from stargaze.features.ingest.json_records import read_mapped_records
from stargaze.features.ingest.open_file import open_source
from stargaze.features.ingest.parsing.column_plan import check_mapping
from stargaze.features.ingest.parsing.json_keys import SparsePaths
from stargaze.features.ingest.table_records import read_rows
from stargaze.features.ingest.validate import clear_columns
from stargaze.features.ingest.write_repositories import BATCH, RawBatch, build_batch, validate_rows
from stargaze.features.own_columns import OwnColumn, conform
from stargaze.features.own_values import convert_to_kind
from stargaze.system.files import convert_disk_errors
from stargaze.system.progress import Report

REQUIRED = ("full_name",)
DATES = ("created_at", "pushed_at", "updated_at", "fetched_at")
Refused = tuple[int, int, str]
"""The number of a file, the position of a record in it from 1, and why it is refused."""


@dataclass(frozen=True)
class RecordBatch:
    """Repositories with the number of their file and their position in it, and the refused records among them."""

    repositories: pd.DataFrame
    sources: list[int]
    positions: list[int]
    refused: list[Refused]


@dataclass
class RecordStream:
    """The records of files; :meth:`scan` comes before :meth:`read`."""

    section: FetchSection
    own_columns: tuple[OwnColumn, ...]
    paths: list[Path]
    names: list[str]
    """The files as they were named: a pipe is copied to a temporary file, because it is read twice."""
    now: datetime
    records: Counter[int] = field(default_factory=Counter)
    """Records of each file."""
    latest: dict[int, pd.Timestamp] = field(default_factory=dict)
    """The latest date of each file that has records without a fetch date: these are of that day, as in ``fetch``."""

    def scan(self, report: Report = lambda _what, _share: None) -> int:
        """Read all files once, and return the number of their records; errors of whole files are raised here."""
        with self._convert_names():
            for batch, refused in self._read_raw(self.paths, report):
                self.records.update([*batch.sources, *(source for source, _, _ in refused)])
                self._note_dates(batch)
        return self.records.total()

    def read(self) -> Iterator[RecordBatch]:
        """Yield all records, in the order of the files."""
        texts = CountTexts(self.section.thousands, self._read_again, self.names)
        with self._convert_names():
            for raw, refused in self._read_raw(self.paths):
                yield self._validate(texts.convert(raw), refused)

    def _validate(self, raw: RawBatch, refused: list[Refused]) -> RecordBatch:
        names = [column.name for column in self.own_columns]
        valid, invalid, _ = validate_rows(raw.frame, self.now, names, self.section.exclude, REQUIRED)
        refused = [*refused, *((raw.sources[row], raw.positions[row], reason) for row, reason in invalid)]
        rows = valid.index.to_numpy()
        own = {
            column.name: convert_to_kind(column, valid[column.name], self.section.thousands)
            for column in self.own_columns
            if column.name in valid.columns
        }
        sources = [raw.sources[row] for row in rows]
        repositories = conform(valid.assign(**own).reset_index(drop=True), self.own_columns)
        repositories["fetched_at"] = self._fill_dates(repositories["fetched_at"], sources)
        return RecordBatch(repositories, sources, [raw.positions[row] for row in rows], refused)

    def _fill_dates(self, fetched: pd.Series, sources: list[int]) -> pd.Series:
        """Fill in the fetch date of records that have none, by day as ``fetch`` does: features are those of training."""
        is_stated = fetched.notna()
        if fetched.isna().any() and self.latest:
            latest = pd.Series(
                [self._latest_of_groups.get(self._groups[source]) for source in sources], index=fetched.index
            )
            fetched = fetched.fillna(pd.to_datetime(latest, utc=True).dt.as_unit("s"))
        today = pd.Timestamp(self.now).as_unit("s")
        dates = pd.DataFrame({"fetched_at": fetched.mask(fetched > today, today), HAS_FETCH_TIME: is_stated})
        return floor_unstated_times(dates)

    @functools.cached_property
    def _groups(self) -> dict[int, int | str]:
        """The group of each file, which :meth:`scan` has counted."""
        return group_files(self.records, self.paths)

    @functools.cached_property
    def _latest_of_groups(self) -> dict[int | str, pd.Timestamp]:
        """The latest date of each group of files that has one."""
        found: dict[int | str, pd.Timestamp] = {}
        for source, date in self.latest.items():
            group = self._groups[source]
            found[group] = max(date, found.get(group, date))
        return found

    def _note_dates(self, batch: RawBatch) -> None:
        """Note the latest date of each file in the batch."""
        names = [name for name in DATES if name in batch.frame.columns]
        if not names:
            return
        frame = batch.frame[["full_name", *names]]
        valid, _, _ = clear_columns(frame, self.now, required=())
        dates = [name for name in DATES[:-1] if name in valid.columns]
        if not dates or ("fetched_at" in valid.columns and valid["fetched_at"].notna().all()):
            return
        latest = valid[dates].max(axis=1).groupby(np.asarray(batch.sources)[valid.index]).max().dropna()
        for source, date in latest.items():
            number = int(str(source))
            self.latest[number] = max(date, self.latest.get(number, date))

    def _read_again(self, source: int) -> Iterator[RawBatch]:
        yield from (batch for batch, _ in self._read_raw([self.paths[source]]))

    def _read_raw(
        self, paths: Sequence[Path], report: Report = lambda _what, _share: None
    ) -> Iterator[tuple[RawBatch, list[Refused]]]:
        """Yield raw batches of records, and the records that cannot be read; thousands of files of one record make one batch."""
        own = {column.name: column.name for column in self.own_columns}
        fields, exclude, sparse = self.section.columns | own, frozenset(self.section.exclude), SparsePaths()
        rows: list[tuple[int, int, dict[str, Any]]] = []
        refused: list[Refused] = []
        for number, path in enumerate(paths):
            report(f"reading {self.names[number]}", number / len(paths))
            with open_source(path) as source:
                if source.format in ("csv", "parquet"):
                    for batch in read_rows(source, fields, exclude=exclude, required=REQUIRED, batch=BATCH):
                        invalid = [(number, position, reason) for position, reason in batch.invalid]
                        yield RawBatch(batch.frame, [number] * len(batch.positions), batch.positions), invalid
                    continue
                found = read_mapped_records(source, fields, exclude=exclude, sparse=sparse, required=REQUIRED)
                for position, row, reason in found:
                    if reason:
                        refused.append((number, position, reason))
                    else:
                        rows.append((number, position, row))
                    if len(rows) + len(refused) >= BATCH:
                        yield _build(rows), refused
                        rows, refused = [], []
        if rows or refused:
            yield _build(rows), refused
        sparse.check()

    @contextlib.contextmanager
    def _convert_names(self) -> Iterator[None]:
        """Name pipes in errors as they were named, instead of their copies."""
        try:
            yield
        except StargazeError as error:
            for path, name in zip(self.paths, self.names, strict=True):
                error.message, error.hint = (text.replace(str(path), name) for text in (error.message, error.hint))
            error.args = (error.message,)
            raise


@contextlib.contextmanager
def open_records(
    section: FetchSection, own_columns: Sequence[OwnColumn], files: Sequence[Path], now: datetime
) -> Iterator[RecordStream]:
    """Yield the records of files of any format that ``fetch`` reads, with ``fetch.columns``; pipes are copied to temporary files.

    ``own_columns`` are those that a model was fitted with; a file may lack them. No record may be later than ``now`` [UTC].
    """
    check_mapping(section.columns)
    with contextlib.ExitStack() as stack:
        paths = []
        for number, path in enumerate(files):
            is_pipe = path.exists() and not path.is_file() and not path.is_dir()
            paths.append(_copy(path, Path(stack.enter_context(_folder())) / f"{number}") if is_pipe else path)
        yield RecordStream(section, tuple(own_columns), paths, [str(path) for path in files], now)


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="stargaze-")


def _copy(pipe: Path, path: Path) -> Path:
    with convert_disk_errors(path), pipe.open("rb") as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path


def _build(rows: Sequence[tuple[int, int, dict[str, Any]]]) -> RawBatch:
    return build_batch(rows) if rows else RawBatch(pd.DataFrame({"full_name": pd.Series(dtype="str")}), [], [])
