"""The leak guard: refuse columns that encode the order or the time in which the records were collected.

A table that was collected page by page in order of stars leaks them through every column that changes with each page.
The guard estimates what the row number and the fetch time say of the stars, and compares neighbors in each column
(:mod:`stargaze.features.collection.order_statistics`) and the newest dates of blocks of rows. A refused field takes all
features along that read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.features.collection.columns import HAS_FETCH_TIME, ROW_NUMBER
from stargaze.features.collection.late_blocks import find_late_blocks
from stargaze.features.collection.order_statistics import (
    counts_rows,
    neighbor_similarity,
    r2_of_neighbors,
    rank_agreement,
    row_concordance,
    value_similarity,
)
from stargaze.features.dataset import Dataset
from stargaze.features.feature_kinds import days_between, floor_to_day, is_day
from stargaze.features.matrix import Catalog
from stargaze.features.selection.filters import LEAKS, LEAKS_TARGET

SIMILARITY = 0.15
"""Honest columns reach 0.08 where it is not chance."""
SIMILARITY_IN_GROUPS = 0.4
"""In groups of few rows, windows are a larger part of a column's range: honest columns reach 0.18."""
EQUAL_VALUES = 0.45
"""Honest columns reach 0.31."""
CONCORDANCE = 0.25
"""Honest columns reach 0.05."""
ALONE, ALONE_AS_CATEGORY = 0.95, 0.9
"""A column that predicts the stars so well alone repeats them; the best honest ones, forks and star events, reach 0.82 [R²]."""
PARTS = 0.8
"""Values that are parts of the order of the stars, as quartiles are [Cohen's kappa]; honest columns reach 0.51."""
MAX_UNSTATED = 0.05
"""The largest share of records without a fetch time in a table whose updated_at is used."""
COUNTED = 0.4
"""A column that counts rows or pages predicts more; one that counts the years of equal parts predicts less [R²]."""
ORDERED = 0.1
"""Rows are ordered by stars, or by something that follows them, if the row number alone predicts more [R²]."""
MAX_FLAG = 3
"""Values of a flag, with that of missing ones; a flag orders nothing."""
AGES = {"updated_at": "update_age", "pushed_at": "push_age"}
"""Dates of the last change, and the features with the time since then."""
ALARM_R2 = 0.95
"""R² of the logarithm of the stars that all features together do not reach in honest tables; the best has 0.93."""
ENCODES = "encodes the collection"
STATE_TIMES = 'map the time of each record: [fetch.columns] fetched_at = "…"'
LEAVE_OUT = "leave it out: fetch.exclude, or not in fetch.extra"


@dataclass(frozen=True)
class CollectionCheck:
    """The refused features, each with the reason, and what the order and the time of the collection alone predict [R²]."""

    reasons: dict[str, str]
    scores: dict[str, float]


