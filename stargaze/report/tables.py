"""All numbers of the report as named frames: what the page draws and tells, and what ``--json`` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import POLICIES
from stargaze.report import calibration as calibrated
from stargaze.report import dataset as data
from stargaze.report import evaluation as judged
from stargaze.report import importance as reasons
from stargaze.report import search as searched
from stargaze.report.inputs import Evidence
from stargaze.system.progress import Report


@dataclass(frozen=True)
class Numbers:
    """The headline, and frames by name."""

    headline: dict[str, Any]
    frames: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.frames[name]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"headline": self.headline} | {name: frame.to_dict("records") for name, frame in self.frames.items()}


def numbers(evidence: Evidence, report: Report = lambda _what, _done: None) -> Numbers:
    """Compute everything that the report says; the same evidence gives the same numbers."""
    report("the data", 0.0)
    frames = _data(evidence)
    report("predictions of the test side", 0.05)
    test = judged.judge(evidence)
    frames |= _judged(evidence, test)
    report("why it predicts what it does", 0.3)
    for policy in POLICIES:
        if policy in evidence.bundle.meta["models"]:
            frames[f"importance_{policy}"] = reasons.importance(evidence, policy)
    report("learning curve", 0.5)
    frames["learning_curve"] = searched.learning_curve(evidence)
    return Numbers(headline(evidence, test, frames["policies"]), frames)


def headline(evidence: Evidence, test: pd.DataFrame, policies: pd.DataFrame) -> dict[str, Any]:
    """Return what the first sentence of the page is made of."""
    meta = evidence.bundle.meta
    own = policies[policies["policy"] == judged.ANSWERED].iloc[0]
    starred = test[test["true"] >= 10]
    factor = float(np.exp(starred["error"].abs().median())) if len(starred) else None
    return {
        "bundle": evidence.bundle.digest,
        "made_at": meta["made_at"],
        "data_date": str(meta["data"]["latest"])[:10],
        "estimate": meta["estimate"],
        "test_repositories": len(test),
        "test_owners": int(test["owner"].nunique()),
        "rmsle": float(own["rmsle"]),
        "rmsle_low": float(own["rmsle_low"]),
        "rmsle_high": float(own["rmsle_high"]),
        "r2": float(own["r2"]),
        "rmsle_of_the_median": float(policies["rmsle"].iloc[0]),
        "nominal": float(meta["coverage"]),
        "coverage": float(own["coverage"]),
        "starred_repositories": len(starred),
        "typical_factor_starred": factor,
    }


def _data(evidence: Evidence) -> dict[str, pd.DataFrame]:
    repositories = evidence.table.repositories
    return {
        "facts": data.facts(evidence.table),
        "sides": data.sides(evidence.table),
        "stars": data.by_decade(evidence.table),
        "languages": data.common(repositories["language"]),
        "licenses": data.common(repositories["license"]),
        "missing": data.missing(repositories),
        "features": data.features(evidence.selection, evidence.feature_set.selected),
        "leaderboard": searched.leaderboard(evidence.board, evidence.bundle.meta["estimate"]),
        "trials": searched.trials(evidence.trials),
        "models": searched.members(evidence.bundle.meta),
    }


def _judged(evidence: Evidence, test: pd.DataFrame) -> dict[str, pd.DataFrame]:
    ranks = calibrated.ranks(evidence)
    return {
        "policies": judged.policies(evidence, test),
        "predictions": judged.shown(test),
        "decades": judged.by_decade(test),
        "by_language": judged.by_language(test),
        "calibration": calibrated.calibration(test),
        "nominal": calibrated.nominal(ranks, test, float(evidence.bundle.meta["coverage"])),
        "ranks": calibrated.rank_counts(ranks),
        "surprises": judged.surprises(test),
    }
