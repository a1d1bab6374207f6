"""Clean a star history: merge renamed repositories, drop duplicates, split series at breaks, and list every case."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.history.read import EPOCH

MAX_GAP = 91
"""A series is split where no count exists for more than a quarter, too long for a linear interpolation [days]."""
DROP, MIN_LOST = 0.8, 50
"""A count below this share of the previous one, by at least so many stars, is not a loss of stars but another repository, or one
that was private for a while: GitHub then removes its stars."""
JUMP, MIN_GAINED, JUMP_DAYS = 2.0, 5_000, 21
"""A count above this multiple of the previous one, by more stars and within so many days: in six years, no repository grew so
much and stayed at the new level by itself; those seen were restored, merged or bought."""
ANOMALIES = ("spelling", "renamed", "copy", "repeated week", "drop", "jump", "gap")
MAX_DAYS_APART = 91
"""Time between the last count under the old name and the first under the new one [days]."""
SIMILAR, MAX_DAYS_SIMILAR, SAME_STARS = 0.6, 21, (0.995, 1.03)
"""If owner and name are both new: least similarity of the names (difflib's ratio), most days between the counts, and range of the
ratio of the stars. Six years of weekly lists have twelve such pairs, eleven of them correct."""
STARS_RATIO, FORKS_RATIO = (0.97, 1.10), (0.95, 1.10)
"""Ranges of the ratio of the first count under the new name to the last under the old one."""
MIN_STARS = 100
"""Minimum number of stars of copies: below, two repositories have the same count by chance."""
MIN_EQUAL_DAYS, MIN_EQUAL_SHARE = 5, 0.8
"""Copies agree on at least so many days, and on this share of the days on which both were counted."""


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

    ``history`` is what :func:`stargaze.features.history.read.tidy_history` returns. Series are split, not dropped, at a break:
    what is before it does not depend on whether one follows.

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
    if len(frame["full_name"].unique()) > 1:
        frame = join_renamed(drop_copies(frame, log), log)
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


@dataclass
class AnomalyLog:
    """The anomalies of a history, one row per case."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, anomaly: str, date: pd.Timestamp, observed: str, action: str) -> None:
        """Add one case."""
        self.rows.append({"full_name": name, "anomaly": anomaly, "date": date, "observed": observed, "action": action})

    def as_frame(self) -> pd.DataFrame:
        """Return the cases in the order in which they were found."""
        return pd.DataFrame(self.rows, columns=["full_name", "anomaly", "date", "observed", "action"])


def join_spellings(history: pd.DataFrame, log: AnomalyLog) -> pd.DataFrame:
    """Merge names that differ only in case under the latest one, as GitHub's names are case-insensitive."""
    folded = history["full_name"].str.lower()
    latest = history.assign(folded=folded).sort_values("date", kind="stable").drop_duplicates("folded", keep="last")
    name = folded.map(dict(zip(latest["folded"], latest["full_name"], strict=True)))
    old = history[name.ne(history["full_name"])].drop_duplicates("full_name", keep="last")
    for old_name, date, new_name in zip(old["full_name"], old["date"], name[old.index], strict=True):
        log.add(old_name, "spelling", date, f"also {new_name}", "merged under the latest spelling")
    return _sort(history.assign(full_name=name))


def drop_copies(history: pd.DataFrame, log: AnomalyLog) -> pd.DataFrame:
    """Of two names with the same counts on the same days, drop the one that ends first, where both are counted."""
    keys = ["date", "stars", "forks"]
    known = history.loc[history["stars"].ge(MIN_STARS) & history["forks"].notna(), ["full_name", *keys]]
    known = known[known.duplicated(keys, keep=False)]
    pairs = known.merge(known, on=keys, suffixes=("", "_other"))
    pairs = pairs[pairs["full_name"] < pairs["full_name_other"]]
    n_equal = pairs.groupby(["full_name", "full_name_other"]).size()
    dates = history.groupby("full_name")["date"]
    dropped = np.zeros(len(history), dtype="bool")
    for name, other in n_equal.index[n_equal.ge(MIN_EQUAL_DAYS)]:
        days, other_days = set(dates.get_group(name)), set(dates.get_group(other))
        shared = days & other_days
        if n_equal[name, other] >= MIN_EQUAL_SHARE * len(shared) and _is_changing(history, name):
            copy, original = (name, other) if max(days) < max(other_days) else (other, name)
            log.add(copy, "copy", max(shared), f"the same counts as {original}", "dropped where both are counted")
            overlaps = history["date"].ge(min(dates.get_group(original)))  # earlier counts exist only in the copy
            dropped |= (history["full_name"].eq(copy) & overlaps).to_numpy()
    return history[~dropped].reset_index(drop=True)


def join_renamed(history: pd.DataFrame, log: AnomalyLog) -> pd.DataFrame:
    """Merge a name that ends with the similar name that continues its counts, if there is exactly one."""
    ends = history.drop_duplicates("full_name", keep="last")
    starts = history.drop_duplicates("full_name", keep="first")
    ends = ends[ends["stars"].ge(MIN_STARS) & ends["date"].lt(history["date"].max())]
    starts = starts[starts["stars"].ge(MIN_STARS) & starts["date"].gt(history["date"].min())]
    successors = _find_successors(ends, starts)
    for old_name, (new_name, date) in successors.items():
        log.add(old_name, "renamed", date, f"continues as {new_name}", "merged under the new name")
    final = {old_name: _follow(old_name, successors) for old_name in successors}
    return _sort(history.assign(full_name=history["full_name"].map(lambda name: final.get(name, name))))


def _find_successors(ends: pd.DataFrame, starts: pd.DataFrame) -> dict[str, tuple[str, pd.Timestamp]]:
    """Pair each ended name with its only possible successor, if that has no other possible predecessor."""
    starts = starts.sort_values("date", kind="stable")
    names, counts = starts["full_name"].to_list(), starts[["stars", "forks"]].to_numpy()
    dates = [pd.Timestamp(date) for date in starts["date"]]
    start_days, end_days = _days(starts), _days(ends)
    first = np.searchsorted(start_days, end_days, side="right")
    last = np.searchsorted(start_days, end_days + MAX_DAYS_APART, side="right")
    pairs: list[tuple[str, str, pd.Timestamp]] = []
    for row, (name, stars, forks) in enumerate(ends[["full_name", "stars", "forks"]].itertuples(index=False)):
        near = slice(first[row], last[row])
        with np.errstate(divide="ignore", invalid="ignore"):
            stars_ratio, forks_ratio = counts[near, 0] / stars, counts[near, 1] / forks
        fits = _within(stars_ratio, STARS_RATIO) & (_within(forks_ratio, FORKS_RATIO) | np.isnan(forks_ratio))
        for i in np.flatnonzero(fits):
            start = first[row] + i
            if _shares_owner_or_name(name, names[start]) or (
                start_days[start] - end_days[row] <= MAX_DAYS_SIMILAR
                and _within(stars_ratio[i], SAME_STARS)
                and _is_similar(name, names[start])
            ):
                pairs.append((name, names[start], dates[start]))
    candidates = pd.DataFrame(_drop_shortcuts(pairs), columns=["old", "new", "date"])
    unique = candidates[~candidates["old"].duplicated(keep=False) & ~candidates["new"].duplicated(keep=False)]
    return {old: (new, date) for old, new, date in unique.itertuples(index=False)}


def _drop_shortcuts(pairs: list[tuple[str, str, pd.Timestamp]]) -> list[tuple[str, str, pd.Timestamp]]:
    """Drop pairs that skip a name: a repository that was renamed twice in a quarter seems to have two successors."""
    after: dict[str, set[str]] = {}
    for old, new, _ in pairs:
        after.setdefault(old, set()).add(new)
    shortcuts = {(old, last) for old, names in after.items() for new in names for last in names & after.get(new, set())}
    return [pair for pair in pairs if pair[:2] not in shortcuts]


def _days(frame: pd.DataFrame) -> np.ndarray:
    return ((frame["date"] - EPOCH) // pd.Timedelta(days=1)).to_numpy()


def _within(ratio: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (bounds[0] <= ratio) & (ratio <= bounds[1])


def _shares_owner_or_name(old: str, new: str) -> bool:
    """Return whether the owner or the name stays.

    Examples
    --------
    >>> _shares_owner_or_name("facebook/graphql", "graphql/graphql")
    True
    >>> _shares_owner_or_name("facebook/graphql", "graphql/graphql-spec")
    False
    """
    owner, _, name = old.lower().partition("/")
    new_owner, _, new_name = new.lower().partition("/")
    return owner == new_owner or name == new_name


def _is_similar(old: str, new: str) -> bool:
    """Return whether a repository with a new owner may have had this name before.

    Examples
    --------
    >>> _is_similar("robbyrussell/oh-my-zsh", "ohmyzsh/ohmyzsh"), _is_similar("hyperoslo/ImagePicker", "yanue/V2rayU")
    (True, False)
    """
    name, new_name = (text.lower().partition("/")[2] for text in (old, new))
    return difflib.SequenceMatcher(a=name, b=new_name, autojunk=False).ratio() >= SIMILAR


def _follow(name: str, successors: dict[str, tuple[str, pd.Timestamp]]) -> str:
    """Return the latest name of a repository that was renamed once or more."""
    while name in successors:
        name = successors[name][0]
    return name


def _is_changing(history: pd.DataFrame, name: str) -> bool:
    """Return whether the counts of a name change: two constant counts are equal by chance."""
    return history.loc[history["full_name"].eq(name), "stars"].nunique() >= MIN_EQUAL_DAYS


def _sort(history: pd.DataFrame) -> pd.DataFrame:
    return history.sort_values(["full_name", "date"], kind="stable", ignore_index=True)
