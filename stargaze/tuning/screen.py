"""Compare all families under cross-validation, each on its own; a family that fails is a row that says why."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES, ScreeningSection
from stargaze.errors import ExternalError, UsageError
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset_and_features
from stargaze.store import Store
from stargaze.system.files import atomic_write, convert_disk_errors
from stargaze.system.progress import Report
from stargaze.tuning.cross_validation import policy_arrays
from stargaze.tuning.executors.executor import Executor, Job, Started, opened
from stargaze.tuning.families import chosen

COLUMNS = [
    "policy",
    "family",
    "status",
    "rmsle",
    "spread",
    "r2",
    "mdape",
    "rho",
    "fit_time",
    "size_mb",
    "rows",
    "note",
    "feature_set",
]
SLOWEST_FIRST = (
    *("random-forest", "extra-trees", "support-vectors", "histogram-boosting", "perceptron"),
    *("xgboost", "lightgbm", "catboost"),
)


@dataclass(frozen=True)
class Running:
    """A family that was started, and when."""

    job: Job
    family: Started
    begun: float


def screen(
    section: ScreeningSection, store: Store, seed: int, report: Report = lambda _what, _done: None
) -> pd.DataFrame:
    """Screen the families under the three policies and write the leaderboard.

    Returns
    -------
    DataFrame, shape (n_families × 3, n_columns)
        Best first inside each policy: score ± spread over folds [nat], fit time of a fold [s], size of the fitted model [MB].

    Raises
    ------
    UsageError
        If a family is not known.
    ExternalError
        If no family could be fitted.
    """
    names = sorted(chosen(section.families), key=_slowest_first)
    table, feature_set = read_dataset_and_features(store)
    least = 20 * feature_set.split.folds
    if 0 < section.max_rows < least:
        raise UsageError(
            f"screening.max_rows is {section.max_rows}: too few to compare on", hint=f"at least {least}, or 0 for all"
        )
    with convert_disk_errors(store.root), tempfile.TemporaryDirectory(prefix=".screen-", dir=store.root) as folder:
        jobs = _prepare(table, feature_set, names, section, seed, Path(folder))
        with opened(section, Path(folder), names, lambda what: report(what, 0.0)) as executor:
            rows = _run(jobs, executor, section, report)
    board = pd.DataFrame(rows).reindex(columns=COLUMNS)
    board["feature_set"] = feature_set.digest
    order = board["policy"].map({policy: place for place, policy in enumerate(reversed(POLICIES))})
    board = (
        board.assign(order=order).sort_values(["order", "rmsle", "family"]).drop(columns="order").reset_index(drop=True)
    )
    if not (board["status"] == "ok").any():
        raise ExternalError(
            f"no family could be fitted: {board['note'].iloc[0]}",
            hint="stargaze screen --time-limit 600",
        )
    with atomic_write(store.leaderboard) as temporary:
        board.to_csv(temporary, index=False)
    return board


def records(board: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the leaderboard as a row a dictionary."""
    return [{str(name): value for name, value in row.items()} for row in board.to_dict("records")]


def read_leaderboard(store: Store, feature_set: FeatureSet) -> pd.DataFrame:
    """Read the leaderboard and refuse one that was made from another feature set."""
    path = store.need(store.leaderboard)
    try:
        board = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint="stargaze screen makes it anew") from error
    if list(board.columns) != COLUMNS or not (board["feature_set"] == feature_set.digest).all():
        raise ExternalError(f"{path} was made from another feature set", hint="stargaze screen")
    return board


def _slowest_first(family: str) -> int:
    return SLOWEST_FIRST.index(family) if family in SLOWEST_FIRST else len(SLOWEST_FIRST)


def _prepare(
    table: Dataset, feature_set: FeatureSet, names: Sequence[str], section: ScreeningSection, seed: int, folder: Path
) -> list[Job]:
    rows = _sample(table, section.max_rows, seed)
    for policy in POLICIES:
        policy_arrays(table, feature_set, policy, rows).save(folder / f"{policy}.npz")
    return [Job(name, folder, len(rows), seed) for name in names]


def _sample(table: Dataset, most: int, seed: int) -> np.ndarray:
    """Take whole owners at random until there are enough rows, so that folds stay honest."""
    rows = table.training
    if not most or len(rows) <= most:
        return rows
    owners, _ = pd.factorize(table.repositories["full_name"].iloc[rows].str.lower().str.partition("/")[0])
    shuffled = np.random.default_rng(seed).permutation(owners.max() + 1)
    order = np.argsort(shuffled[owners], kind="stable")
    return np.sort(rows[order[:most]])


def _run(jobs: list[Job], executor: Executor, section: ScreeningSection, report: Report) -> list[dict[str, Any]]:
    waiting, running, rows = list(jobs), list[Running](), list[dict[str, Any]]()
    at_once = section.max_concurrent or executor.at_once
    while waiting or running:
        while waiting and len(running) < at_once:
            job = waiting.pop(0)
            running.append(Running(job, executor.start(job), time.monotonic()))
        for one in list(running):
            ended = _finished(one, section.time_limit)
            if ended is not None:
                running.remove(one)
                rows += ended
                report(f"{one.job.family}: {_heard(ended)}", len(rows) / len(POLICIES) / len(jobs))
        time.sleep(0.02)
    return rows


def _finished(one: Running, limit: float) -> list[dict[str, Any]] | None:
    """Return a row a policy of a family that ended, failed or ran out of time; None while it runs."""
    if one.family.ended():
        missing = {"status": "failed", "note": one.family.complaint()[:300]}
    elif time.monotonic() - one.begun < limit:
        return None
    else:
        one.family.kill()
        missing = {"status": "time", "note": f"not done after {limit:g} s"}
    return [_row(one.job, policy, missing) for policy in reversed(POLICIES)]


def _row(job: Job, policy: str, missing: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"policy": policy, "family": job.family, "rows": job.rows, "note": ""}
    result = job.result(policy)
    found = {"status": "ok", **json.loads(result.read_text(encoding="utf-8"))} if result.is_file() else missing
    return {**row, **found}


def _heard(rows: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{row['policy']} {row['rmsle']:.3f}" if row["status"] == "ok" else str(row["note"]) for row in rows
    )