@dataclass(frozen=True)
class _Rows:
    """The training rows: repositories, target [nat], the position in the source files if known, and groups of rows."""

    repositories: pd.DataFrame
    target: np.ndarray
    position: np.ndarray | None
    has_time: np.ndarray | None
    groups: dict[str, np.ndarray]
    row_r2: float

    def orders(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the orders in which the rows may have been collected: that of the files, or by stars in all rows or in groups."""
        if self.position is not None and self.row_r2 >= ORDERED:
            yield "row number", np.argsort(self.position, kind="stable")
        by_chance = np.random.default_rng(0).random(len(self.target))
        yield "stars", np.lexsort((by_chance, self.target))
        for name, group in self.groups.items():
            yield f"stars within {name}", np.lexsort((by_chance, self.target, group))


def check_collection(
    dataset: Dataset, inputs: pd.DataFrame, catalog: Catalog, skipped: Collection[str]
) -> CollectionCheck:
    """Check all features of the training rows, ``inputs`` (n_training, n_features), except skipped ones."""
    rows = _take_rows(dataset, catalog)
    fields = dict(_check_changes(rows, inputs))
    features: dict[str, str] = {}
    names = [name for name in map(str, inputs) if name not in skipped and not catalog[name].learned]
    for name in names:
        item = catalog[name]
        if not fields.keys().isdisjoint(item.fields):
            continue
        if item.kind == "number":
            reason = _check_number(inputs[name].to_numpy(dtype="float64"), rows)
        else:
            reason = _check_category(rows.repositories[name], rows)
        if reason and len(item.fields) == 1:
            fields[item.fields[0]] = reason
        elif reason:
            features[name] = f"{name} {ENCODES}: {reason}; {LEAVE_OUT}"
    for name in map(str, inputs):
        refused = [field for field in catalog[name].source if field in fields]
        if refused:
            todo = STATE_TIMES if refused[0] in AGES else LEAVE_OUT
            features[name] = f"{refused[0]} {ENCODES}: {fields[refused[0]]}; {todo}"
    scores = {"row_number": rows.row_r2, "fetch_time": _time_r2(rows)}
    return CollectionCheck(features, {name: round(value, 3) for name, value in scores.items()})


def describe_refused(reasons: Mapping[str, str]) -> list[str]:
    """Return one line for each column that encodes the collection or the stars: the features that it takes along, and the reason.

    >>> describe_refused({"rank": "rank encodes the collection: it counts the rows", "age": "selected, 0.1"})
    ['refused rank: rank encodes the collection: it counts the rows']
    """
    refused: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if ENCODES in reason or (reason.startswith(LEAKS_TARGET) and name not in LEAKS):
            refused.setdefault(reason, []).append(name)
    return [f"refused {', '.join(names)}: {reason}" for reason, names in refused.items()]


def _take_rows(dataset: Dataset, catalog: Catalog) -> _Rows:
    rows = dataset.training
    repositories, target = dataset.repositories.iloc[rows].reset_index(drop=True), dataset.target[rows]
    collection = None if dataset.collection is None else dataset.collection.iloc[rows]
    position = None if collection is None else collection[ROW_NUMBER].to_numpy()
    has_time = None if collection is None else collection[HAS_FETCH_TIME].to_numpy()
    categories = {"language": repositories["language"], "year of creation": repositories["created_at"].dt.year}
    own = [column.name for column in catalog.own_columns if column.kind == "category"]
    categories |= {name: repositories[name] for name in own}
    groups = {name: pd.factorize(values)[0] + 1 for name, values in categories.items()}
    row_r2 = 0.0 if position is None else r2_of_neighbors(position.astype("float64"), target)
    groups = {name: group for name, group in groups.items() if np.ptp(group)}
    return _Rows(repositories, target, position, has_time, groups, max(row_r2, 0.0))


def _time_r2(rows: _Rows) -> float:
    fetched = rows.repositories["fetched_at"]
    seconds = np.where(fetched.isna(), np.nan, fetched.to_numpy("datetime64[s]").astype("float64"))
    return 0.0 if _is_constant(fetched) else max(r2_of_neighbors(seconds, rows.target), 0.0)


def _is_constant(dates: pd.Series) -> bool:
    return bool(dates.isna().all() or dates.min() == dates.max())


def _check_changes(rows: _Rows, inputs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the dates of the last change that tell when the record was collected, each with the reason."""
    if reason := _check_fetch_times(rows):
        yield "updated_at", reason
    for field, name in AGES.items():
        if (field == "updated_at" and reason) or name not in inputs:
            continue
        ages = inputs[name].to_numpy(dtype="float64")
        since_creation = days_between(rows.repositories["created_at"], rows.repositories["fetched_at"])
        for order, positions in rows.orders():
            late = find_late_blocks(ages, positions, since_creation)
            if late.follow_order:
                problem = f"in {late.share:.0%} of the blocks of neighbors by {order}, no {name} is near 0"
                yield field, f"{problem}: they were collected one after another, and fetched_at is not their time"
                break


def _check_fetch_times(rows: _Rows) -> str:
    """Return why fetched_at is not the time at which each record was collected, as far as updated_at tells."""
    repositories = rows.repositories
    known = repositories["updated_at"].notna().to_numpy()
    if rows.has_time is None or not known.any():
        return ""
    unstated = known & ~rows.has_time & ~is_day(repositories["updated_at"])
    if unstated.sum() > MAX_UNSTATED * known.sum():
        records = f"{unstated.sum():,} of {known.sum():,} records state no fetch time"
        return f"its time of day is that of the collection, and {records}"
    fetched = repositories["fetched_at"]
    if not _is_constant(fetched[known]) or not rows.has_time[known].all():
        return ""
    updated = floor_to_day(repositories["updated_at"], is_day(fetched))
    later = int((updated.to_numpy("datetime64[s]") > fetched.to_numpy("datetime64[s]"))[known].sum())
    return (
        f"all records state the same fetched_at, and {later:,} of {known.sum():,} were updated later" if later else ""
    )


def _check_number(values: np.ndarray, rows: _Rows) -> str:
    """Return what a column encodes of the collection, with the numbers; or nothing."""
    distinct, codes = np.unique(values, return_inverse=True)  # missing values are equal
    reason = _check_parts(codes, np.isnan(values), rows)
    return reason if reason or len(distinct) <= MAX_FLAG else _check_neighbors(values, rows)


def _check_neighbors(values: np.ndarray, rows: _Rows) -> str:
    """Return what the order of a column's values says of the stars."""
    target = rows.target
    found = neighbor_similarity(values, target)
    if found.exceeds(SIMILARITY):
        return f"neighbors in it have similar stars ({found.value:.2f} of 1; other columns reach 0.08){_cause(rows)}"
    if (share := value_similarity(values, target)) >= EQUAL_VALUES:
        return (
            f"rows with equal values have nearly equal stars ({share:.2f} of 1; other columns reach 0.31){_cause(rows)}"
        )
    for name, group in rows.groups.items():
        if (found := neighbor_similarity(values, target, group)).exceeds(SIMILARITY_IN_GROUPS):
            return f"neighbors in it with the same {name} have similar stars ({found.value:.2f} of 1){_cause(rows)}"
    if (r2 := r2_of_neighbors(values, target)) >= ALONE:
        return f"it alone predicts the logarithm of the stars with R² {r2:.2f}{_cause(rows)}"
    return _compare_with_rows(values, rows, r2)


def _compare_with_rows(values: np.ndarray, rows: _Rows, r2: float) -> str:
    """Return what a column encodes of the order of the rows in the files, if that is known."""
    if rows.position is None or rows.row_r2 < ORDERED:
        return ""
    found = row_concordance(values, rows.target, rows.position)
    if found.exceeds(CONCORDANCE):
        return f"it orders neighboring rows of the files like the stars ({found.value:.2f} of 1){_cause(rows)}"
    is_number = r2 >= COUNTED and counts_rows(values, rows.position)
    return f"it counts the rows or pages of the files{_cause(rows)}" if is_number else ""


def _check_category(values: pd.Series, rows: _Rows) -> str:
    """Return whether a category repeats the stars, as ranges of stars or pages do."""
    numbers = pd.factorize(values)[0]
    if reason := _check_parts(numbers + 1, numbers < 0, rows):
        return reason
    codes = numbers.astype("float64")
    r2 = r2_of_neighbors(np.where(codes < 0, np.nan, codes), rows.target)
    return (
        f"it alone predicts the logarithm of the stars with R² {r2:.2f}{_cause(rows)}"
        if r2 >= ALONE_AS_CATEGORY
        else ""
    )


def _check_parts(groups: np.ndarray, is_missing: np.ndarray, rows: _Rows) -> str:
    """Return whether the values, or the missing ones and the others, are parts of the order of the stars."""
    if (found := rank_agreement(groups, rows.target)) >= PARTS:
        return f"its values are parts of the order of the stars ({found:.2f} of 1){_cause(rows)}"
    if (found := rank_agreement(is_missing.astype("int64"), rows.target)) >= PARTS:
        return f"whether it is missing depends on the stars alone ({found:.2f} of 1){_cause(rows)}"
    return ""


def _cause(rows: _Rows) -> str:
    if rows.row_r2 < ORDERED:
        return ""
    return f"; the row number alone predicts R² {rows.row_r2:.2f}"


def describe_alarms(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each policy whose models predict the stars better than anything that is known of a repository allows.

    >>> describe_alarms({"static": {"r2": 0.2}, "all": {"r2": 0.981}})
    ['policy all: R² 0.981 is a sign of a leak: no honest table reached 0.95; look at its most important features']
    """
    return [
        f"policy {policy}: R² {values['r2']:.3f} is a sign of a leak: no honest table reached {ALARM_R2:.2f}; "
        "look at its most important features"
        for policy, values in scores.items()
        if (values.get("r2") or 0.0) >= ALARM_R2
    ]
