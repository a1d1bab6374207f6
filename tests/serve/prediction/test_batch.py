"""The context computes its indexes once."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.prediction.batch import PredictionContext


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_a_prepared_context_computes_its_indexes_once(bundle: Bundle) -> None:
    context = PredictionContext(bundle, BundledRepositories(bundle))

    context.prepare()

    assert context.training_ranges is context.training_ranges
    assert context.leaf_index is context.leaf_index


def test_an_offline_context_shares_the_indexes(bundle: Bundle) -> None:
    context = PredictionContext(bundle, BundledRepositories(bundle))

    offline = context.offline()

    assert offline.training_ranges is context.training_ranges
    assert offline.leaf_index is context.leaf_index
