"""Clean a star history: merge renamed repositories, drop duplicates, split series at breaks, and list every case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.history.renames import AnomalyLog, drop_copies, join_renamed, join_spellings

MAX_GAP = 91
"""A series is split where no count exists for more than a quarter, too long for a linear interpolation [days]."""
DROP, MIN_LOST = 0.8, 50
"""A count below this share of the previous one, by at least so many stars, is not a loss of stars but another repository, or one
that was private for a while: GitHub then removes its stars."""
JUMP, MIN_GAINED, JUMP_DAYS = 2.0, 5_000, 21
"""A count above this multiple of the previous one, by more stars and within so many days: in six years, no repository grew so
much and stayed at the new level by itself; those seen were restored, merged or bought."""
ANOMALIES = ("spelling", "renamed", "copy", "repeated week", "drop", "jump", "gap")


@dataclass(frozen=True)
class CleanHistory:
    """A clean history.

    ``frame`` is the history with a column ``series`` (0 …), within which counts are comparable; ``anomalies`` has one row per
    case: ``full_name``, ``anomaly``, ``date`` [UTC], ``observed`` and ``action``.
    """

    frame: pd.DataFrame
    anomalies: pd.DataFrame

    def as_rows(self) -> list[dict[str, object]]:
        """Return one row per kind of anomaly: cases, repositories, action, and the first names."""
        rows: list[dict[str, object]] = []
        for anomaly in ANOMALIES:
            cases = self.anomalies[self.anomalies["anomaly"] == anomaly]
            if len(cases):
                names = cases["full_name"].drop_duplicates()
                examples = ", ".join(names.head(3)) + (" …" if len(names) > 3 else "")
                row = {"anomaly": anomaly, "cases": len(cases), "repositories": len(names)}
                rows.append({**row, "action": str(cases["action"].iloc[0]), "examples": examples})
        return rows


def clean_history(history: pd.DataFrame) -> CleanHistory:
    """Merge the names of one repository, drop what was counted twice, and split series at breaks.

    Parameters
    ----------
    history : DataFrame, shape (n_counts, n_columns)
        As :func:`stargaze.features.history.read.tidy_history` returns it.

    Returns
    -------
    CleanHistory
        Series are split, not dropped, at a break: what is before it does not depend on whether one follows.

    Examples
    --------
    >>> from stargaze.features.history.read import tidy_history
    >>> days = pd.date_range("2024-01-01", periods=4, freq="7D", tz="UTC")
    >>> history = pd.DataFrame({"full_name": "a/b", "date": days, "stars": [900, 910, 90, 95]})
    >>> clean = clean_history(tidy_history(history))
    >>> clean.frame["series"].tolist(), clean.anomalies["anomaly"].tolist()
    ([0, 0, 1, 1], ['drop'])
    """
    log = AnomalyLog()
    frame = join_spellings(history, log)
    frame = _keep_one_per_week(frame, log)
    frame = drop_copies(frame, log)
    frame = join_renamed(frame, log)
    frame = _split_series(frame, log)
    return CleanHistory(frame, log.as_frame())


def _keep_one_per_week(frame: pd.DataFrame, log: AnomalyLog) -> pd.DataFrame:
    """Keep the last count of each calendar week, so that all weeks have the same weight."""
    week = (frame["date"].dt.floor("D") - pd.Timestamp("1970-01-05", tz="UTC")) // pd.Timedelta(days=7)
    repeated = pd.DataFrame({"name": frame["full_name"], "week": week}).duplicated(keep="last").to_numpy()
    first = frame[repeated].drop_duplicates("full_name")
    for name, date in zip(first["full_name"], first["date"], strict=True):
        log.add(name, "repeated week", date, "more than one count in a week", "kept the last of the week")
    return frame[~repeated].reset_index(drop=True)


def _split_series(frame: pd.DataFrame, log: AnomalyLog) -> pd.DataFrame:
    """Assign a number to each stretch within which counts are comparable."""
    same_name = frame["full_name"].eq(frame["full_name"].shift()).to_numpy()
    before, now = frame["stars"].shift().to_numpy(), frame["stars"].to_numpy()
    days = frame["date"].diff().dt.total_seconds().to_numpy() / 86_400
    drops = same_name & (now < DROP * before) & (before - now >= MIN_LOST)
    jumps = same_name & (now > JUMP * before) & (now - before > MIN_GAINED) & (days <= JUMP_DAYS)
    gaps = same_name & (days > MAX_GAP)
    names, dates = frame["full_name"].to_numpy(), frame["date"].array
    for anomaly, breaks in (("drop", drops), ("jump", jumps), ("gap", gaps)):
        for row in np.flatnonzero(breaks):
            observed = f"{days[row]:.0f} days" if anomaly == "gap" else f"{before[row]:,.0f} → {now[row]:,.0f} stars"
            log.add(names[row], anomaly, dates[row], observed, "split the series")
    return frame.assign(series=np.cumsum(~same_name | drops | jumps | gaps) - 1)
