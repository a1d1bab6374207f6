"""Star histories and their forecasts by a growth bundle, for the charts of an answer."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.bundle.forecast import forecast_growth
from stargaze.bundle.growth_bundle import GrowthBundle
from stargaze.errors import BadDataError, StargazeError
from stargaze.features.history.read import read_history
from stargaze.features.history.table_format import ANY_FORMAT, HistoryFormat
from stargaze.serve.lookup.github_history import GithubStarHistories, LiveHistory
from stargaze.store import Store

MAX_POINTS = 120
"""Maximum number of points of a curve; a chart does not show more."""
MAX_CACHED = 1_000
"""Repositories whose history and forecast are cached; a forecast takes some ten milliseconds."""
SMALL_DTYPES = {"stars": "float32", "forks": "float32", "issues": "float32", "language": "category"}
"""Counts below 16 million are exact in 32 bits; there are millions of rows."""
History = Mapping[str, Any]
NO_HISTORY: History = {"history": None, "forecast": None, "milestone": None, "history_note": "", "retry_at": 0.0}
"""``retry_at`` is when GitHub can be expected to return more [s since 1970], 0 if nothing temporary is missing."""
NO_LIVE_HISTORY = LiveHistory()
FileVersion = tuple[int, int, int] | None
log = logging.getLogger(__name__)


def spread_indices(count: int, most: int = MAX_POINTS) -> list[int]:
    """Return the indices of at most ``most`` of ``count`` points: evenly spread, with the first and the last.

    >>> spread_indices(3, most=5), spread_indices(9, most=5)
    ([0, 1, 2], [0, 2, 4, 6, 8])
    """
    if count <= most:
        return list(range(count))
    return [int(index) for index in np.linspace(0, count - 1, most).round()]


@dataclass(frozen=True)
class HistoryTable:
    """Histories by repository and date, with the rows of each repository by its name in lower case."""

    frame: pd.DataFrame
    rows: Mapping[str, slice]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> HistoryTable:
        """Index the result of :func:`read_history`; names that differ only in case are one repository."""
        codes, keys = pd.factorize(frame["full_name"].str.lower())
        order = np.lexsort((frame["date"].dt.tz_localize(None).to_numpy(), codes))  # not by slow objects
        ordered, codes = frame.iloc[order], codes[order]
        begins = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.array([], dtype=int)
        ends = np.r_[begins[1:], len(codes)]
        rows = {str(keys[codes[begin]]): slice(int(begin), int(end)) for begin, end in zip(begins, ends, strict=True)}
        columns = ordered.drop(columns="full_name").dropna(axis=1, how="all").reset_index(drop=True)
        dtypes = {name: dtype for name, dtype in SMALL_DTYPES.items() if name in columns}
        return cls(columns.astype(dtypes), rows)

    def history(self, full_name: str) -> pd.DataFrame | None:
        """Return the rows of one repository, None if there are none."""
        rows = self.rows.get(full_name.lower())
        if rows is None:
            return None
        history = self.frame.iloc[rows].astype({"stars": "float64"})
        return history.drop_duplicates("date", keep="last").assign(full_name=full_name)


class StarHistories:
    """The histories of GitHub; where it returns none, those of the table that the config names (or ``fetch``'s)."""

    def __init__(
        self,
        store: Store,
        history: str = "",
        live: GithubStarHistories | None = None,
        form: HistoryFormat = ANY_FORMAT,
    ) -> None:
        self._path = store.history(history)
        self._form = form
        self._live = live
        self._version: FileVersion = None
        self._table: HistoryTable | None = None
        self._cache: OrderedDict[tuple[str, str, float, int], Mapping[str, Any]] = OrderedDict()

    def prepare(self) -> None:
        """Load the table now, so that no visitor waits for it."""
        self._reload(datetime.now(UTC))

    def find(self, full_name: str, now: datetime, growth: GrowthBundle | None) -> Mapping[str, Any]:
        """Return the history of one repository with its forecast by a growth bundle, as in a prediction of an answer."""
        return self.find_all([full_name], now, growth)[full_name.lower()]

    def find_all(
        self, full_names: Iterable[str], now: datetime, growth: GrowthBundle | None
    ) -> dict[str, Mapping[str, Any]]:
        """Return the histories of several repositories by their names in lower case; GitHub's are requested together."""
        names = {name.lower(): name for name in full_names}
        live = self._live.fetch(list(names.values())) if self._live and names else {}
        self._reload(now)
        results = {}
        for key, name in names.items():
            try:
                results[key] = self._find_one(name, live.get(key, NO_LIVE_HISTORY), growth)
            except StargazeError as error:
                log.warning("%s: no history: %s", name, error.message)
                results[key] = NO_HISTORY
        return results

    def _find_one(self, name: str, live: LiveHistory, growth: GrowthBundle | None) -> Mapping[str, Any]:
        received_at, weeks = (0.0, 0) if live.frame is None else (live.received_at, len(live.frame))
        key = name.lower(), growth.digest if growth else "", received_at, weeks  # further pages may arrive later
        if key not in self._cache:
            frame = live.frame
            if frame is None and self._table is not None:
                frame = self._table.history(name)
            if frame is None:
                reason = live.reason or (self._table and "none is stored for this repository")
                note = f"No star history: {reason}" if reason else ""
                return {**NO_HISTORY, "history_note": note, "retry_at": live.retry_at}
            self._cache[key] = {"history": to_curve(frame, received_at), **to_forecast(frame, growth)}
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        result = self._cache[key]
        notes = [describe_history(result["history"], live), result["history_note"]]
        return {**result, "history_note": "; ".join(filter(None, notes)), "retry_at": live.retry_at}

    def _reload(self, now: datetime) -> None:
        """Load a new table; one that cannot be read is logged once and treated as missing."""
        version = _file_version(self._path)
        if version == self._version:
            return
        self._table = _read_table(self._path, now, self._form) if version else None
        self._version = version
        self._cache.clear()


def to_curve(history: pd.DataFrame, received_at: float = 0.0) -> dict[str, Any]:
    """Return source, day, dates and star counts of one repository, few enough for a chart.

    ``received_at`` is the time at which GitHub returned it [s since 1970]; 0 is a history of the store, whose day is its last.
    """
    points = history.iloc[spread_indices(len(history))]
    day = datetime.fromtimestamp(received_at, UTC) if received_at else points["date"].iloc[-1]
    return {
        "source": "github" if received_at else "store",
        "as_of": day.date().isoformat(),
        "dates": [day.date().isoformat() for day in points["date"]],
        "stars": [round(count) for count in points["stars"].tolist()],
    }


def describe_history(curve: Mapping[str, Any], live: LiveHistory) -> str:
    """Return in one line what a curve lacks: recent weeks if GitHub did not return it, or earlier ones."""
    if curve["source"] == "store":
        return f"Star history until {curve['as_of']}: {live.reason}" if live.reason else ""
    if live.reason:
        return f"Star history of {curve['as_of']}: {live.reason}"
    return (
        "" if live.is_whole else f"Star history since {curve['dates'][0]}: earlier weeks were not requested from GitHub"
    )


def to_forecast(history: pd.DataFrame, growth: GrowthBundle | None) -> dict[str, Any]:
    """Return forecast, milestone and history note of a prediction: the note says why there is no forecast."""
    nothing = {"forecast": None, "milestone": None, "history_note": ""}
    if growth is None:
        return nothing
    try:
        result = forecast_growth(growth, history)
    except BadDataError as error:  # too short since its last break
        reason = error.message.removeprefix(f"{history['full_name'].iloc[-1]}: ")
        return {**nothing, "history_note": f"No forecast: {reason}"}
    points = [
        {**vars(point), "date": (result.last_day + timedelta(days=point.days)).isoformat(), "coverage": growth.coverage}
        for point in result.points
    ]
    return {**nothing, "forecast": points, "milestone": result.milestone and result.milestone.to_json()}


def leave_out_passed(result: Mapping[str, Any], now: datetime, stars: float | None) -> Mapping[str, Any]:
    """Return a result of :class:`StarHistories` without dates of forecasts that have passed, and without a reached milestone.

    A history of the store may have ended years ago; ``stars`` is the actual count, None if it is unknown.
    """
    if not result["forecast"]:
        return result
    today, milestone = now.date().isoformat(), result["milestone"]
    points = [point for point in result["forecast"] if point["date"] > today]
    if not points:
        note = f"No forecast: it would end on {result['forecast'][-1]['date']}"
        notes = "; ".join(filter(None, [result["history_note"], note]))
        return {**result, "forecast": None, "milestone": None, "history_note": notes}
    has_grown = milestone and (stars or 0) >= milestone["stars"]
    return {**result, "forecast": points, "milestone": None if has_grown else coming_milestone(milestone, today)}


def coming_milestone(milestone: Mapping[str, Any] | None, today: str) -> Mapping[str, Any] | None:
    """Return a milestone that is not reached without dates before today; None if its range of dates has passed."""
    if milestone is None or (milestone["latest"] or milestone["date"]) <= today:
        return None
    return {**milestone, **{name: max(milestone[name], today) for name in ("earliest", "date")}}


def _read_table(path: Path, now: datetime, form: HistoryFormat) -> HistoryTable | None:
    try:
        history = read_history(path, now=now, form=form)
        for item in history.refused:
            log.warning("star histories: %s", item.as_text())
        return HistoryTable.from_frame(history.frame)
    except StargazeError as error:
        log.warning("no star histories: %s", error.message)
        return None


def _file_version(path: Path) -> FileVersion:
    """Return numbers that change when a file is replaced, None if there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None
