"""Results of screening and tuning: leaderboard, trials, models and learning curve."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.features.dataset import Dataset, FeatureSet
from stargaze.report.dataset import parse_owners
from stargaze.report.inputs import ReportInputs
from stargaze.tuning.cross_validation import fit, policy_arrays
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import clipped_rmse
from stargaze.tuning.screen import SCORE_COLUMNS
from stargaze.tuning.search.parallel import parallel_map
from stargaze.tuning.search.racing import DONE

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the training owners that the learning curve is fitted on."""
DRAWS = 3
"""Number of random draws of owners per share."""
MAX_ROWS = 20_000
"""Maximum number of training rows for the learning curve, so that it takes seconds."""


def sort_leaderboard(leaderboard: pd.DataFrame, estimate: str) -> pd.DataFrame:
    """Return the screened families, best first under the policy of the estimate.

    Returns
    -------
    DataFrame
        ``family``, ``policy``, ``rmsle`` ± ``spread`` over folds [nat], ``r2``, ``mdape``, ``rho``, ``fit_time`` of a fold [s],
        ``size_mb`` [MB], ``status``, ``note``.
    """
    best = leaderboard[leaderboard["policy"] == estimate].set_index("family")["rmsle"].sort_values(kind="stable")
    family_ranks = {family: rank for rank, family in enumerate(best.index)}
    ranks = {
        "family_rank": leaderboard["family"].map(family_ranks),
        "policy_rank": leaderboard["policy"].map({policy: -rank for rank, policy in enumerate(POLICIES)}),
    }
    frame = leaderboard.assign(**ranks).sort_values(["family_rank", "family", "policy_rank"], ignore_index=True)
    return frame.reindex(columns=["family", "policy", *SCORE_COLUMNS, "status", "note"])


def sort_trials(table: pd.DataFrame) -> pd.DataFrame:
    """Return the trials in the order in which they ended; in stored order if the times were not recorded.

    Returns
    -------
    DataFrame
        ``trial``, ``at``, seconds since the start of tuning (missing if not recorded), ``family``, ``rmsle`` [nat], with the
        metric rmse also ``rmse`` [stars], ``best`` of the finished trials so far by the metric, ``folds`` run, ``stopped``:
        "done" or the reason; ``seconds``, ``parameters``. A stopped trial has its expected score and is never the best.
    """
    folds = table[[name for name in table.columns if str(name).startswith("fold_")]].astype("float64")
    metric, scored = find_metric(table), [name for name in ("rmsle", "rmse") if name in table]
    frame = table.reindex(columns=["at", "family", *scored, "stopped", "seconds", "parameters"])
    frame = frame.assign(
        **{metric: frame[metric].astype("float64").fillna(folds.mean(axis="columns"))},
        folds=folds.notna().sum(axis="columns"),
        stopped=frame["stopped"].astype("object").fillna(DONE).astype("str"),
        at=frame["at"].astype("float64"),
    )
    is_complete = folds.notna().all(axis="columns") & (frame["stopped"] == DONE)
    frame = frame.assign(is_complete=is_complete).sort_values("at", kind="stable", ignore_index=True)
    frame["best"] = frame[metric].where(frame["is_complete"]).cummin().ffill()
    frame.insert(0, "trial", np.arange(1, len(frame) + 1))
    return frame[["trial", "at", "family", *scored, "best", "folds", "stopped", "seconds", "parameters"]]


def find_metric(trials: pd.DataFrame) -> str:
    """Return the metric that the trials minimized; those of RMSE have both."""
    return "rmse" if "rmse" in trials else "rmsle"


def best_trial(table: pd.DataFrame) -> tuple[str, dict[str, object]]:
    """Return family and parameters of the best trial that was scored on every fold."""
    trials = sort_trials(table)
    best = trials[trials["stopped"] == DONE].sort_values(find_metric(trials), kind="stable").iloc[0]
    return str(best["family"]), dict(json.loads(str(best["parameters"])))


def list_models(meta: Mapping[str, Any]) -> pd.DataFrame:
    """Return the models of each policy's ensemble: ``policy``, ``weight``, ``family``, ``seed``, ``parameters``."""
    rows = [
        {"policy": policy, **member, "parameters": json.dumps(member["parameters"], sort_keys=True)}
        for policy in POLICIES
        for member in meta["ensemble"].get(policy, ())
    ]
    return pd.DataFrame(rows)[["policy", "weight", "family", "seed", "parameters"]]


def compute_learning_curve(inputs: ReportInputs) -> pd.DataFrame:
    """Fit the best configuration on growing shares of the training owners and score it on the test set.

    Returns
    -------
    DataFrame
        ``policy``, ``share`` of the owners, ``owners``, ``repositories`` (mean over draws), ``rmsle`` [nat], the mean over
        :data:`DRAWS` draws of owners, and their minimum ``rmsle_low`` and maximum ``rmsle_high``.
    """
    family, parameters = best_trial(inputs.trials)
    policies = tuple(name for name in POLICIES if name in inputs.bundle.models)[-2:]  # the two widest

    def score_draw(share: float, seed: int) -> list[tuple[str, float, int, int, float]]:
        rows = _draw_rows(inputs.dataset, share, seed)
        subset = _select_rows(inputs.dataset, rows)
        n_owners = parse_owners(inputs.dataset.repositories["full_name"].iloc[rows]).nunique()
        return [
            (policy, share, n_owners, len(rows), _score(subset, inputs.feature_set, policy, family, parameters, seed))
            for policy in policies
        ]

    rows = [row for draw in parallel_map(score_draw, list(itertools.product(SHARES, range(DRAWS)))) for row in draw]
    frame = pd.DataFrame(rows, columns=["policy", "share", "owners", "repositories", "rmsle"])
    groups = frame.groupby(["policy", "share"], sort=False)
    curve = groups.mean().assign(rmsle_low=groups["rmsle"].min(), rmsle_high=groups["rmsle"].max()).reset_index()
    return curve.sort_values("share").sort_values(
        "policy", key=lambda names: names.map(policies.index), kind="stable", ignore_index=True
    )


def _draw_rows(dataset: Dataset, share: float, seed: int) -> np.ndarray:
    """Return the training rows of a random share of the owners; for one seed, smaller shares are subsets of larger ones."""
    rows = dataset.training
    codes, names = pd.factorize(parse_owners(dataset.repositories["full_name"].iloc[rows]))
    ranks = np.random.default_rng(seed).permutation(len(names))[codes]
    bounded_share = share * min(1.0, MAX_ROWS / len(rows))
    return rows[ranks < max(round(bounded_share * len(names)), 1)]


def _select_rows(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Return a dataset of only these training rows and the test set."""
    selected = np.concatenate([rows, dataset.test[:MAX_ROWS]])
    repositories = dataset.repositories.iloc[selected].reset_index(drop=True)
    return Dataset(
        repositories,
        dataset.target[selected],
        dataset.folds[selected],
        dataset.fingerprint,
        own_columns=dataset.own_columns,
    )


def _score(
    dataset: Dataset, feature_set: FeatureSet, policy: str, family: str, parameters: dict[str, object], seed: int
) -> float:
    arrays = policy_arrays(dataset, feature_set, policy, np.arange(len(dataset.target)))
    model = fit(FAMILIES[family], parameters, arrays, dataset.training, seed)
    return clipped_rmse(dataset.target[dataset.test], model.predict(arrays.inputs[dataset.test]))
