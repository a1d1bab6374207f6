"""Values out of the range of the training data are found, and no others."""

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
from stargaze.serve.prediction.labels import format_distinct
from stargaze.serve.prediction.out_of_range import MAX_LISTED, TrainingRanges
from stargaze.serve.prediction.predict import records_of


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


@pytest.fixture(scope="module")
def ranges(bundle: Bundle) -> TrainingRanges:
    return TrainingRanges(bundle)


@pytest.fixture(scope="module")
def training(bundle: Bundle) -> np.ndarray:
    """The training rows."""
    return np.flatnonzero(assign_folds(bundle.known["full_name"], bundle.split) >= 0)


def find_outside(bundle: Bundle, ranges: TrainingRanges, **fields: Any) -> list[dict[str, str]]:
    """Return the values of a generated repository that are out of range."""
    frame = schema.conform(pd.DataFrame([{"full_name": "a/b", **fields}]))
    return ranges.find_outside(bundle.features(frame), "all", records_of(frame))[0]


def test_extreme_values_are_out_of_range(bundle: Bundle, ranges: TrainingRanges) -> None:
    result = find_outside(bundle, ranges, forks=4e6, contributors=1e8, size_kb=1e9, language="Klingon")

    assert {item["label"] for item in result} >= {"forks", "contributors", "repository size"}
    assert {"label": "main language", "value": "Klingon", "low": "", "high": ""} in result


def test_training_repositories_are_in_range(bundle: Bundle, ranges: TrainingRanges, training: np.ndarray) -> None:
    records = records_of(bundle.known.iloc[training])

    assert not any(ranges.find_outside(bundle.known_features[training], "all", records))


def test_unknown_values_are_not_out_of_range(bundle: Bundle, ranges: TrainingRanges) -> None:
    assert find_outside(bundle, ranges) == []


@pytest.mark.thorough
@given(st.sampled_from(["forks", "subscribers", "contributors", "size_kb", "open_issues"]), st.floats(1.01, 1e3))
def test_the_range_ends_at_the_extremes_of_the_training_data(
    bundle: Bundle, ranges: TrainingRanges, training: np.ndarray, name: str, factor: float
) -> None:
    most = float(bundle.known[name].iloc[training].max())

    inside, outside = (
        find_outside(bundle, ranges, **{name: most}),
        find_outside(bundle, ranges, **{name: most * factor + 1}),
    )

    assert inside == []
    assert len(outside) == 1
    assert outside[0]["high"] == format_distinct(name, most * factor + 1, 0.0, most)[2]
    assert outside[0]["value"] != outside[0]["high"]


def test_categories_are_not_case_sensitive(bundle: Bundle, ranges: TrainingRanges) -> None:
    assert find_outside(bundle, ranges, language="javaSCRIPT") == []


def test_the_value_farthest_outside_is_listed_first(bundle: Bundle, ranges: TrainingRanges) -> None:
    result = find_outside(bundle, ranges, forks=4.9e6, contributors=float(bundle.known["contributors"].max()) + 1)

    assert [item["label"] for item in result] == ["forks", "contributors"]
    assert len(result) <= MAX_LISTED
