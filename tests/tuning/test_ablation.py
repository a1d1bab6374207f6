"""What is added to the error without features is measured on the same folds, with refitted models."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from stargaze.errors import UsageError
from stargaze.features.dataset import read_dataset_and_features
from stargaze.features.matrix import catalog_with
from stargaze.features.own_columns import OwnColumn
from stargaze.store import Store
from stargaze.tuning.ablation import ablate, list_removals
from stargaze.tuning.cross_validation import cross_validate, policy_arrays
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.metrics import scores
from stargaze.tuning.retransformation import find_offset
from tests.conftest import Ended
from tests.tuning.conftest import SELECTED

pytestmark = pytest.mark.thorough


def test_changes_are_means_of_paired_differences(selected_store: Store) -> None:
    """Recomputed with the models of cross-validation."""
    table, feature_set = read_dataset_and_features(selected_store)
    kept = [name for name in SELECTED["all"] if name != "forks"]
    reduced = type(feature_set)(
        {**feature_set.selected, "all": kept}, feature_set.vocabularies, feature_set.split, feature_set.fingerprint, {}
    )
    folds = []
    for each in (feature_set, reduced):
        arrays = policy_arrays(table, each, "all")
        fitted = cross_validate(FAMILIES["ridge"], {}, arrays, 0)
        folds.append([scores(np.expm1(arrays.target[f.rows]), np.expm1(f.predicted)) for f in fitted])
    gaps = {
        name: np.array([new[name] - old[name] for old, new in zip(*folds, strict=True)]) for name in ("rmsle", "rmse")
    }

    whole, row = ablate(selected_store, "all", ["forks"], family="ridge", seeds=1)

    assert (whole["without"], row["without"], row["features"]) == ("nothing", "forks", 1)
    for name, gap in gaps.items():
        assert whole[name] == pytest.approx(np.mean([fold[name] for fold in folds[0]]))
        assert row[f"{name}_change"] == pytest.approx(gap.mean())
        assert row[f"{name}_error"] == pytest.approx(gap.std(ddof=1) / np.sqrt(len(gap)))
        assert row[name] == pytest.approx(whole[name] + gap.mean())


def test_with_the_metric_in_stars_the_estimates_are_means(
    run: Callable[..., Ended], selected_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fold has the offset of the others, which is added before estimates are clipped; the others stay typical counts."""
    table, feature_set = read_dataset_and_features(selected_store)
    arrays = policy_arrays(table, feature_set, "all")
    predicted, errors = np.zeros(len(arrays.target)), []
    for fold in cross_validate(FAMILIES["ridge"], {}, arrays, 0):
        predicted[fold.rows] = fold.raw
    for number in np.unique(arrays.folds):
        out = arrays.folds == number
        mean = np.expm1(np.maximum(predicted[out] + find_offset(predicted[~out], arrays.target[~out]), 0.0))
        errors.append(np.sqrt(np.mean((mean - np.expm1(arrays.target[out])) ** 2)))
    argv = ["ablate", "--store", str(selected_store.root), "--family", "ridge", "--seeds", "1", "--without", "forks"]
    monkeypatch.setenv("STARGAZE_TUNING_ESTIMATE_POLICY", "all")

    typical = json.loads(run(*argv, "--json").out)
    monkeypatch.setenv("STARGAZE_TUNING_METRIC", "rmse")
    means = json.loads(run(*argv, "--json").out)

    assert means[0]["rmse"] == pytest.approx(np.mean(errors))
    for row, other in zip(means, typical, strict=True):
        assert row["rmse"] != other["rmse"]
        assert (row["rmsle"], row["r2"]) == (other["rmsle"], other["r2"])
    assert means[1]["beyond_noise"] == (abs(means[1]["rmse_change"]) > 2 * means[1]["rmse_error"])


def test_an_informative_group_is_beyond_noise_and_an_unused_one_changes_nothing(selected_store: Store) -> None:
    rows = {row["without"]: row for row in ablate(selected_store, "all", family="ridge", seeds=2)}

    assert rows["popularity"]["beyond_noise"]
    assert rows["popularity"]["rmsle_change"] > 0
    assert rows["popularity"]["r2_change"] < 0
    assert rows["license"]["features"] == 0
    assert (rows["license"]["rmsle_change"], rows["license"]["rmsle_error"]) == (0.0, 0.0)
    assert not rows["license"]["beyond_noise"]


def test_names_joined_by_a_plus_are_removed_together(selected_store: Store) -> None:
    rows = ablate(selected_store, "all", ["popularity+activity", "popularity", "fork*"], family="ridge", seeds=1)

    both, one, pattern = rows[1:]
    assert both["features"] > one["features"] > 0
    assert both["rmsle"] > one["rmsle"]
    assert pattern["features"] == sum(name.startswith("fork") for name in SELECTED["all"])


def test_an_unknown_name_is_refused_with_a_similar_one(selected_store: Store) -> None:
    with pytest.raises(UsageError, match="'popularty' is no feature") as caught:
        ablate(selected_store, "all", ["popularty"])
    assert caught.value.hint == "Did you mean popularity?"

    with pytest.raises(UsageError, match="leaves no feature of policy static"):
        ablate(selected_store, "static", ["*"])


def test_own_columns_are_a_group() -> None:
    catalog = catalog_with((OwnColumn("score", "number", "static"),))

    groups = {removal.name: removal.features for removal in list_removals(catalog)}

    assert groups["own"] == {"score"}
    assert {"text", "topics", "owner", "activity", "popularity", "language", "license", "dates"} <= set(groups)
    assert {"language", "language_stars"} <= groups["language"]
    assert {"age", "push_age"} <= groups["dates"]


def test_the_command_prints_a_table_and_json(run: Callable[..., Ended], selected_store: Store) -> None:
    argv = ["ablate", "--store", str(selected_store.root), "--family", "ridge", "--seeds", "1", "--without", "forks"]

    people, programs = run(*argv, "--policy", "all"), run(*argv, "--json")

    assert people.code == programs.code == 0, people.err
    assert [row["without"] for row in json.loads(programs.out)] == ["nothing", "forks"]
    assert "forks" in people.out
    assert run(*argv, "--policy", "some").code == 2
