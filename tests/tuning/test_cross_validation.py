"""Cross-validation on prepared arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.config import FeaturesSection
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset
from stargaze.store import Store
from stargaze.tuning.cross_validation import Arrays, cross_validate, fit, policy_arrays, summarize_folds
from stargaze.tuning.families import FAMILIES, Family


class Memory:
    """A model that remembers which rows it was fitted on; its second column is the row's number."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def fit(self, inputs: np.ndarray, target: np.ndarray) -> Memory:
        self.rows = inputs[:, 0].astype(int).tolist()
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        assert not set(self.rows) & set(inputs[:, 0].astype(int).tolist()), "a row that was fitted is predicted"
        return np.full(len(inputs), -1.0)


def remembering(made: list[Memory], **more: Any) -> Family:
    """Return a family whose models are kept in ``made``."""

    def build(parameters: Any, categories: Any, seed: int) -> Memory:
        made.append(Memory())
        return made[-1]

    return Family("memory", "", build, **more)


@pytest.fixture
def numbered() -> Arrays:
    """Twelve rows in three folds, each with its number."""
    return Arrays(np.arange(12.0)[:, None], np.linspace(0, 2, 12), np.arange(12) % 3, ())


def test_each_row_is_predicted_once_by_a_model_that_did_not_see_it(numbered: Arrays) -> None:
    made: list[Memory] = []

    folds = list(cross_validate(remembering(made), {}, numbered, seed=0))

    assert sorted(row for fold in folds for row in fold.rows.tolist()) == list(range(12))
    assert [sorted(model.rows) for model in made] == [
        [row for row in range(12) if row % 3 != fold.fold] for fold in folds
    ]


def test_no_prediction_is_below_no_star(numbered: Arrays) -> None:
    folds = list(cross_validate(remembering([]), {}, numbered, seed=0))

    assert all((fold.predicted == 0.0).all() for fold in folds)
    assert folds[0].rmsle == pytest.approx(np.sqrt(np.mean(numbered.target[::3] ** 2)))


def test_a_family_that_grows_faster_than_its_rows_gets_a_part_of_them(numbered: Arrays) -> None:
    made: list[Memory] = []
    family = remembering(made, max_rows=5)

    for _ in range(2):
        fit(family, {}, numbered, np.arange(12), seed=4)

    assert len(made[0].rows) == len(set(made[0].rows)) == 5
    assert made[0].rows == made[1].rows


def test_parameters_override_the_defaults(numbered: Arrays) -> None:
    given: list[Any] = []

    def build(parameters: Any, categories: Any, seed: int) -> Memory:
        given.append((dict(parameters), categories, seed))
        return Memory()

    fit(Family("x", "", build, {"a": 1, "b": 2}), {"b": 3}, numbered, np.arange(3), seed=7)

    assert given == [({"a": 1, "b": 3}, (), 7)]


def test_the_summary_is_the_mean_over_folds_with_their_spread(arrays: Arrays) -> None:
    folds = list(cross_validate(FAMILIES["ridge"], {}, arrays, seed=0))

    found = summarize_folds(folds, arrays)

    errors = [fold.rmsle for fold in folds]
    assert found["rmsle"] == pytest.approx(np.mean(errors))
    assert found["spread"] == pytest.approx(np.std(errors, ddof=1))
    assert found["fit_time"] > 0
    assert 0 < found["r2"] <= 1


def test_a_single_fold_has_no_spread(arrays: Arrays) -> None:
    folds = list(cross_validate(FAMILIES["ridge"], {}, arrays, seed=0))[:1]

    assert summarize_folds(folds, arrays)["spread"] == 0.0


def test_a_fold_is_judged_on_what_rows_outside_it_teach(arrays: Arrays) -> None:
    """The learned column tells the target to all but those that have not seen the fold."""
    inputs = arrays.inputs.copy()
    inputs[:, 2] = arrays.target
    blind = np.zeros((3, len(arrays.target), 1), dtype="float32")
    learned = Arrays(inputs, arrays.target, arrays.folds, arrays.categories, blind, (2,))
    cheating = Arrays(inputs, arrays.target, arrays.folds, arrays.categories)

    honest = summarize_folds(list(cross_validate(FAMILIES["lightgbm"], {}, learned, seed=0)), learned)
    told = summarize_folds(list(cross_validate(FAMILIES["lightgbm"], {}, cheating, seed=0)), cheating)

    assert honest["rmsle"] > 2 * told["rmsle"]
    assert (learned.without(1)[:, 2] == 0.0).all()


TAUGHT = ["owner_stars", "age", "text_score", "language", "text_component_3"]


@pytest.fixture
def taught(store: Store, few: pd.DataFrame) -> tuple[Dataset, FeatureSet]:
    """A table and a feature set with learned columns, in another order than the encoder's."""
    store.root.mkdir(parents=True)
    few.to_parquet(store.repositories)
    section = FeaturesSection(folds=3, split_by="repository")
    table = read_dataset(store, section)
    kept = {"static": TAUGHT, "activity": ["age"], "all": ["forks", "age"]}
    return table, FeatureSet(kept, {"language": ["JavaScript"]}, section, table.fingerprint, {})


def test_what_is_learned_stands_in_its_place_for_each_fold(taught: tuple[Dataset, FeatureSet]) -> None:
    table, feature_set = taught
    told = table.encodings(feature_set.split)

    arrays = policy_arrays(table, feature_set, "static")

    assert arrays.learned_columns == (0, 2, 4)
    assert arrays.categories == (3,)
    for fold in range(3):
        unseen = told.excluding_fold(fold).iloc[table.training]
        for place in arrays.learned_columns:
            assert np.array_equal(arrays.without(fold)[:, place], unseen[TAUGHT[place]].to_numpy(), equal_nan=True)
    assert np.array_equal(arrays.without(1)[:, 1], arrays.inputs[:, 1])


def test_it_is_learned_once_for_all_policies(
    taught: tuple[Dataset, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, feature_set = taught
    first = table.encodings(feature_set.split)
    monkeypatch.setattr("stargaze.features.dataset.fit_out_of_fold", None)

    policy_arrays(table, feature_set, "static")

    assert table.encodings(feature_set.split) is first


def test_without_a_learned_column_nothing_is_learned(
    taught: tuple[Dataset, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.dataset.fit_out_of_fold", None)

    assert policy_arrays(*taught, "all").learned_columns == ()


def test_arrays_come_back_from_their_file_as_they_were(arrays: Arrays, tmp_path: Path) -> None:
    arrays.save(tmp_path / "all.npz")

    back = Arrays.load(tmp_path / "all.npz")

    assert np.array_equal(back.inputs, arrays.inputs, equal_nan=True)
    assert np.array_equal(back.target, arrays.target)
    assert np.array_equal(back.folds, arrays.folds)
    assert back.categories == arrays.categories
    assert back.learned_columns == arrays.learned_columns


def test_a_file_that_holds_a_pickle_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", allow_pickle=True, inputs=np.array([{}], dtype=object))
    assert zipfile.is_zipfile(tmp_path / "all.npz")

    with pytest.raises((ValueError, KeyError)):
        Arrays.load(tmp_path / "all.npz")
