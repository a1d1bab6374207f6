"""What lies outside the training data: found in the extreme, silent about the ordinary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.features.split import assign_folds
from stargaze.serve.prediction.out_of_range import MOST, TrainingRanges
from stargaze.serve.prediction.predict import records_of


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def ranges(bundle: Bundle) -> TrainingRanges:
    return TrainingRanges(bundle)


@pytest.fixture(scope="module")
def training(bundle: Bundle) -> np.ndarray:
    """The rows that the ranges are of."""
    return np.flatnonzero(assign_folds(bundle.known["full_name"], bundle.split) >= 0)


def beyond(bundle: Bundle, ranges: TrainingRanges, **fields: Any) -> list[dict[str, str]]:
    """Return what of a made-up repository lies outside."""
    frame = schema.conform(pd.DataFrame([{"full_name": "a/b", **fields}]))
    return ranges.beyond(bundle.features(frame), "all", records_of(frame))[0]


def test_a_repository_made_of_extremes_is_beyond(bundle: Bundle, ranges: TrainingRanges) -> None:
    found = beyond(bundle, ranges, forks=4e6, contributors=1e8, size_kb=1e9, language="Klingon")

    assert {one["label"] for one in found} >= {"forks", "contributors", "size of the git repository"}
    assert {"label": "primary language", "value": "Klingon", "low": "", "high": ""} in found


def test_what_was_trained_on_lies_inside(bundle: Bundle, ranges: TrainingRanges, training: np.ndarray) -> None:
    records = records_of(bundle.known.iloc[training])

    assert not any(ranges.beyond(bundle.known_features[training], "all", records))


def test_what_is_not_known_is_not_outside(bundle: Bundle, ranges: TrainingRanges) -> None:
    assert beyond(bundle, ranges) == []


@given(st.sampled_from(["forks", "subscribers", "contributors", "size_kb", "open_issues"]), st.floats(1.01, 1e3))
def test_the_ends_are_those_of_the_training_data(
    bundle: Bundle, ranges: TrainingRanges, training: np.ndarray, name: str, times: float
) -> None:
    most = float(bundle.known[name].iloc[training].max())

    inside, outside = beyond(bundle, ranges, **{name: most}), beyond(bundle, ranges, **{name: most * times + 1})

    assert inside == []
    assert len(outside) == 1
    assert outside[0]["high"].startswith(f"{most:,.4g}" if name != "size_kb" else f"{most:,.0f}")


def test_a_category_in_another_spelling_was_seen(bundle: Bundle, ranges: TrainingRanges) -> None:
    assert beyond(bundle, ranges, language="javaSCRIPT") == []


def test_the_farthest_outside_is_named_first(bundle: Bundle, ranges: TrainingRanges) -> None:
    found = beyond(bundle, ranges, forks=4.9e6, contributors=float(bundle.known["contributors"].max()) + 1)

    assert [one["label"] for one in found] == ["forks", "contributors"]
    assert len(found) <= MOST
