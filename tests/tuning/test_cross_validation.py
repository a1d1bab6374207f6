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
from stargaze.tuning.families import FAMILIES
from stargaze.tuning.family import Family


class RecordingModel:
    """A model that records the rows it was fitted on; its first column is the row number."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def fit(self, inputs: np.ndarray, target: np.ndarray) -> RecordingModel:
        self.rows = inputs[:, 0].astype(int).tolist()
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        assert not set(self.rows) & set(inputs[:, 0].astype(int).tolist()), "a training row is predicted"
        return np.full(len(inputs), -1.0)


def recording_family(models: list[RecordingModel], **more: Any) -> Family:
    """Return a family whose models are appended to ``models``."""

    def build(parameters: Any, categories: Any, seed: int) -> RecordingModel:
        models.append(RecordingModel())
        return models[-1]

    return Family("memory", "", build, **more)


@pytest.fixture
def numbered_arrays() -> Arrays:
    """Twelve rows in three folds; the input is the row number."""
    return Arrays(np.arange(12.0)[:, None], np.linspace(0, 2, 12), np.arange(12) % 3, ())


def test_each_row_is_predicted_once_by_a_model_that_was_not_fitted_on_it(numbered_arrays: Arrays) -> None:
    models: list[RecordingModel] = []

    folds = list(cross_validate(recording_family(models), {}, numbered_arrays, seed=0))

    assert sorted(row for fold in folds for row in fold.rows.tolist()) == list(range(12))
    assert [sorted(model.rows) for model in models] == [
        [row for row in range(12) if row % 3 != fold.fold] for fold in folds
    ]


def test_no_prediction_is_negative(numbered_arrays: Arrays) -> None:
    folds = list(cross_validate(recording_family([]), {}, numbered_arrays, seed=0))

    assert all((fold.predicted == 0.0).all() for fold in folds)
    assert folds[0].rmsle == pytest.approx(np.sqrt(np.mean(numbered_arrays.target[::3] ** 2)))


def test_a_family_with_a_row_limit_gets_a_sample(numbered_arrays: Arrays) -> None:
    models: list[RecordingModel] = []
    family = recording_family(models, max_rows=5)

    for _ in range(2):
        fit(family, {}, numbered_arrays, np.arange(12), seed=4)

    assert len(models[0].rows) == len(set(models[0].rows)) == 5
    assert models[0].rows == models[1].rows


def test_parameters_override_the_defaults(numbered_arrays: Arrays) -> None:
    arguments: list[Any] = []

    def build(parameters: Any, categories: Any, seed: int) -> RecordingModel:
        arguments.append((dict(parameters), categories, seed))
        return RecordingModel()

    fit(Family("x", "", build, {"a": 1, "b": 2}), {"b": 3}, numbered_arrays, np.arange(3), seed=7)

    assert arguments == [({"a": 1, "b": 3}, (), 7)]


def test_the_summary_is_the_mean_over_folds_with_their_spread(arrays: Arrays) -> None:
    folds = list(cross_validate(FAMILIES["ridge"], {}, arrays, seed=0))

    summary = summarize_folds(folds, arrays)

    errors = [fold.rmsle for fold in folds]
    assert summary["rmsle"] == pytest.approx(np.mean(errors))
    assert summary["spread"] == pytest.approx(np.std(errors, ddof=1))
    assert summary["fit_time"] > 0
    assert 0 < summary["r2"] <= 1


def test_a_single_fold_has_no_spread(arrays: Arrays) -> None:
    folds = list(cross_validate(FAMILIES["ridge"], {}, arrays, seed=0))[:1]

    assert summarize_folds(folds, arrays)["spread"] == 0.0


@pytest.mark.thorough
def test_a_fold_is_scored_with_encodings_that_exclude_it(arrays: Arrays) -> None:
    """The encoded column equals the target, except out-of-fold."""
    inputs = arrays.inputs.copy()
    inputs[:, 2] = arrays.target
    blind = np.zeros((3, len(arrays.target), 1), dtype="float32")
    learned = Arrays(inputs, arrays.target, arrays.folds, arrays.categories, blind, (2,))
    leaking = Arrays(inputs, arrays.target, arrays.folds, arrays.categories)

    unbiased = summarize_folds(list(cross_validate(FAMILIES["lightgbm"], {}, learned, seed=0)), learned)
    biased = summarize_folds(list(cross_validate(FAMILIES["lightgbm"], {}, leaking, seed=0)), leaking)

    assert unbiased["rmsle"] > 2 * biased["rmsle"]
    assert (learned.without(1)[:, 2] == 0.0).all()


ENCODED = ["owner_stars", "age", "text_score", "language", "text_component_3"]


@pytest.fixture
def encoded_data(store: Store, small_sample: pd.DataFrame) -> tuple[Dataset, FeatureSet]:
    """A table and a feature set with learned columns, in another order than the encoder's."""
    store.root.mkdir(parents=True)
    small_sample.to_parquet(store.repositories)
    section = FeaturesSection(folds=3, split_by="repository")
    table = read_dataset(store, section)
    selected = {"static": ENCODED, "activity": ["age"], "all": ["forks", "age"]}
    return table, FeatureSet(selected, {"language": ["JavaScript"]}, section, table.fingerprint, {})


@pytest.mark.thorough
def test_encoded_columns_replace_their_positions_for_each_fold(encoded_data: tuple[Dataset, FeatureSet]) -> None:
    table, feature_set = encoded_data
    encodings = table.encodings(feature_set.split)

    arrays = policy_arrays(table, feature_set, "static")

    assert arrays.learned_columns == (0, 2, 4)
    assert arrays.categories == (3,)
    for fold in range(3):
        unseen = encodings.excluding_fold(fold).iloc[table.training]
        for column in arrays.learned_columns:
            assert np.array_equal(arrays.without(fold)[:, column], unseen[ENCODED[column]].to_numpy(), equal_nan=True)
    assert np.array_equal(arrays.without(1)[:, 1], arrays.inputs[:, 1])


@pytest.mark.thorough
def test_encodings_are_computed_once_for_all_policies(
    encoded_data: tuple[Dataset, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, feature_set = encoded_data
    first = table.encodings(feature_set.split)
    monkeypatch.setattr("stargaze.features.dataset.fit_out_of_fold", None)

    policy_arrays(table, feature_set, "static")

    assert table.encodings(feature_set.split) is first


def test_without_an_encoded_column_no_encoder_is_fitted(
    encoded_data: tuple[Dataset, FeatureSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargaze.features.dataset.fit_out_of_fold", None)

    assert policy_arrays(*encoded_data, "all").learned_columns == ()


def test_arrays_are_saved_and_loaded_unchanged(arrays: Arrays, tmp_path: Path) -> None:
    arrays.save(tmp_path / "all.npz")

    loaded = Arrays.load(tmp_path / "all.npz")

    assert np.array_equal(loaded.inputs, arrays.inputs, equal_nan=True)
    assert np.array_equal(loaded.target, arrays.target)
    assert np.array_equal(loaded.folds, arrays.folds)
    assert loaded.categories == arrays.categories
    assert loaded.learned_columns == arrays.learned_columns


def test_a_file_with_a_pickle_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", allow_pickle=True, inputs=np.array([{}], dtype=object))
    assert zipfile.is_zipfile(tmp_path / "all.npz")

    with pytest.raises((ValueError, KeyError)):
        Arrays.load(tmp_path / "all.npz")
