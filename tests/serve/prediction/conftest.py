"""A bundle as ``tune`` saves it: an ensemble of exact and sampled families for each policy, with all kinds of features."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import FeaturesSection, TuningSection
from stargaze.features import schema
from stargaze.features.dataset import FeatureSet, read_dataset, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.store import Store
from stargaze.tuning.training.save import save_best

STATIC = ["language", "license", "owner_type", "description_length", "has_homepage", "has_wiki", "age", "text_score"]
STATIC += ["name_length", "first_commit_age", "text_component_1", "text_component_2", "language_stars"]
ACTIVITY = [
    "contributors",
    "open_issues",
    "issues_per_contributor",
    "size_kb",
    "release_age",
    "push_age",
    "active_share",
]
POPULARITY = ["forks", "subscribers", "fork_rate", "updated_after_push"]
TRIALS: dict[str, dict[str, Any]] = {
    "catboost": {"iterations": 60, "learning_rate": 0.15, "depth": 5},
    "lightgbm": {"n_estimators": 40, "learning_rate": 0.15},
    "ridge": {},
}


@pytest.fixture(scope="session")
def tuned_bundle(tmp_path_factory: pytest.TempPathFactory, sample: pd.DataFrame) -> Bundle:
    """The saved best trials of 2,000 repositories."""
    store = Store(tmp_path_factory.mktemp("tuned"))
    store.root.mkdir(parents=True, exist_ok=True)
    schema.conform(sample).to_parquet(store.repositories)
    section = FeaturesSection(folds=3)
    table = read_dataset(store, section)
    training = table.repositories.iloc[table.training]
    vocabularies = {name: build_vocabulary(training[name]) for name in ("language", "license", "owner_type")}
    selected = {"static": STATIC, "activity": [*STATIC, *ACTIVITY], "all": [*STATIC, *ACTIVITY, *POPULARITY]}
    feature_set = FeatureSet(selected, vocabularies, section, table.fingerprint, {})
    write_feature_set(store, feature_set)
    trials = [
        {"family": family, "parameters": values, "rmsle": 0.5, "folds": [0.5] * 3, "seconds": 1.0, "stopped": "done"}
        for family, values in TRIALS.items()
    ]
    folder, _ = save_best(TuningSection(), store, table, feature_set, trials)
    return Bundle.load(folder)
