"""How repositories came to their stars, and where the newest growth bundle sees them go: drawn beside an answer."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.growth_bundle import GrowthBundle, forecast
from stargaze.errors import StargazeError
from stargaze.features.history.read import read_history
from stargaze.serve.prediction.forecast import newest
from stargaze.store import Store

POINTS = 120
"""Of a curve: more cannot be told apart where it is drawn."""
MOST = 1_000
"""Repositories whose past is remembered as drawn; a forecast costs some ten milliseconds."""
SMALL = {"stars": "float32", "forks": "float32", "issues": "float32", "language": "category"}
"""Counts below 16 million are exact in 32 bits; there are millions of rows."""
NOTHING: Mapping[str, Any] = {"history": None, "forecast": None}
Stamp = tuple[int, int, int] | None
log = logging.getLogger(__name__)


def thinned(number: int, most: int = POINTS) -> list[int]:
    """Return which of so many points are drawn: evenly spread, the first and the last among them.

    Examples
    --------
    >>> thinned(3, most=5), thinned(9, most=5)
    ([0, 1, 2], [0, 2, 4, 6, 8])
    """
    if number <= most:
        return list(range(number))
    return [int(place) for place in np.linspace(0, number - 1, most).round()]


@dataclass(frozen=True)
class Table:
    """Histories by name and date, and in which rows each repository lies, by its name in lower case."""

    frame: pd.DataFrame
    rows: Mapping[str, slice]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """Index what :func:`read_history` gave; what differs only in case is the same repository."""
        lower = frame["full_name"].str.lower()
        order = np.lexsort((frame["date"].to_numpy(), lower.to_numpy(dtype="object").astype(str)))
        ordered, keys = frame.iloc[order], lower.to_numpy()[order]
        begins = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.array([], dtype=int)
        ends = np.r_[begins[1:], len(keys)]
        rows = {str(keys[begin]): slice(int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)}
        kept = ordered.drop(columns="full_name").dropna(axis=1, how="all").reset_index(drop=True)
        return cls(kept.astype({name: kind for name, kind in SMALL.items() if name in kept}), rows)

    def history(self, full_name: str) -> pd.DataFrame | None:
        """Return the rows of one repository, None where there is none."""
        rows = self.rows.get(full_name.lower())
        if rows is None:
            return None
        own = self.frame.iloc[rows].astype({"stars": "float64"})
        return own.drop_duplicates("date", keep="last").assign(full_name=full_name)


class StarHistories:
    """Reads table and growth bundle at the first question, and again only when they were replaced.

    Parameters
    ----------
    store : Store
        Whose newest growth bundle foresees.
    history : str
        The table that the config names; empty is ``fetch``'s.
    """

    def __init__(self, store: Store, history: str = "") -> None:
        self._store = store
        self._path = store.history(history)
        self._state: tuple[Stamp, str] = (None, "")
        self._table: Table | None = None
        self._bundle: GrowthBundle | None = None
        self._drawn: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def of(self, full_name: str, now: datetime) -> Mapping[str, Any]:
        """Return ``history`` and ``forecast`` of one repository, each None where there is none."""
        self.prepare(now)
        own = None if self._table is None or full_name.lower() in self._drawn else self._table.history(full_name)
        if own is not None:
            self._drawn[full_name.lower()] = {"history": drawn(own), "forecast": self._foreseen(own)}
            if len(self._drawn) > MOST:
                self._drawn.popitem(last=False)
        return self._drawn.get(full_name.lower(), NOTHING)

    def prepare(self, now: datetime) -> None:
        """Read what is new; what is missing or cannot be read is told once in the log, and is no history."""
        state = (_stamp(self._path), _text(self._store.latest_growth))
        if state == self._state:
            return
        if state[0] != self._state[0]:
            self._table = self._read(now) if state[0] else None
        if state[1] != self._state[1]:
            self._bundle = self._loaded() if state[1] else None
        self._state = state
        self._drawn.clear()

    def _read(self, now: datetime) -> Table | None:
        try:
            return Table.of(read_history(self._path, now=now))
        except StargazeError as error:
            log.warning("no histories are shown: %s", error.message)
            return None

    def _loaded(self) -> GrowthBundle | None:
        try:
            return newest(self._store)
        except StargazeError as error:
            log.warning("nothing is foreseen: %s", error.message)
            return None

    def _foreseen(self, own: pd.DataFrame) -> list[dict[str, Any]] | None:
        if self._bundle is None:
            return None
        try:
            ahead = forecast(self._bundle, own)
        except StargazeError:  # too short since its last break
            return None
        last = own["date"].iloc[-1]
        return [{**vars(one), "date": (last + timedelta(days=one.days)).date().isoformat()} for one in ahead] or None


def drawn(own: pd.DataFrame) -> dict[str, list[Any]]:
    """Return days and counts of one repository, few enough to be drawn."""
    few = own.iloc[thinned(len(own))]
    return {
        "dates": [day.date().isoformat() for day in few["date"]],
        "stars": [round(count) for count in few["stars"].tolist()],
    }


def _stamp(path: Path) -> Stamp:
    """Return what changes when a file is replaced, None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
