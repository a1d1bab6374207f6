"""Whole series out of a history: what is broken is parted, what was renamed is joined, and every such case is named."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.history.renames import CleaningLog, drop_copies, join_renamed, join_spellings

MAX_GAP = 91
"""Days without a count after which a series begins anew: a quarter cannot be filled in by a line."""
FALL, FEWEST_LOST = 0.8, 50
"""A count below this part of the one before, by at least so many stars, is no loss of stars but another repository or a
repository that was private for a while: GitHub then forgets who had starred it."""
JUMP, MOST_GAINED, SOON = 2.0, 5_000, 21
"""More than doubled and by more stars than this within so many days: no repository in six years did so and went on from
there at its new height by itself; those seen were restored, merged, or bought."""
FAULTS = ("two spellings", "renamed", "copy", "counted twice", "fall", "jump", "gap")


@dataclass(frozen=True)
class CleanHistory:
    """A history with whole series, and what had to be done for that.

    ``frame`` is the history with a column ``series`` (0 …), within which counts may be compared; ``faults`` has a row a case:
    ``full_name``, ``fault``, ``date`` [UTC], ``what`` was seen and what was ``done``.
    """

    frame: pd.DataFrame
    faults: pd.DataFrame

    def as_rows(self) -> list[dict[str, object]]:
        """Return a row a fault: how many cases, of how many repositories, what is done, and the first names."""
        rows: list[dict[str, object]] = []
        for fault in FAULTS:
            found = self.faults[self.faults["fault"] == fault]
            if len(found):
                names = found["full_name"].drop_duplicates()
                some = ", ".join(names.head(3)) + (" …" if len(names) > 3 else "")
                row = {"fault": fault, "cases": len(found), "repositories": len(names)}
                rows.append({**row, "done": str(found["done"].iloc[0]), "as": some})
        return rows


def clean_history(history: pd.DataFrame) -> CleanHistory:
    """Join what is one repository, leave out what is counted twice, and part what does not go on.

    Parameters
    ----------
    history : DataFrame
        As :func:`stargaze.features.history.read.tidy_history` returns it.

    Returns
    -------
    CleanHistory
        Parted, not dropped, at a break: what lies before it does not depend on whether one follows.

    Examples
    --------
    >>> from stargaze.features.history.read import tidy_history
    >>> days = pd.date_range("2024-01-01", periods=4, freq="7D", tz="UTC")
    >>> found = clean_history(tidy_history(pd.DataFrame({"full_name": "a/b", "date": days, "stars": [900, 910, 90, 95]})))
    >>> found.frame["series"].tolist(), found.faults["fault"].tolist()
    ([0, 0, 1, 1], ['fall'])
    """
    faults = CleaningLog()
    frame = join_spellings(history, faults)
    frame = _once_a_week(frame, faults)
    frame = drop_copies(frame, faults)
    frame = join_renamed(frame, faults)
    frame = _parted(frame, faults)
    return CleanHistory(frame, faults.as_frame())


def _once_a_week(frame: pd.DataFrame, faults: CleaningLog) -> pd.DataFrame:
    """Keep the last count of each calendar week: a week that is counted twice would weigh twice."""
    week = (frame["date"].dt.floor("D") - pd.Timestamp("1970-01-05", tz="UTC")) // pd.Timedelta(days=7)
    again = pd.DataFrame({"name": frame["full_name"], "week": week}).duplicated(keep="last").to_numpy()
    same = frame[again].drop_duplicates("full_name")
    faults.add_all(same, "counted twice", "more than one count in a week", "the last of the week is kept")
    return frame[~again].reset_index(drop=True)


def _parted(frame: pd.DataFrame, faults: CleaningLog) -> pd.DataFrame:
    """Give a number to each stretch within which counts may be compared."""
    same = frame["full_name"].eq(frame["full_name"].shift()).to_numpy()
    before, now = frame["stars"].shift().to_numpy(), frame["stars"].to_numpy()
    days = frame["date"].diff().dt.total_seconds().to_numpy() / 86_400
    falls = same & (now < FALL * before) & (before - now >= FEWEST_LOST)
    jumps = same & (now > JUMP * before) & (now - before > MOST_GAINED) & (days <= SOON)
    gaps = same & (days > MAX_GAP)
    for fault, places in (("fall", falls), ("jump", jumps), ("gap", gaps)):
        said = zip(*(values[places] for values in (days, before, now)), strict=True)
        cases = zip(frame["full_name"][places], frame["date"][places], said, strict=True)
        for name, date, (gap, had, has) in cases:
            seen = f"{gap:.0f} days" if fault == "gap" else f"{had:,.0f} → {has:,.0f} stars"
            faults.add(name, fault, date, seen, "parted there")
    begins = ~same | falls | jumps | gaps
    return frame.assign(series=np.cumsum(begins) - 1)
