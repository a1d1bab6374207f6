"""The context computes its indexes once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.bundle.star_bundle import Bundle
from stargaze.serve.lookup import star_history
from stargaze.serve.lookup.live import BundledRepositories
from stargaze.serve.lookup.star_history import StarHistories
from stargaze.serve.prediction.batch import PredictionContext
from stargaze.store import Store
from tests.histories import one_history


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def test_a_prepared_context_computes_its_indexes_and_reads_the_histories_once(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.parquet"
    one_history("own/name", [1, 2, 3]).to_parquet(path)
    histories = StarHistories(Store(tmp_path), str(path))
    context = PredictionContext(bundle, BundledRepositories(bundle), histories)

    context.prepare()
    monkeypatch.setattr(star_history, "_read_table", lambda *_: pytest.fail("a visitor waits for the table"))

    assert histories.find("own/name", datetime.now(UTC), None)["history"]["stars"] == [1, 2, 3]
    assert context.training_ranges is context.training_ranges
    assert context.leaf_index is context.leaf_index


def test_an_offline_context_shares_the_indexes(bundle: Bundle) -> None:
    context = PredictionContext(bundle, BundledRepositories(bundle))

    offline = context.offline()

    assert offline.training_ranges is context.training_ranges
    assert offline.leaf_index is context.leaf_index
