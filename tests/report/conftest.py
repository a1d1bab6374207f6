"""A store as it is before ``report``: made-up repositories, among them what strangers type, and a real small bundle."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features.catalog import CATALOG
from stargaze.features.dataset import FeatureSet, read_dataset, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.report.inputs import Evidence, read
from stargaze.report.tables import Numbers, numbers
from stargaze.report.write import write_report
from stargaze.store import Store
from stargaze.tuning.screen import COLUMNS
from stargaze.tuning.training.save import save_best

HOSTILE = "<script>alert('€')</script>"
FORMULA = "$\\frac{1}{$"
TURNED = "C\N{RIGHT-TO-LEFT OVERRIDE}++"
STATIC = ["language", "owner_type", "description_length", "age"]
KEPT = {
    "static": STATIC,
    "activity": [*STATIC, "contributors", "open_issues"],
    "all": [*STATIC, "contributors", "open_issues", "forks", "subscribers"],
}
SECTION = FeaturesSection(folds=3, seed=7)
TRIED = [
    {"family": "lightgbm", "parameters": {"n_estimators": 30}, "rmsle": 0.40, "stopped": "done"},
    {"family": "ridge", "parameters": {"alpha": 3.0}, "rmsle": 0.45, "stopped": "done"},
]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, plausible: Callable[..., pd.DataFrame]) -> Store:
    """A store in which all is done but the report; read only."""
    store = Store(tmp_path_factory.mktemp("finished") / "store")
    store.root.mkdir()
    _repositories(plausible).to_parquet(store.repositories)
    table = read_dataset(store, SECTION)
    training = table.repositories.iloc[table.training]
    vocabularies = {name: build_vocabulary(training[name]) for name in ("language", "owner_type")}
    feature_set = FeatureSet(KEPT, vocabularies, SECTION, table.fingerprint, {})
    write_feature_set(store, feature_set)
    _selection().to_csv(store.selection, index=False)
    _board(feature_set.digest).to_csv(store.leaderboard, index=False)
    trials().to_parquet(store.trials)
    save_best(TuningSection(trials=4, seed=5), store, table, feature_set, TRIED, NOW)
    return store


@pytest.fixture
def store(tmp_path: Path, finished: Store) -> Store:
    """The same, to be changed."""
    return Store(shutil.copytree(finished.root, tmp_path / "store"))


@pytest.fixture(scope="session")
def evidence(finished: Store) -> Evidence:
    """What the report is made from."""
    return read(finished)


@pytest.fixture(scope="session")
def found(evidence: Evidence) -> Numbers:
    """Every number of the report."""
    return numbers(evidence)


@pytest.fixture(scope="session")
def page(finished: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that was written."""
    return write_report(finished, tmp_path_factory.mktemp("page") / "report.html").path


def trials() -> pd.DataFrame:
    """Four trials, best first, as they are stored: one was stopped after a fold."""
    rows = [(3.0, 0.40, "done"), (1.0, 0.45, "done"), (4.0, 0.46, "done"), (2.0, 0.60, "behind the best")]
    frame = pd.DataFrame(rows, columns=["at", "rmsle", "stopped"])
    folds = pd.DataFrame({f"fold_{place}": frame["rmsle"] for place in range(3)})
    folds.iloc[3, 1:] = np.nan
    parameters = [json.dumps({"n_estimators": 30 + row}) for row in range(4)]
    return pd.concat([frame.assign(family="lightgbm", seconds=1.5, parameters=parameters), folds], axis="columns")


def _repositories(plausible: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    frame = plausible(900, seed=3)
    for place, name in enumerate((HOSTILE, FORMULA, TURNED)):
        frame.loc[frame.index[place::9], "language"] = name
    frame["full_name"] = frame["full_name"] + HOSTILE
    frame["description"] = f'{HOSTILE} & "quoted" {"essay " * 40}'
    return frame


def _selection() -> pd.DataFrame:
    frame = pd.DataFrame([dataclasses.asdict(item) for item in CATALOG.values()])[["name", "policy", "unit"]]
    frame = frame.rename(columns={"name": "feature"}).assign(missing=0.25, rho=np.nan)
    for policy in POLICIES:
        frame[policy] = np.where(frame["feature"].isin(KEPT[policy]), "selected", "useless")
        frame[f"importance_{policy}"] = 0.01
    return frame


def _board(digest: str) -> pd.DataFrame:
    rows = [
        {"policy": policy, "family": family, "status": "ok", "rmsle": 0.5 + place + lead, "spread": 0.05}
        for place, policy in enumerate(reversed(POLICIES))
        for family, lead in (("lightgbm", 0.0), ("ridge", 0.1), ("dummy", 3.0 - place))
    ]
    rows.append({"policy": "all", "family": "perceptron", "status": "timeout", "note": "took longer than 1 s"})
    return pd.DataFrame(rows).reindex(columns=COLUMNS).assign(feature_set=digest)
