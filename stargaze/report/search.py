"""What screening and tuning found on their way: the families side by side, the trials one after the other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.report.dataset import owners
from stargaze.report.inputs import Evidence
from stargaze.tuning.cross_validation import fit, policy_arrays
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import rmsle
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.search.racing import DONE

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Parts of the training owners that the learning curve is fitted on."""
DRAWS = 3
"""Draws of owners a part, and seeds for the whole."""
MOST_ROWS = 20_000
"""Training rows that the whole of the learning curve is bounded to: it shall take seconds."""


def leaderboard(board: pd.DataFrame, estimate: str) -> pd.DataFrame:
    """Return the families as screened, those first that are best under the policy of the estimate.

    Returns
    -------
    DataFrame
        ``family``, ``policy``, ``rmsle`` ± ``spread`` over folds [nat], ``r2``, ``mdape``, ``rho``, ``fit_time`` of a fold [s],
        ``size_mb`` [MB], ``status``, ``note``.
    """
    best = board[board["policy"] == estimate].set_index("family")["rmsle"]
    order = best.sort_values(kind="stable").index
    rank = {family: place for place, family in enumerate(order)}
    policy = {name: place for place, name in enumerate(reversed(POLICIES))}
    frame = board.assign(rank=board["family"].map(rank), place=board["policy"].map(policy))
    frame = frame.sort_values(["rank", "family", "place"], kind="stable", ignore_index=True)
    columns = ["family", "policy", "rmsle", "spread", "r2", "mdape", "rho", "fit_time", "size_mb", "status", "note"]
    return frame.reindex(columns=columns)


def trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the trials in the order in which they ended, as far as that was noted.

    Returns
    -------
    DataFrame
        ``trial``, ``at``, seconds since the tuning began (missing if not noted: then in the order of the table), ``family``,
        ``rmsle`` [nat], ``best`` of the finished so far, ``folds`` run, ``stopped``: "done" or why not; ``seconds``,
        ``parameters``. A trial that was stopped has the score that was expected of it, and is never the best.
    """
    folds = table[[name for name in table.columns if str(name).startswith("fold_")]].astype("float64")
    frame = table.reindex(columns=["at", "family", "rmsle", "stopped", "seconds", "parameters"])
    frame = frame.assign(
        rmsle=frame["rmsle"].astype("float64").fillna(folds.mean(axis="columns")),
        folds=folds.notna().sum(axis="columns"),
        stopped=frame["stopped"].astype("object").fillna(DONE).astype("str"),
        at=frame["at"].astype("float64"),
    )
    whole = folds.notna().all(axis="columns") & (frame["stopped"] == DONE)
    frame = frame.assign(whole=whole).sort_values("at", kind="stable", ignore_index=True)
    frame["best"] = frame["rmsle"].where(frame["whole"]).cummin().ffill()
    frame.insert(0, "trial", np.arange(1, len(frame) + 1))
    return frame[["trial", "at", "family", "rmsle", "best", "folds", "stopped", "seconds", "parameters"]]


def winner(table: pd.DataFrame) -> tuple[str, dict[str, object]]:
    """Return family and parameters of the best trial that was judged on every fold."""
    ordered = trials(table)
    best = ordered[ordered["stopped"] == DONE].sort_values("rmsle", kind="stable").iloc[0]
    return str(best["family"]), dict(json.loads(str(best["parameters"])))


def members(meta: Mapping[str, Any]) -> pd.DataFrame:
    """Return the models that answer together under each policy: ``policy``, ``weight``, ``family``, ``seed``, ``parameters``."""
    rows = [
        {"policy": policy, **member, "parameters": json.dumps(member["parameters"], sort_keys=True)}
        for policy in POLICIES
        for member in meta["ensemble"].get(policy, ())
    ]
    return pd.DataFrame(rows)[["policy", "weight", "family", "seed", "parameters"]]


def learning_curve(evidence: Evidence) -> pd.DataFrame:
    """Fit the best configuration on growing parts of the training owners and score it on the test side.

    Returns
    -------
    DataFrame
        ``policy``, ``share`` of the owners, ``owners``, ``repositories`` (mean over draws), ``rmsle`` [nat], the mean over
        :data:`DRAWS` draws of owners, and ``rmsle_low`` to ``rmsle_high``, the least and the most of them.
    """
    meta = evidence.bundle.meta
    family, parameters = winner(evidence.trials)
    asked = tuple(dict.fromkeys((meta["explain"], meta["estimate"])))

    def fitted(share: float, seed: int) -> list[tuple[str, float, int, int, float]]:
        rows = _drawn(evidence.table, share, seed)
        part = _part(evidence.table, rows)
        n_owners = owners(evidence.table.repositories["full_name"].iloc[rows]).nunique()
        errors = [_error(part, evidence.feature_set, policy, family, parameters, seed) for policy in asked]
        return [(policy, share, n_owners, len(rows), error) for policy, error in zip(asked, errors, strict=True)]

    found = [row for rows in parallel_map(fitted, list(itertools.product(SHARES, range(DRAWS)))) for row in rows]
    frame = pd.DataFrame(found, columns=["policy", "share", "owners", "repositories", "rmsle"])
    groups = frame.groupby(["policy", "share"], sort=False)
    curve = groups.mean()
    curve["rmsle_low"], curve["rmsle_high"] = groups["rmsle"].min(), groups["rmsle"].max()
    order = {policy: place for place, policy in enumerate(asked)}
    return curve.reset_index().sort_values(
        ["policy", "share"], key=lambda values: values.replace(order), ignore_index=True
    )


def _drawn(table: Dataset, share: float, seed: int) -> np.ndarray:
    """Return the training rows of a part of the owners; a larger part of the same seed holds the smaller."""
    rows = table.training
    codes, names = pd.factorize(owners(table.repositories["full_name"].iloc[rows]))
    place = np.random.default_rng(seed).permutation(len(names))[codes]
    bounded = share * min(1.0, MOST_ROWS / len(rows))
    return rows[place < max(round(bounded * len(names)), 1)]


def _part(table: Dataset, rows: np.ndarray) -> Dataset:
    """Return a table that knows nothing but these training rows and the test side."""
    kept = np.concatenate([rows, table.test[:MOST_ROWS]])
    repositories = table.repositories.iloc[kept].reset_index(drop=True)
    return Dataset(repositories, table.target[kept], table.folds[kept], table.fingerprint)


def _error(
    part: Dataset, feature_set: FeatureSet, policy: str, family: str, parameters: dict[str, object], seed: int
) -> float:
    arrays = policy_arrays(part, feature_set, policy, np.arange(len(part.target)))
    model = fit(FAMILIES[family], parameters, arrays, part.training, seed)
    predicted = np.maximum(model.predict(arrays.inputs[part.test]), 0.0)
    return rmsle(np.expm1(part.target[part.test]), np.expm1(predicted))
