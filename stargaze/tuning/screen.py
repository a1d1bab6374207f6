"""Screen the model families: cross-validate each in its own process, container or Ray task and write the leaderboard."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
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
from stargaze.system.progress import Notify, Report
from stargaze.tuning.cross_validation import policy_arrays
from stargaze.tuning.executors.executor import Executor, FamilyJob, StartedFamily
from stargaze.tuning.families import select_families

SCORE_COLUMNS = ("rmsle", "spread", "rmse", "r2", "mdape", "rho", "fit_time", "size_mb")
COLUMNS = ["policy", "family", "status", *SCORE_COLUMNS, "rows", "note", "feature_set"]
SLOWEST_FIRST = (
    *("random-forest", "extra-trees", "support-vectors", "histogram-boosting", "perceptron"),
    *("lightgbm", "randomized-boosting", "catboost"),
)
BEST_FIRST = (
    *("dummy", "lightgbm", "randomized-boosting", "ridge", "catboost", "perceptron", "histogram-boosting"),
    *("elastic-net", "extra-trees", "nearest-neighbors", "random-forest", "support-vectors"),
)
"""The order within a time budget: those that ensembles need before slow ones that seldom join them."""


@dataclass(frozen=True)
class Deadline:
    """The end of the time budget of a screening [s], 0 for none."""

    budget: float
    clock: Callable[[], float]
    started: float

    def is_over(self) -> bool:
        """Return whether the budget is used up."""
        return self.budget > 0 and self.clock() - self.started >= self.budget

    @property
    def note(self) -> dict[str, str]:
        """What a row contains that has no scores at the end."""
        return {"status": "time", "note": f"time budget of {self.budget:g} s reached"}


@dataclass(frozen=True)
class RunningFamily:
    """A started family and its start time."""

    job: FamilyJob
    family: StartedFamily
    started_at: float


def screen(
    section: ScreeningSection,
    store: Store,
    seed: int,
    report: Report = lambda _what, _done: None,
    clock: Callable[[], float] = time.monotonic,
) -> pd.DataFrame:
    """Screen the families under each policy and write the leaderboard; a failed family is a row with the reason.

    So is one that does not finish within the time limit of a family or the time budget of all.

    Raise UsageError if a family is unknown; ExternalError if every family failed.

    Returns
    -------
    DataFrame
        :data:`COLUMNS`, best first within each policy: RMSLE ± spread over folds [nat], fit time of a fold [s], size [MB].
    """
    deadline = Deadline(section.time_budget, clock, clock())
    order = {family: rank for rank, family in enumerate(BEST_FIRST if section.time_budget else SLOWEST_FIRST)}
    names = sorted(select_families(section.families), key=lambda family: order.get(family, len(order)))
    table, feature_set = read_dataset_and_features(store)
    minimum = 20 * feature_set.split.folds
    if 0 < section.max_rows < minimum:
        raise UsageError(
            f"screening.max_rows is {section.max_rows}: too few rows to compare families",
            hint=f"at least {minimum}, or 0 for all",
        )
    rows = _sample(table, section.max_rows, seed)
    with convert_disk_errors(store.root), tempfile.TemporaryDirectory(prefix=".screen-", dir=store.root) as folder:
        for policy in feature_set.policies:
            policy_arrays(table, feature_set, policy, rows).save(Path(folder) / f"{policy}.npz")
        jobs = [FamilyJob(name, Path(folder), len(rows), seed, feature_set.policies) for name in names]
        with open_executor(section, Path(folder), names, lambda message: report(message, 0.0)) as executor:
            results = _run(jobs, executor, section, report, deadline)
    board = pd.DataFrame(results).assign(feature_set=feature_set.digest).reindex(columns=COLUMNS)
    board = board.sort_values(["rmsle", "family"], ignore_index=True)
    board = board.sort_values("policy", key=lambda names: -names.map(POLICIES.index), kind="stable", ignore_index=True)
    if not (board["status"] == "ok").any():
        raise _no_family_error(board, section, deadline)
    with atomic_write(store.leaderboard) as temporary:
        board.to_csv(temporary, index=False)
    return board


def open_executor(
    section: ScreeningSection, folder: Path, families: list[str], notify: Notify
) -> AbstractContextManager[Executor]:
    """Return the executor of ``screening.executor``; the data of the families are in ``folder``."""
    if section.executor == "docker":
        from stargaze.tuning.executors.docker_executor import docker_executor

        return docker_executor(section, folder, families, notify)
    if section.executor == "ray":
        from stargaze.tuning.executors.ray_executor import ray_executor

        return ray_executor(folder, section.max_concurrent)
    from stargaze.tuning.executors.process_executor import process_executor

    return process_executor()


def leaderboard_rows(board: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the leaderboard as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in board.to_dict("records")]


def read_leaderboard(store: Store, feature_set: FeatureSet) -> pd.DataFrame:
    """Read the leaderboard; raise ExternalError if it belongs to another feature set or lacks a column."""
    path = store.require(store.leaderboard)
    try:
        board = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise ExternalError(f"{path}: cannot be read: {error}", hint="stargaze screen writes it again") from error
    if missing := [name for name in COLUMNS if name not in board]:
        raise ExternalError(
            f"{path}: was written by another version: it lacks {', '.join(missing)}",
            hint="stargaze screen writes it again",
        )
    if list(board.columns) != COLUMNS or not (board["feature_set"] == feature_set.digest).all():
        raise ExternalError(f"{path} belongs to another feature set", hint="stargaze screen")
    return board


def _no_family_error(board: pd.DataFrame, section: ScreeningSection, deadline: Deadline) -> ExternalError:
    """Return the error of a leaderboard without scores; the hint follows from the reason that it names."""
    first = board.iloc[0]
    hint = "stargaze screen --families NAME"
    if first["note"] == deadline.note["note"]:
        hint = f"stargaze screen --time-budget {2 * section.time_budget:g}"
    elif first["status"] == "time":
        hint = f"stargaze screen --time-limit {2 * section.time_limit:g}"
    return ExternalError(f"no family could be fitted: {first['note']}", hint=hint)


def _sample(table: Dataset, max_rows: int, seed: int) -> np.ndarray:
    """Return the rows of random owners, all rows of each, up to ``max_rows``: no owner is in two folds."""
    rows = table.training
    if not max_rows or len(rows) <= max_rows:
        return rows
    owners, _ = pd.factorize(table.repositories["full_name"].iloc[rows].str.lower().str.partition("/")[0])
    shuffled = np.random.default_rng(seed).permutation(owners.max() + 1)
    order = np.argsort(shuffled[owners], kind="stable")
    return np.sort(rows[order[:max_rows]])


def _run(
    jobs: list[FamilyJob], executor: Executor, section: ScreeningSection, report: Report, deadline: Deadline
) -> list[dict[str, Any]]:
    waiting, running, rows = list(jobs), list[RunningFamily](), list[dict[str, Any]]()
    n_rows = sum(len(job.policies) for job in jobs)
    max_concurrent = section.max_concurrent or executor.max_concurrent
    while waiting or running:
        while waiting and deadline.is_over():
            job = waiting.pop(0)
            rows += [_row(job, policy, deadline.note) for policy in reversed(job.policies)]
            report(f"{job.family}: {deadline.note['note']}", len(rows) / n_rows)
        while waiting and len(running) < max_concurrent:
            job = waiting.pop(0)
            running.append(RunningFamily(job, executor.start(job), time.monotonic()))
        for family in list(running):
            finished = _finished_rows(family, section.time_limit, deadline)
            if finished is not None:
                running.remove(family)
                rows += finished
                report(f"{family.job.family}: {_format_rows(finished)}", len(rows) / n_rows)
        time.sleep(0.02)
    return rows


def _finished_rows(running: RunningFamily, limit: float, deadline: Deadline) -> list[dict[str, Any]] | None:
    """Return one row per policy of a family that finished, failed or has no time left; None while it runs."""
    if running.family.has_ended():
        missing = {"status": "failed", "note": running.family.failure_reason()[:300]}
    elif deadline.is_over():
        running.family.kill()
        missing = deadline.note
    elif time.monotonic() - running.started_at < limit:
        return None
    else:
        running.family.kill()
        missing = {"status": "time", "note": f"time limit of {limit:g} s reached"}
    return [_row(running.job, policy, missing) for policy in reversed(running.job.policies)]


def _row(job: FamilyJob, policy: str, missing: dict[str, Any]) -> dict[str, Any]:
    path = job.result_path(policy)
    result = {"status": "ok", **json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else missing
    return {"policy": policy, "family": job.family, "rows": job.rows, "note": "", **result}


def _format_rows(rows: list[dict[str, Any]]) -> str:
    return ", ".join(
        f"{row['policy']} {row['rmsle']:.3f}" if row["status"] == "ok" else str(row["note"]) for row in rows
    )
