"""A bundle contains the word vectors that it needs: serving needs no optional package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.config import POLICIES, FeaturesSection, TuningSection
from stargaze.errors import MissingInputError
from stargaze.features.dataset import Dataset, FeatureSet, read_dataset
from stargaze.features.encoding.encoder import EMBEDDED
from stargaze.features.encoding.word_vectors import PACKAGE, read_word_vectors
from stargaze.serve.prediction.labels import TEXT_FEATURES
from stargaze.serve.prediction.predict import predict
from stargaze.store import Store
from stargaze.tuning.training.save import save_best

pytestmark = pytest.mark.thorough

SELECTED = [*EMBEDDED, "age", "description_length", "contributors"]
BEST = {
    "family": "lightgbm",
    "parameters": {"n_estimators": 20},
    "rmsle": 0.6,
    "folds": [0.5, 0.6, 0.7],
    "stopped": "done",
}
WORDS = ("fast parser", "web server", "kernel driver", "music player", "json reader", "neural network", "http proxy")
Saved = tuple[Dataset, FeatureSet, Path]


@pytest.fixture(scope="module")
def saved_bundle(tmp_path_factory: pytest.TempPathFactory, small_sample: pd.DataFrame) -> Saved:
    """A table with descriptions, a feature set with embeddings, and the bundle of both."""
    store = Store(tmp_path_factory.mktemp("saved"))
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 3)) if i % 5 else None for i in range(len(small_sample))]
    small_sample.assign(description=texts).to_parquet(store.repositories)
    section = FeaturesSection(folds=3)
    table = read_dataset(store, section)
    feature_set = FeatureSet(dict.fromkeys(POLICIES, SELECTED), {}, section, table.fingerprint, {})
    return table, feature_set, save_best(TuningSection(), store, table, feature_set, [BEST])[0]


def test_serving_embeds_as_training_did_without_the_package(
    saved_bundle: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, feature_set, folder = saved_bundle
    expected = table.model_inputs(feature_set, "all").iloc[table.test]
    read_word_vectors.cache_clear()
    monkeypatch.setitem(sys.modules, PACKAGE, None)

    bundle = Bundle.load(folder)
    bundle.check_prototype()
    served = bundle.inputs(table.repositories.iloc[table.test].assign(stars=float("nan")), "all")

    pd.testing.assert_frame_equal(served, expected, rtol=1e-5, atol=1e-6)
    assert served["embedding_component_1"].isna().mean() == pytest.approx(0.2, abs=0.1)


def test_training_without_the_package_says_what_to_install(
    saved_bundle: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, feature_set, _ = saved_bundle
    read_word_vectors.cache_clear()
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    fresh = Dataset(table.repositories, table.target, table.folds, table.fingerprint)

    with pytest.raises(MissingInputError, match="text embeddings"):
        fresh.model_inputs(feature_set, "all")


def test_the_explanation_has_one_factor_for_the_text(saved_bundle: Saved) -> None:
    bundle = Bundle.load(saved_bundle[2])

    shown = predict(bundle, bundle.known, max_factors=100)

    for answer in shown:
        names = [factor.feature for factor in answer.explanation.factors] if answer.explanation else []
        assert names.count(TEXT_FEATURES) == 1
        assert set(EMBEDDED).isdisjoint(names)


def test_a_typed_record_without_a_description_is_answered(saved_bundle: Saved) -> None:
    bundle = Bundle.load(saved_bundle[2])
    typed = bundle.conform(pd.DataFrame({"full_name": ["a/b"], "contributors": [3.0]}))

    inputs = bundle.inputs(typed, "all").iloc[0]

    assert np.isfinite(inputs["embedding_score"])
    assert inputs[list(EMBEDDED[1:])].isna().all()
    assert np.isfinite(bundle.estimate(typed).predicted).all()
