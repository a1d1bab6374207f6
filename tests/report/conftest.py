"""A store before ``report``: synthetic repositories with hostile names, and a small real bundle."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features.dataset import FeatureSet, read_dataset, write_feature_set
from stargaze.features.matrix import CATALOG, build_vocabulary
from stargaze.report.inputs import ReportInputs, read_report_inputs
from stargaze.report.tables import ReportTables, compute_tables
from stargaze.report.write import write_report
from stargaze.store import Store
from stargaze.tuning.screen import COLUMNS
from stargaze.tuning.training.save import save_best

HOSTILE = "<script>alert('€')</script>"
FORMULA = "$\\frac{1}{$"
BIDI = "C\N{RIGHT-TO-LEFT OVERRIDE}++"
STATIC = ["language", "owner_type", "description_length", "age"]
SELECTED = {
    "static": STATIC,
    "activity": [*STATIC, "contributors", "open_issues"],
    "all": [*STATIC, "contributors", "open_issues", "forks", "subscribers"],
}
SECTION = FeaturesSection(folds=3, seed=7)
SCORED_TRIALS = [
    {"family": "lightgbm", "parameters": {"n_estimators": 30}, "rmsle": 0.40, "stopped": "done"},
    {"family": "ridge", "parameters": {"alpha": 3.0}, "rmsle": 0.45, "stopped": "done"},
]


@pytest.fixture(scope="session")
def finished_store(tmp_path_factory: pytest.TempPathFactory, make_repositories: Callable[..., pd.DataFrame]) -> Store:
    """A store with everything but the report; read only."""
    store = Store(tmp_path_factory.mktemp("finished") / "store")
    store.root.mkdir()
    _repositories(make_repositories).to_parquet(store.repositories)
    table = read_dataset(store, SECTION)
    training = table.repositories.iloc[table.training]
    vocabularies = {name: build_vocabulary(training[name]) for name in ("language", "owner_type")}
    feature_set = FeatureSet(SELECTED, vocabularies, SECTION, table.fingerprint, {})
    write_feature_set(store, feature_set)
    _selection().to_csv(store.selection, index=False)
    _leaderboard(feature_set.digest).to_csv(store.leaderboard, index=False)
    stored_trials().to_parquet(store.trials)
    save_best(TuningSection(trials=4, seed=5), store, table, feature_set, SCORED_TRIALS)
    return store


@pytest.fixture
def store(tmp_path: Path, finished_store: Store) -> Store:
    """A copy of the store to change."""
    return Store(shutil.copytree(finished_store.root, tmp_path / "store"))


@pytest.fixture(scope="session")
def inputs(finished_store: Store) -> ReportInputs:
    """Inputs of the report."""
    return read_report_inputs(finished_store)


@pytest.fixture(scope="session")
def tables(inputs: ReportInputs) -> ReportTables:
    """All tables of the report."""
    return compute_tables(inputs)


@pytest.fixture(scope="session")
def page(finished_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The written page."""
    return write_report(finished_store, tmp_path_factory.mktemp("page") / "report.html").path


def stored_trials() -> pd.DataFrame:
    """Four trials in stored order, best first; one was stopped after a fold."""
    rows = [(3.0, 0.40, "done"), (1.0, 0.45, "done"), (4.0, 0.46, "done"), (2.0, 0.60, "behind the best")]
    frame = pd.DataFrame(rows, columns=["at", "rmsle", "stopped"])
    folds = pd.DataFrame({f"fold_{index}": frame["rmsle"] for index in range(3)})
    folds.iloc[3, 1:] = np.nan
    parameters = [json.dumps({"n_estimators": 30 + row}) for row in range(4)]
    return pd.concat([frame.assign(family="lightgbm", seconds=1.5, parameters=parameters), folds], axis="columns")


def _repositories(make_repositories: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    frame = make_repositories(900, seed=3)
    for index, name in enumerate((HOSTILE, FORMULA, BIDI)):
        frame.loc[frame.index[index::9], "language"] = name
    frame["full_name"] = frame["full_name"] + HOSTILE
    frame["description"] = f'{HOSTILE} & "quoted" {"essay " * 40}'
    return frame


def _selection() -> pd.DataFrame:
    frame = pd.DataFrame([dataclasses.asdict(item) for item in CATALOG.values()])[["name", "policy", "unit"]]
    frame = frame.rename(columns={"name": "feature"}).assign(missing=0.25, rho=np.nan)
    for policy in POLICIES:
        frame[policy] = np.where(frame["feature"].isin(SELECTED[policy]), "selected", "useless")
        frame[f"importance_{policy}"] = 0.01
    return frame


def _leaderboard(digest: str) -> pd.DataFrame:
    rows = [
        {"policy": policy, "family": family, "status": "ok", "rmsle": 0.5 + index + lead, "spread": 0.05}
        for index, policy in enumerate(reversed(POLICIES))
        for family, lead in (("lightgbm", 0.0), ("ridge", 0.1), ("dummy", 3.0 - index))
    ]
    rows.append({"policy": "all", "family": "perceptron", "status": "timeout", "note": "took longer than 1 s"})
    return pd.DataFrame(rows).reindex(columns=COLUMNS).assign(feature_set=digest)
