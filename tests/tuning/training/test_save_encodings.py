"""The bundle contains the encoders of training, and serving encodes as training did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.bundle.star_bundle import ENCODER, Bundle
from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset
from stargaze.serve.prediction.labels import TEXT_FEATURES
from stargaze.serve.prediction.predict import predict
from stargaze.store import Store
from stargaze.tuning.training.calibrate_policy import CalibratedIntervals, calibrate_on
from stargaze.tuning.training.ensemble import select_candidates
from stargaze.tuning.training.refit import refit
from stargaze.tuning.training.save import save_best

pytestmark = pytest.mark.thorough

SELECTED = ["text_score", "owner_stars", "text_component_2", "age", "description_length", "contributors"]
BEST = {
    "family": "lightgbm",
    "parameters": {"n_estimators": 20},
    "rmsle": 0.6,
    "folds": [0.5, 0.6, 0.7],
    "stopped": "done",
}
Saved = tuple[Dataset, FeatureSet, Path]


@pytest.fixture(scope="module")
def saved_bundle(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> Saved:
    """A table, its feature set with learned columns, and the bundle of both."""
    store = Store(tmp_path_factory.mktemp("saved"))
    small_sample.to_parquet(store.repositories)
    section = FeaturesSection(folds=3, split_by="repository")
    table = read_dataset(store, section)
    feature_set = FeatureSet(dict.fromkeys(POLICIES, SELECTED), {}, section, table.fingerprint, {})
    return table, feature_set, save_best(TuningSection(), store, table, feature_set, [BEST])[0]


def test_serving_computes_the_inputs_of_the_test_rows_as_training_did(saved_bundle: Saved) -> None:
    table, feature_set, folder = saved_bundle
    test = table.repositories.iloc[table.test]

    served = Bundle.load(folder).inputs(test.assign(stars=float("nan")), "all")

    pd.testing.assert_frame_equal(served, table.model_inputs(feature_set, "all").iloc[table.test], rtol=1e-6)


def test_intervals_are_calibrated_on_the_columns_that_serving_computes(
    saved_bundle: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text components differ between folds, so one error model cannot use out-of-fold columns."""
    calibrated_inputs = list[np.ndarray]()

    def record(inputs: np.ndarray, *others: Any) -> CalibratedIntervals:
        calibrated_inputs.append(inputs)
        return calibrate_on(inputs, *others)

    monkeypatch.setattr("stargaze.tuning.training.refit.calibrate_on", record)
    table, feature_set, folder = saved_bundle

    refit(table, feature_set, ["all"], select_candidates([BEST], 1, 0), 0.9)["all"]

    column = SELECTED.index("text_component_2")
    served = Bundle.load(folder).inputs(table.repositories, "all").iloc[[*table.training, *table.validation], column]
    used, n = calibrated_inputs[0][:, column], len(table.training)
    assert used[:n] == pytest.approx(served.to_numpy()[:n], abs=1e-5)  # the copies with missing values come after them
    assert np.isin(served.to_numpy()[n:].round(4), used[n:].round(4)).all()


def test_the_prototype_is_predicted_with_the_encoder(saved_bundle: Saved) -> None:
    bundle = Bundle.load(saved_bundle[2])

    bundle.check_prototype()
    assert ENCODER in bundle.content


def test_the_explanation_groups_what_the_words_say(saved_bundle: Saved) -> None:
    bundle = Bundle.load(saved_bundle[2])

    shown = predict(bundle, bundle.known, max_factors=100)
    factors = {
        factor.feature: factor for answer in shown if answer.explanation for factor in answer.explanation.factors
    }

    assert factors["owner_stars"].value.endswith(" stars")
    assert {"text_score", "text_component_2"}.isdisjoint(factors)
    assert factors[TEXT_FEATURES].label == "words of name, description and topics"


@pytest.mark.parametrize("content", [None, b"no encoder", b"PK\x05\x06" + bytes(18)])
def test_a_bundle_with_an_invalid_encoder_is_refused(
    saved_bundle: Saved, tmp_path: Path, content: bytes | None
) -> None:
    copy = Path(shutil.copytree(saved_bundle[2], tmp_path / "copy"))
    if content is None:
        (copy / ENCODER).unlink()
    else:
        (copy / ENCODER).write_bytes(content)
    write_manifest(copy)

    with pytest.raises(BadBundleError):
        Bundle.load(copy).check_prototype()
