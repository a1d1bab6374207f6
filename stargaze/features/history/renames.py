"""One repository under two names: other capitals, a new name or owner, or both names counted at the same time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.history.read import EPOCH

LATEST = 91
"""Days between the last count under one name and the first under the other."""
ALIKE, AT_ONCE, AS_BEFORE = 0.6, 21, (0.995, 1.03)
"""Where owner and name are both new: the least likeness of the names (difflib's ratio), the most days between the counts, and
how nearly the stars go on. Six years of weekly lists hold twelve such pairs, of which eleven are what they seem."""
STARS_GO_ON, FORKS_GO_ON = (0.97, 1.10), (0.95, 1.10)
"""How a count may go on under the new name, as parts of the last one."""
FEWEST_STARS = 100
"""Below this, two repositories have the same count by chance."""
FEWEST_SHARED, SHARED = 5, 0.8
"""Copies agree on at least so many days, and on this part of all days that both were counted."""


@dataclass
class CleaningLog:
    """What was found wrong with a history so far, a row a case."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, fault: str, date: pd.Timestamp, what: str, done: str) -> None:
        """Name one case."""
        self.rows.append({"full_name": name, "fault": fault, "date": date, "what": what, "done": done})

    def add_all(self, frame: pd.DataFrame, fault: str, what: str, done: str) -> None:
        """Name a case for each row of a history."""
        for name, date in zip(frame["full_name"], frame["date"], strict=True):
            self.add(name, fault, date, what, done)

    def as_frame(self) -> pd.DataFrame:
        """Return the cases in the order in which they were found."""
        return pd.DataFrame(self.rows, columns=["full_name", "fault", "date", "what", "done"])


def join_spellings(history: pd.DataFrame, faults: CleaningLog) -> pd.DataFrame:
    """Join names that differ in capitals only, under the one that was used last; GitHub takes them for the same."""
    folded = history["full_name"].str.lower()
    latest = history.assign(folded=folded).sort_values("date", kind="stable").drop_duplicates("folded", keep="last")
    name = folded.map(dict(zip(latest["folded"], latest["full_name"], strict=True)))
    old = history[name.ne(history["full_name"])].drop_duplicates("full_name", keep="last")
    for was, date, becomes in zip(old["full_name"], old["date"], name[old.index], strict=True):
        faults.add(was, "two spellings", date, f"also {becomes}", "joined under the last one")
    return _sorted(history.assign(full_name=name))


def drop_copies(history: pd.DataFrame, faults: CleaningLog) -> pd.DataFrame:
    """Leave out, since both are counted, the one of two names with the same counts on the same days whose counts end first."""
    keys = ["date", "stars", "forks"]
    known = history.loc[history["stars"].ge(FEWEST_STARS) & history["forks"].notna(), ["full_name", *keys]]
    known = known[known.duplicated(keys, keep=False)]
    pairs = known.merge(known, on=keys, suffixes=("", "_other"))
    pairs = pairs[pairs["full_name"] < pairs["full_name_other"]]
    agreed = pairs.groupby(["full_name", "full_name_other"]).size()
    dates = history.groupby("full_name")["date"]
    gone = np.zeros(len(history), dtype="bool")
    for one, other in agreed.index[agreed.ge(FEWEST_SHARED)]:
        first, second = set(dates.get_group(one)), set(dates.get_group(other))
        if agreed[one, other] >= SHARED * len(first & second) and _moves(history, one):
            goes, stays = (one, other) if max(first) < max(second) else (other, one)
            faults.add(
                goes, "copy", max(first & second), f"the same counts as {stays}", "left out since both are counted"
            )
            since = history["date"].ge(
                min(dates.get_group(stays))
            )  # what lies before it is the only past that there is
            gone |= (history["full_name"].eq(goes) & since).to_numpy()
    return history[~gone].reset_index(drop=True)


def join_renamed(history: pd.DataFrame, faults: CleaningLog) -> pd.DataFrame:
    """Join a name whose counts end to the one like it that goes on from there, where there is just one such."""
    ends = history.drop_duplicates("full_name", keep="last")
    begins = history.drop_duplicates("full_name", keep="first")
    ends = ends[ends["stars"].ge(FEWEST_STARS) & ends["date"].lt(history["date"].max())]
    begins = begins[begins["stars"].ge(FEWEST_STARS) & begins["date"].gt(history["date"].min())]
    becomes = _successors(ends, begins)
    for was, (name, date) in becomes.items():
        faults.add(was, "renamed", date, f"goes on as {name}", "joined under the new name")
    final = {was: _last(was, becomes) for was in becomes}
    renamed = history["full_name"].map(lambda name: final.get(name, name))
    return _sorted(history.assign(full_name=renamed))


def _successors(ends: pd.DataFrame, begins: pd.DataFrame) -> dict[str, tuple[str, pd.Timestamp]]:
    """Pair each ended name with the only one that can be its successor, and that has no other predecessor."""
    begins = begins.sort_values("date", kind="stable")
    names, counts = begins["full_name"].to_list(), begins[["stars", "forks"]].to_numpy()
    dates = [pd.Timestamp(date) for date in begins["date"]]
    starts, stops = _days(begins), _days(ends)
    first = np.searchsorted(starts, stops, side="right")
    last = np.searchsorted(starts, stops + LATEST, side="right")
    pairs: list[tuple[str, str, pd.Timestamp]] = []
    for row, (name, stars, forks) in enumerate(ends[["full_name", "stars", "forks"]].itertuples(index=False)):
        near = slice(first[row], last[row])
        with np.errstate(divide="ignore", invalid="ignore"):
            grown, forked = counts[near, 0] / stars, counts[near, 1] / forks
        fits = _within(grown, STARS_GO_ON) & (_within(forked, FORKS_GO_ON) | np.isnan(forked))
        for place in np.flatnonzero(fits):
            at = first[row] + place
            if _are_kin(name, names[at]) or (
                starts[at] - stops[row] <= AT_ONCE and _within(grown[place], AS_BEFORE) and _are_alike(name, names[at])
            ):
                pairs.append((name, names[at], dates[at]))
    found = pd.DataFrame(_steps(pairs), columns=["was", "name", "date"])
    single = found[~found["was"].duplicated(keep=False) & ~found["name"].duplicated(keep=False)]
    return {was: (name, date) for was, name, date in single.itertuples(index=False)}


def _steps(pairs: list[tuple[str, str, pd.Timestamp]]) -> list[tuple[str, str, pd.Timestamp]]:
    """Leave out what skips a name: who was renamed twice in a quarter looks like two successors."""
    after: dict[str, set[str]] = {}
    for was, name, _ in pairs:
        after.setdefault(was, set()).add(name)
    skipped = {(was, last) for was, names in after.items() for name in names for last in names & after.get(name, set())}
    return [pair for pair in pairs if pair[:2] not in skipped]


def _days(frame: pd.DataFrame) -> np.ndarray:
    return ((frame["date"] - EPOCH) // pd.Timedelta(days=1)).to_numpy()


def _within(part: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (bounds[0] <= part) & (part <= bounds[1])


def _are_kin(one: str, other: str) -> bool:
    """Tell whether the owner or the name stays.

    Examples
    --------
    >>> _are_kin("facebook/graphql", "graphql/graphql"), _are_kin("facebook/graphql", "graphql/graphql-spec")
    (True, False)
    """
    owner, _, name = one.lower().partition("/")
    new_owner, _, new_name = other.lower().partition("/")
    return owner == new_owner or name == new_name


def _are_alike(one: str, other: str) -> bool:
    """Tell whether both may have been new at the same time, and the repository still be one.

    Examples
    --------
    >>> _are_alike("robbyrussell/oh-my-zsh", "ohmyzsh/ohmyzsh"), _are_alike("hyperoslo/ImagePicker", "yanue/V2rayU")
    (True, False)
    """
    name, new_name = (text.lower().partition("/")[2] for text in (one, other))
    return difflib.SequenceMatcher(a=name, b=new_name, autojunk=False).ratio() >= ALIKE


def _last(name: str, becomes: dict[str, tuple[str, pd.Timestamp]]) -> str:
    """Follow a repository that was renamed more than once."""
    while name in becomes:
        name = becomes[name][0]
    return name


def _moves(history: pd.DataFrame, name: str) -> bool:
    """Tell whether the counts of a name change at all: two that stand still agree by chance."""
    counts = history.loc[history["full_name"].eq(name), "stars"]
    return counts.nunique() >= FEWEST_SHARED


def _sorted(history: pd.DataFrame) -> pd.DataFrame:
    return history.sort_values(["full_name", "date"], kind="stable", ignore_index=True)
