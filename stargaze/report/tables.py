"""All numbers of the report as named tables: the page shows them, and ``--json`` prints them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.features.selection.leak_guard import describe_alarms
from stargaze.report import calibration, dataset, evaluation, search
from stargaze.report.importance import rank_features
from stargaze.report.inputs import ReportInputs
from stargaze.report.predictions import score_by_language_and_decade
from stargaze.system.progress import Report

MIN_UNLIKE = 5
"""Fewer repositories have no error of their own."""


@dataclass(frozen=True)
class ReportTables:
    """The headline, and tables by name."""

    headline: dict[str, Any]
    frames: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"headline": self.headline} | {name: frame.to_dict("records") for name, frame in self.frames.items()}


def compute_tables(inputs: ReportInputs, report: Report = lambda _what, _done: None) -> ReportTables:
    """Compute all numbers of the report; the same inputs give the same numbers."""
    report("data", 0.0)
    frames = _dataset_tables(inputs)
    report("predictions on the test set", 0.05)
    predictions = evaluation.predict_test_set(inputs)
    frames |= _test_tables(inputs, predictions)
    report("feature importance", 0.3)
    for policy in POLICIES:
        if policy in inputs.bundle.meta["models"]:
            frames[f"importance_{policy}"] = rank_features(inputs, policy)
    report("learning curve", 0.5)
    frames["learning_curve"] = search.compute_learning_curve(inputs)
    return ReportTables(compute_headline(inputs, predictions, frames["policies"]), frames)


def compute_headline(inputs: ReportInputs, predictions: pd.DataFrame, policies: pd.DataFrame) -> dict[str, Any]:
    """Return the values of the first paragraph of the page."""
    meta = inputs.bundle.meta
    served = policies[policies["policy"] == evaluation.SERVED].iloc[0]
    starred = predictions[predictions["true"] >= 10]
    factor = float(np.exp(starred["error"].abs().median())) if len(starred) else None
    scores = {name: float(served[name]) for name in ("rmsle", "rmsle_low", "rmsle_high", "rmse", "r2", "coverage")}
    return {
        "bundle": inputs.bundle.digest,
        "choice": meta["data"].get("choice", ""),
        "data_date": str(meta["data"]["latest"])[:10],
        "estimate_policy": meta["estimate_policy"],
        "test_repositories": len(predictions),
        "test_owners": int(predictions["owner"].nunique()),
        **scores,
        "unlike": _compare_unlike(predictions),
        "alarms": describe_alarms(meta["scores"]),
        "rmsle_of_the_median": float(policies["rmsle"].iloc[0]),
        "nominal": float(meta["coverage"]),
        "starred_repositories": len(starred),
        "typical_factor_starred": factor,
    }


def _compare_unlike(predictions: pd.DataFrame) -> dict[str, Any] | None:
    """Return how many test repositories are unlike the training set, and the RMSLE of both groups; None if there are too few."""
    squares = predictions["error"] ** 2
    groups = squares.groupby(predictions["unlike"]).agg(["size", "mean"])
    if len(groups) < 2 or groups["size"].min() < MIN_UNLIKE:
        return None
    rmsle = np.sqrt(groups["mean"])
    return {"repositories": int(groups["size"][True]), "rmsle": float(rmsle[True]), "rmsle_others": float(rmsle[False])}


def _dataset_tables(inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    repositories, meta = inputs.dataset.repositories, inputs.bundle.meta
    return {
        "facts": dataset.summarize_dataset(inputs.dataset, inputs.feature_set.collection),
        "split": dataset.summarize_split(inputs.dataset),
        "stars": dataset.count_by_decade(inputs.dataset),
        "languages": dataset.count_values(repositories["language"]),
        "licenses": dataset.count_values(repositories["license"]),
        "missing": dataset.missing_rates(inputs.dataset),
        "features": dataset.describe_features(inputs.selection, inputs.feature_set),
        "leaderboard": search.sort_leaderboard(inputs.leaderboard, meta["estimate_policy"]),
        "trials": search.sort_trials(inputs.trials),
        "models": search.list_models(meta),
    }


def _test_tables(inputs: ReportInputs, predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    ranks = calibration.rank_test_set(inputs)
    return {
        "policies": evaluation.score_policies(inputs, predictions),
        "patterns": evaluation.list_patterns(inputs),
        "predictions": evaluation.sample_predictions(predictions),
        "decades": evaluation.score_by_decade(predictions),
        "by_language": evaluation.score_by_language(predictions),
        "by_language_and_decade": score_by_language_and_decade(inputs),
        "calibration": calibration.calibrate_bins(predictions),
        "nominal": calibration.coverage_by_level(ranks, predictions, float(inputs.bundle.meta["coverage"])),
        "ranks": calibration.rank_histogram(ranks),
        "largest_errors": evaluation.largest_errors(predictions),
    }
