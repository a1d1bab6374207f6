"""Target encodings of seen keys, unseen keys and rows without keys."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stargaze.features.encoding.target_encoding import TargetEncoder
from stargaze.features.encoding.tokens import Keys


def keys(*of_rows: list[int]) -> Keys:
    """Return the keys of rows."""
    rows = np.repeat(np.arange(len(of_rows)), [len(row) for row in of_rows])
    return Keys(rows, np.array([key for row in of_rows for key in row], dtype="uint64"), len(of_rows))


FITTED = TargetEncoder.fit(keys([7], [7], [9], []), np.array([1.0, 3.0, 8.0, 0.0]), 1.0)
"""The overall mean is 3; of key 7 it is (1 + 3 + 3) / 3, of key 9 it is (8 + 3) / 2."""


def test_a_key_has_the_smoothed_mean_of_its_rows() -> None:
    encoded = FITTED.transform(keys([7], [9]))

    assert encoded["mean"] == pytest.approx([7 / 3, 5.5])
    assert encoded["count"].tolist() == [2.0, 1.0]
    assert encoded["maximum"].tolist() == [3.0, 8.0]


def test_an_unseen_key_has_the_overall_mean() -> None:
    encoded = FITTED.transform(keys([8], [2**63], [0]))

    assert encoded["mean"].tolist() == [3.0, 3.0, 3.0]
    assert encoded["count"].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(encoded["maximum"]).all()


def test_a_row_of_several_keys_has_their_mean_and_their_largest_mean() -> None:
    encoded = FITTED.transform(keys([7, 9, 8]))

    assert encoded["mean"] == pytest.approx([(7 / 3 + 5.5 + 3.0) / 3])
    assert encoded["largest_mean"] == pytest.approx([5.5])


def test_a_row_without_keys_is_missing() -> None:
    assert all(np.isnan(values).all() for values in FITTED.transform(keys([])).values())


def test_without_any_key_in_training_every_key_is_unseen() -> None:
    without_keys = TargetEncoder.fit(keys([], []), np.array([1.0, 2.0]), 1.0)

    assert without_keys.transform(keys([5]))["mean"].tolist() == [1.5]


def test_an_encoder_survives_conversion_to_arrays() -> None:
    copy = TargetEncoder.from_arrays(FITTED.to_arrays())

    assert copy.transform(keys([7, 9]))["mean"] == FITTED.transform(keys([7, 9]))["mean"]


@pytest.mark.parametrize(
    "change",
    [
        {"keys": np.array([9, 7], dtype="uint64")},
        {"keys": np.array([7.0, 9.0])},
        {"mean": np.array([np.nan, 1.0], dtype="float32")},
        {"mean": np.array([1.0], dtype="float32")},
        {"overall_mean": np.array(np.inf)},
    ],
)
def test_arrays_that_no_fit_returns_are_rejected(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="target encoder"):
        TargetEncoder.from_arrays({**FITTED.to_arrays(), **change})


def test_only_the_most_frequent_keys_are_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of a million owners stays small."""
    monkeypatch.setattr("stargaze.features.encoding.target_encoding.MAX_KEYS", 1)

    assert TargetEncoder.fit(keys([9], [7], [7]), np.zeros(3), 1.0).keys.tolist() == [7]


def test_a_fitted_encoder_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FITTED.overall_mean = 0.0  # type: ignore[misc]
