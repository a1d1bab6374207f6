"""The bundle of a test set by name knows what it was fitted on, also when the file with the names has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features.dataset import FeatureSet, read_dataset, read_dataset_and_features, write_feature_set
from stargaze.features.matrix import build_vocabulary
from stargaze.features.split import read_split
from stargaze.serve.prediction.out_of_range import TrainingRanges
from stargaze.store import Store
from stargaze.tuning.training.held_out import read_held_out
from stargaze.tuning.training.save import save_best

pytestmark = pytest.mark.thorough

SELECTED = {key: ["owner_type", "has_wiki", "name_length"] for key in POLICIES}
TRIALS = [{"family": "ridge", "parameters": {}, "rmsle": 0.5, "folds": [0.5] * 2, "seconds": 1.0, "stopped": "done"}]


def save(store: Store, repositories: pd.DataFrame, names: list[str]) -> Bundle:
    """Save the bundle whose test set has these names; the file is deleted before the models are fitted."""
    store.root.mkdir()
    repositories.to_parquet(store.repositories)
    path = store.root / "names.txt"
    path.write_text("\n".join(names))
    split = read_split(FeaturesSection(folds=2, test_repositories=str(path)))
    path.unlink()
    table = read_dataset(store, split)
    vocabularies = {"owner_type": build_vocabulary(table.repositories["owner_type"])}
    write_feature_set(store, FeatureSet(SELECTED, vocabularies, split, table.fingerprint, {}))
    folder, _ = save_best(TuningSection(), store, *read_dataset_and_features(store), TRIALS)
    return Bundle.load(folder)


def test_the_models_are_fitted_on_no_repository_of_a_listed_owner(
    store: Store, make_repositories: Callable[..., pd.DataFrame]
) -> None:
    repositories = make_repositories(500)
    names = repositories["full_name"].iloc[:40].str.upper().tolist()

    bundle = save(store, repositories, [*names, "no/such"])

    owners = {name.partition("/")[0].lower() for name in names}
    fitted_on = bundle.known["full_name"][bundle.known_sets == "training"]
    assert 200 < len(fitted_on) < 420
    assert not owners & {name.partition("/")[0].lower() for name in fitted_on}
    assert len(bundle.meta["split"]["test_names"]) == 41
    assert bundle.meta["data"]["training_rows"] == len(bundle.training_stars) == len(fitted_on)
    assert TrainingRanges(bundle).for_policy("all").names
    sets = read_held_out(store.held_out, read_dataset_and_features(store)[0], bundle.digest)["set"].value_counts()
    assert sets["test"] == 40
    assert sets["left out"] > 0
    assert sets.sum() == 500


def test_one_repository_is_a_test_set(store: Store, make_repositories: Callable[..., pd.DataFrame]) -> None:
    repositories = make_repositories(400)

    bundle = save(store, repositories, repositories["full_name"].iloc[:1].tolist())

    scores = bundle.meta["scores"]["all"]
    assert scores["rmsle"] >= 0.0
    assert sum(row["n"] for row in scores["coverage_by_decade"]) == 1


def test_a_changed_name_in_the_description_is_checked(
    store: Store, make_repositories: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    from stargaze.bundle.description import check_star_description

    bundle = save(store, make_repositories(400), make_repositories(400)["full_name"].iloc[:5].tolist())
    meta = json.loads(json.dumps(bundle.meta))
    check_star_description(meta)

    for names in (["not a name"], "a/b", [7]):
        meta["split"]["test_names"] = names
        with pytest.raises(ValueError, match=r"split\.test_names is not a list of names"):
            check_star_description(meta)
